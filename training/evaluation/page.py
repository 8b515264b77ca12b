"""The layout of a report: panels with headings, a table of figures, the protocol."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageOps

from training.evaluation.result import Evaluation
from training.grids import INK, font

_MARGIN = 24
_PAPER = (255, 255, 255)
_BODY, _HEADING, _TITLE = 15, 18, 26
_PROTOCOL_COLUMNS = 165


def page(title: str, evaluation: Evaluation, panels: Sequence[Image.Image]) -> Image.Image:
    """A whole report, RGB: the title, panels below each other, then an evaluation's figures and protocol."""
    paragraphs = [f"{name.replace('_', ' ')}: {value}" for name, value in evaluation.protocol.items()]
    wrapped = [line for text in paragraphs for line in textwrap.wrap(text, _PROTOCOL_COLUMNS, subsequent_indent="    ")]
    figures = beside(*(_text("\n".join(cells), _BODY) for cells in zip(*evaluation.table(), strict=True)))
    endings = headed("Figures", figures), headed("Protocol", _text("\n".join(wrapped), _BODY))
    return ImageOps.expand(_joined([_text(title, _TITLE), *panels, *endings], _MARGIN), _MARGIN, _PAPER)


def headed(heading: str, panel: Image.Image) -> Image.Image:
    """A panel with a heading above it."""
    return _joined([_text(heading, _HEADING), panel], 8)


def beside(*panels: Image.Image) -> Image.Image:
    """Panels beside each other, their tops in line."""
    return _joined(panels, 2 * _MARGIN, down=False)


def _joined(panels: Sequence[Image.Image], gap: int, *, down: bool = True) -> Image.Image:
    widths, heights = zip(*(panel.size for panel in panels), strict=True)
    gaps, at = gap * (len(panels) - 1), 0
    size = (max(widths), sum(heights) + gaps) if down else (sum(widths) + gaps, max(heights))
    sheet = Image.new("RGB", size, _PAPER)
    for panel in panels:
        sheet.paste(panel, (0, at) if down else (at, 0))
        at += panel.size[down] + gap
    return sheet


def _text(text: str, size: int) -> Image.Image:
    _, _, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font(size))
    panel = Image.new("RGB", (round(right) + 1, round(bottom) + 1), _PAPER)
    ImageDraw.Draw(panel).multiline_text((0, 0), text, (INK, INK, INK), font(size))
    return panel
