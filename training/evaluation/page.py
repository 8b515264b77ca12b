"""The layout of a report: panels with headings, grids with named rows, a table of figures, the protocol."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from training.evaluation.result import Evaluation

PANEL_WIDTH = 640
"""Pixels that a table or a chart is wide."""

LINE = 22
"""Pixels that a line of text is high."""

INK = (30, 30, 30)
"""The colour of text."""

_MARGIN = 24
_FAINT, _PAPER = (120, 120, 120), (255, 255, 255)
_BODY, _HEADING, _TITLE = 15, 18, 26
_PROTOCOL_COLUMNS = 165


def page(title: str, evaluation: Evaluation, *panels: Image.Image) -> Image.Image:
    """A whole report: a title, the panels below each other, and the protocol.

    Args:
        title: What is evaluated.
        evaluation: Whose protocol is shown.
        *panels: What stands between.

    Returns:
        An RGB picture.
    """
    return stacked(_text(title, _TITLE), *panels, headed("Protocol", _protocol(evaluation)), margin=_MARGIN)


def headed(heading: str, panel: Image.Image) -> Image.Image:
    """A panel with a heading above it."""
    return stacked(_text(heading, _HEADING), panel, gap=8)


def stacked(*panels: Image.Image, margin: int = 0, gap: int = _MARGIN) -> Image.Image:
    """Panels below each other; margin and gap in pixels."""
    width = max(panel.width for panel in panels)
    height = sum(panel.height for panel in panels) + gap * (len(panels) - 1)
    sheet, top = blank(width + 2 * margin, height + 2 * margin), margin
    for panel in panels:
        sheet.paste(panel, (margin, top))
        top += panel.height + gap
    return sheet


def beside(*panels: Image.Image) -> Image.Image:
    """Panels beside each other, their tops in line."""
    gap = 2 * _MARGIN
    width = sum(panel.width for panel in panels) + gap * (len(panels) - 1)
    sheet, left = blank(width, max(panel.height for panel in panels)), 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width + gap
    return sheet


def labelled_rows(sheet: Image.Image, names: Sequence[str], height: int) -> Image.Image:
    """Enlarges a grid by a whole factor to about a height and writes a name to the left of each row.

    Args:
        sheet: The grid.
        names: One for each of its rows.
        height: Pixels.

    Returns:
        An RGB panel.
    """
    factor = max(1, round(height / sheet.height))
    large = sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.NEAREST)
    indent = indent_of(names)
    panel = blank(indent + large.width, large.height)
    panel.paste(large, (indent, 0))
    pen = ImageDraw.Draw(panel)
    for row, name in enumerate(names):
        pen.text((indent - 8, (row + 0.5) * large.height / len(names)), name, INK, body_font(), anchor="rm")
    return panel


def indent_of(names: Sequence[str]) -> int:
    """Pixels that names need to the left of what they name."""
    return max(round(body_font().getlength(name)) for name in names) + 8


def table(evaluation: Evaluation, *, classes: bool = True) -> Image.Image:
    """The figures as a table.

    Args:
        evaluation: Its figures are shown.
        classes: Whether those of single classes are shown too; see `Evaluation.table`.

    Returns:
        A panel of `PANEL_WIDTH`.
    """
    rows = evaluation.table(classes=classes)
    columns = (0, PANEL_WIDTH - 120, PANEL_WIDTH)
    panel = blank(PANEL_WIDTH, LINE * len(rows))
    pen = ImageDraw.Draw(panel)
    for line, cells in enumerate(rows):
        for x, cell, anchor in zip(columns, cells, ("lm", "rm", "rm"), strict=True):
            pen.text((x, (line + 0.5) * LINE), cell, INK if line else _FAINT, body_font(), anchor=anchor)
    return panel


def blank(width: int, height: int) -> Image.Image:
    """Empty paper."""
    return Image.new("RGB", (width, height), _PAPER)


def body_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that a report looks the same everywhere."""
    return ImageFont.load_default(_BODY)


def _protocol(evaluation: Evaluation) -> Image.Image:
    paragraphs = [f"{name.replace('_', ' ')}: {value}" for name, value in evaluation.protocol.items()]
    wrapped = [line for text in paragraphs for line in textwrap.wrap(text, _PROTOCOL_COLUMNS, subsequent_indent="    ")]
    return _text("\n".join(wrapped), _BODY)


def _text(text: str, size: int) -> Image.Image:
    font = ImageFont.load_default(size)
    left, top, right, bottom = ImageDraw.Draw(blank(1, 1)).multiline_textbbox((0, 0), text, font)
    panel = blank(round(right - left) + 1, round(bottom - top) + 1)
    ImageDraw.Draw(panel).multiline_text((-left, -top), text, INK, font)
    return panel
