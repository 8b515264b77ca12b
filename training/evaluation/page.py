"""The layout of a report: panels with headings, a table of figures, the protocol."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageOps

from training.evaluation.result import Evaluation
from training.grids import INK, font, text_width

_PANEL_WIDTH = 640
_LINE = 22
_MARGIN = 24
_FAINT, _PAPER, _BAR, _DARK = (120, 120, 120), (255, 255, 255), (66, 120, 180), (INK, INK, INK)
_BODY, _HEADING, _TITLE = 15, 18, 26
_PROTOCOL_COLUMNS = 165


def page(title: str, evaluation: Evaluation, panels: Sequence[Image.Image]) -> Image.Image:
    """A whole report, RGB: the title, panels below each other, then an evaluation's figures and protocol."""
    paragraphs = [f"{name.replace('_', ' ')}: {value}" for name, value in evaluation.protocol.items()]
    wrapped = [line for text in paragraphs for line in textwrap.wrap(text, _PROTOCOL_COLUMNS, subsequent_indent="    ")]
    ending = headed("Protocol", _text("\n".join(wrapped), _BODY))
    sheet = _joined([_text(title, _TITLE), *panels, headed("Figures", _table(evaluation)), ending], _MARGIN)
    return ImageOps.expand(sheet, _MARGIN, _PAPER)


def headed(heading: str, panel: Image.Image) -> Image.Image:
    """A panel with a heading above it."""
    return _joined([_text(heading, _HEADING), panel], 8)


def beside(*panels: Image.Image) -> Image.Image:
    """Panels beside each other, their tops in line."""
    return _joined(panels, 2 * _MARGIN, down=False)


def bars(rows: Sequence[tuple[str, float, float | None]]) -> Image.Image:
    """A bar for each share; the axis starts at 0, since a bar that does not misleads.

    Args:
        rows: Names, shares in [0, 1] and, drawn as a line, their references.

    Returns:
        An RGB panel.
    """
    indent = max(text_width(name) for name, _, _ in rows) + 8
    length = _PANEL_WIDTH - indent - 70
    panel = _blank(_PANEL_WIDTH, _LINE * len(rows))
    pen = ImageDraw.Draw(panel)
    for row, (name, value, reference) in enumerate(rows):
        top = row * _LINE
        pen.text((indent - 8, top + _LINE / 2), name, _DARK, font(), anchor="rm")
        pen.rectangle((indent, top + 4, indent + value * length, top + _LINE - 4), _BAR)
        if reference is not None:
            tick = indent + reference * length
            pen.line((tick, top + 1, tick, top + _LINE - 1), _DARK, 2)
        pen.text((_PANEL_WIDTH, top + _LINE / 2), f"{value:.1%}", _DARK, font(), anchor="rm")
    return panel


def _joined(panels: Sequence[Image.Image], gap: int, *, down: bool = True) -> Image.Image:
    widths, heights = zip(*(panel.size for panel in panels), strict=True)
    gaps, at = gap * (len(panels) - 1), 0
    sheet = _blank(max(widths), sum(heights) + gaps) if down else _blank(sum(widths) + gaps, max(heights))
    for panel in panels:
        sheet.paste(panel, (0, at) if down else (at, 0))
        at += panel.size[down] + gap
    return sheet


def _table(evaluation: Evaluation) -> Image.Image:
    rows = evaluation.table(classes=False)
    panel = _blank(_PANEL_WIDTH, _LINE * len(rows))
    pen = ImageDraw.Draw(panel)
    for line, cells in enumerate(rows):
        for x, cell, anchor in zip((0, _PANEL_WIDTH - 120, _PANEL_WIDTH), cells, ("lm", "rm", "rm"), strict=True):
            pen.text((x, (line + 0.5) * _LINE), cell, _DARK if line else _FAINT, font(), anchor=anchor)
    return panel


def _text(text: str, size: int) -> Image.Image:
    left, top, right, bottom = ImageDraw.Draw(_blank(1, 1)).multiline_textbbox((0, 0), text, font(size))
    panel = _blank(round(right - left) + 1, round(bottom - top) + 1)
    ImageDraw.Draw(panel).multiline_text((-left, -top), text, _DARK, font(size))
    return panel


def _blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), _PAPER)
