"""Draws an evaluation as one picture: what the model makes beside what is real, and the figures with their protocol."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from training.evaluation.codes import Traversal
from training.evaluation.conditional import Exhibits
from training.evaluation.page import (
    INK,
    LINE,
    PANEL_WIDTH,
    beside,
    blank,
    body_font,
    headed,
    indent_of,
    labelled_rows,
    page,
    table,
)
from training.evaluation.result import CONSISTENCY, Evaluation
from training.evaluation.translation import SHOWN, Direction
from training.grids import grid

_GRID_HEIGHT = 560
_BAR = (66, 120, 180)
_SHEET_SIDE = 192


def draw_classes(exhibits: Exhibits, evaluation: Evaluation) -> Image.Image:
    """Draws the report of a class-conditional generator.

    Args:
        exhibits: The images to show.
        evaluation: The figures to show.

    Returns:
        One RGB picture.
    """
    return page(
        exhibits.title,
        evaluation,
        beside(
            headed("Samples, one row a class", _class_rows(exhibits, exhibits.samples)),
            headed("Real images of the test split", _class_rows(exhibits, exhibits.reals)),
        ),
        headed("Samples, and the training images nearest to them", _neighbour_rows(exhibits)),
        beside(
            headed("Class consistency (line: real images)", _bars(exhibits.class_names, evaluation)),
            headed("Figures", table(evaluation, classes=False)),
        ),
    )


def draw_codes(title: str, traversals: Sequence[Traversal], evaluation: Evaluation) -> Image.Image:
    """Draws the report of an InfoGAN.

    Args:
        title: What is evaluated.
        traversals: One for each continuous number.
        evaluation: The figures to show, with what the codes mean.

    Returns:
        One RGB picture.
    """
    assert evaluation.codes is not None
    panels = [
        headed(
            f"c{traversal.number + 1} {evaluation.codes.continuous[traversal.number].name} from -1 to 1",
            labelled_rows(traversal_grid(traversal), traversal.rows, _GRID_HEIGHT),
        )
        for traversal in traversals
    ]
    return page(title, evaluation, beside(*panels, headed("Figures", table(evaluation))))


def traversal_grid(traversal: Traversal) -> Image.Image:
    """The images of a traversal as a grid."""
    return grid(traversal.images, len(traversal.images) // len(traversal.rows))


def draw_translations(title: str, directions: Sequence[Direction], evaluation: Evaluation) -> Image.Image:
    """Draws the report of a CycleGAN.

    Args:
        title: What is evaluated.
        directions: Both, with their pictures.
        evaluation: The figures to show.

    Returns:
        One RGB picture.
    """
    sheets = [
        headed(f"{way.source} to {way.target}: input, translated, and back", translation_sheet(way))
        for way in directions
    ]
    return page(title, evaluation, beside(*sheets, headed("Figures", table(evaluation))))


def translation_sheet(direction: Direction) -> Image.Image:
    """Test pictures spread over the split, a row each: input, translated, and back."""
    step = max(1, len(direction.inputs) // SHOWN)
    rows = zip(direction.inputs[::step], direction.outputs[::step], direction.cycled[::step], strict=True)
    tiles = [_tile(picture) for row in list(rows)[:SHOWN] for picture in row]
    return grid(torch.stack(tiles), columns=3)


def _tile(picture: Tensor) -> Tensor:
    return (
        torch.nn.functional.interpolate(
            picture[None].float(), (_SHEET_SIDE, _SHEET_SIDE), mode="bilinear", antialias=True
        )[0]
        .round()
        .to(torch.uint8)
    )


def _class_rows(exhibits: Exhibits, images: Tensor) -> Image.Image:
    return labelled_rows(grid(images, exhibits.columns), exhibits.class_names, _GRID_HEIGHT)


def _neighbour_rows(exhibits: Exhibits) -> Image.Image:
    groups = {
        "sample": exhibits.queries,
        "nearest, pixels": exhibits.nearest_by_pixels,
        "nearest, features": exhibits.nearest_by_features,
    }
    strips = [grid(images, len(images)) for images in groups.values()]
    sheet = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    for row, strip in enumerate(strips):
        sheet.paste(strip, (0, row * strip.height))
    return labelled_rows(sheet, list(groups), _GRID_HEIGHT * 3 // 10)


def _bars(class_names: Sequence[str], evaluation: Evaluation) -> Image.Image:
    """One bar a class; the axis starts at 0, since a bar that does not misleads."""
    font = body_font()
    indent = indent_of(class_names)
    length = PANEL_WIDTH - indent - 70
    panel = blank(PANEL_WIDTH, LINE * len(class_names))
    pen = ImageDraw.Draw(panel)
    for row, name in enumerate(class_names):
        metric, top = evaluation[f"{CONSISTENCY}/{name}"], row * LINE
        pen.text((indent - 8, top + LINE / 2), name, INK, font, anchor="rm")
        pen.rectangle((indent, top + 4, indent + metric.value * length, top + LINE - 4), _BAR)
        if metric.reference is not None:
            tick = indent + metric.reference * length
            pen.line((tick, top + 1, tick, top + LINE - 1), INK, 2)
        pen.text((PANEL_WIDTH, top + LINE / 2), f"{metric.value:.1%}", INK, font, anchor="rm")
    return panel
