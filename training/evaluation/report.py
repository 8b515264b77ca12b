"""Draws an evaluation as one picture: what the model makes beside what is real, and the figures with their protocol."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from training.evaluation.grids import grid
from training.evaluation.result import Evaluation

CONSISTENCY = "class_consistency"
"""Name of the overall metric, and with a slash and a class name behind it that of the class."""

_GRID_HEIGHT = 560
_PANEL_WIDTH = 640
_MARGIN = 24
_INK, _FAINT, _BAR, _PAPER = (30, 30, 30), (120, 120, 120), (66, 120, 180), (255, 255, 255)
_BODY, _HEADING, _TITLE = 15, 18, 26
_LINE = 22
_PROTOCOL_COLUMNS = 165


@dataclass(frozen=True)
class Exhibits:
    """The images that a report shows, all uint8 [N, C, H, W].

    Attributes:
        title: What is evaluated.
        class_names: In the order of the labels.
        columns: Images in a row of the two grids.
        samples: Generated, `columns` of each class, class after class.
        reals: Held-out images, likewise.
        queries: A few generated images ...
        nearest_by_pixels: ... the training image nearest to each in pixels ...
        nearest_by_features: ... and the one nearest in features.
    """

    title: str
    class_names: Sequence[str]
    columns: int
    samples: Tensor
    reals: Tensor
    queries: Tensor
    nearest_by_pixels: Tensor
    nearest_by_features: Tensor


def draw(exhibits: Exhibits, evaluation: Evaluation) -> Image.Image:
    """Draws the report.

    Args:
        exhibits: The images to show.
        evaluation: The figures to show.

    Returns:
        One RGB picture.
    """
    return _stacked(
        _text(exhibits.title, _TITLE),
        _beside(
            _headed("Samples, one row a class", _class_rows(exhibits, exhibits.samples)),
            _headed("Real images of the test split", _class_rows(exhibits, exhibits.reals)),
        ),
        _headed("Samples, and the training images nearest to them", _neighbour_rows(exhibits)),
        _beside(
            _headed("Class consistency (line: real images)", _bars(exhibits.class_names, evaluation)),
            _headed("Figures", _table(evaluation)),
        ),
        _headed("Protocol", _protocol(evaluation)),
    )


def _class_rows(exhibits: Exhibits, images: Tensor) -> Image.Image:
    return _labelled_rows(grid(images, exhibits.columns), exhibits.class_names, _GRID_HEIGHT)


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
    return _labelled_rows(sheet, list(groups), _GRID_HEIGHT * 3 // 10)


def _labelled_rows(sheet: Image.Image, names: Sequence[str], height: int) -> Image.Image:
    """Enlarges a grid by a whole factor to about a height and writes a name to the left of each row."""
    factor = max(1, round(height / sheet.height))
    large = sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.NEAREST)
    font = _font(_BODY)
    indent = max(round(font.getlength(name)) for name in names) + 8
    panel = _blank(indent + large.width, large.height)
    panel.paste(large, (indent, 0))
    pen = ImageDraw.Draw(panel)
    for row, name in enumerate(names):
        pen.text((indent - 8, (row + 0.5) * large.height / len(names)), name, _INK, font, anchor="rm")
    return panel


def _bars(class_names: Sequence[str], evaluation: Evaluation) -> Image.Image:
    """One bar a class; the axis starts at 0, since a bar that does not misleads."""
    font = _font(_BODY)
    indent = max(round(font.getlength(name)) for name in class_names) + 8
    length = _PANEL_WIDTH - indent - 70
    panel = _blank(_PANEL_WIDTH, _LINE * len(class_names))
    pen = ImageDraw.Draw(panel)
    for row, name in enumerate(class_names):
        metric, top = evaluation[f"{CONSISTENCY}/{name}"], row * _LINE
        pen.text((indent - 8, top + _LINE / 2), name, _INK, font, anchor="rm")
        pen.rectangle((indent, top + 4, indent + metric.value * length, top + _LINE - 4), _BAR)
        if metric.reference is not None:
            tick = indent + metric.reference * length
            pen.line((tick, top + 1, tick, top + _LINE - 1), _INK, 2)
        pen.text((_PANEL_WIDTH, top + _LINE / 2), f"{metric.value:.1%}", _INK, font, anchor="rm")
    return panel


def _table(evaluation: Evaluation) -> Image.Image:
    """All figures but those of single classes, which the bars show."""
    rows = evaluation.table(classes=False)
    columns = (0, _PANEL_WIDTH - 120, _PANEL_WIDTH)
    panel = _blank(_PANEL_WIDTH, _LINE * len(rows))
    pen = ImageDraw.Draw(panel)
    font = _font(_BODY)
    for line, cells in enumerate(rows):
        for x, cell, anchor in zip(columns, cells, ("lm", "rm", "rm"), strict=True):
            pen.text((x, (line + 0.5) * _LINE), cell, _INK if line else _FAINT, font, anchor=anchor)
    return panel


def _protocol(evaluation: Evaluation) -> Image.Image:
    paragraphs = [f"{name.replace('_', ' ')}: {value}" for name, value in evaluation.protocol.items()]
    wrapped = [line for text in paragraphs for line in textwrap.wrap(text, _PROTOCOL_COLUMNS, subsequent_indent="    ")]
    return _text("\n".join(wrapped), _BODY)


def _headed(heading: str, panel: Image.Image) -> Image.Image:
    return _stacked(_text(heading, _HEADING), panel, margin=0, gap=8)


def _text(text: str, size: int) -> Image.Image:
    font = _font(size)
    left, top, right, bottom = ImageDraw.Draw(_blank(1, 1)).multiline_textbbox((0, 0), text, font)
    panel = _blank(round(right - left) + 1, round(bottom - top) + 1)
    ImageDraw.Draw(panel).multiline_text((-left, -top), text, _INK, font)
    return panel


def _stacked(*panels: Image.Image, margin: int = _MARGIN, gap: int = _MARGIN) -> Image.Image:
    width = max(panel.width for panel in panels)
    height = sum(panel.height for panel in panels) + gap * (len(panels) - 1)
    page, top = _blank(width + 2 * margin, height + 2 * margin), margin
    for panel in panels:
        page.paste(panel, (margin, top))
        top += panel.height + gap
    return page


def _beside(*panels: Image.Image) -> Image.Image:
    gap = 2 * _MARGIN
    width = sum(panel.width for panel in panels) + gap * (len(panels) - 1)
    page, left = _blank(width, max(panel.height for panel in panels)), 0
    for panel in panels:
        page.paste(panel, (left, 0))
        left += panel.width + gap
    return page


def _blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), _PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that a report looks the same everywhere."""
    return ImageFont.load_default(size)
