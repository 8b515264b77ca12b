"""Lays images out as one picture, with names beside rows and above columns: the only place in training that does."""

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP = 2
"""Pixels left between neighbouring images."""

BACKGROUND = 255
"""Grey level of the gaps."""

INK = 30
"""Grey level of text."""

_SIDE = 64  # pixels of height that small images are enlarged towards
_TEXT = 15  # pixels


def to_uint8(images: Tensor) -> Tensor:
    """Turns images of either range into bytes.

    Args:
        images: [N, C, H, W], uint8, or floating point in [-1, 1] (values outside are clipped).

    Returns:
        uint8 [N, C, H, W], on the same device.
    """
    if images.dtype == torch.uint8:
        return images
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def grid(images: Tensor, columns: int, gap: int = GAP) -> Image.Image:
    """Lays images out row by row, at their own size.

    Args:
        images: [N, C, H, W] with C of 1 or 3, uint8, or floating point in [-1, 1]; on any device.
        columns: Images per row; the last row may be short.
        gap: Pixels between neighbours and around the whole.

    Returns:
        A picture of mode "L" or "RGB".
    """
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    sheet = torch.full((rows * columns, channels, height + gap, width + gap), BACKGROUND, dtype=torch.uint8)
    sheet[:count, :, gap:, gap:] = to_uint8(images).cpu()
    sheet = sheet.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    framed = torch.nn.functional.pad(sheet, (0, 0, 0, gap, 0, gap), value=BACKGROUND)
    return Image.fromarray(framed.numpy().squeeze(2) if channels == 1 else framed.numpy())


def enlarged_grid(images: Tensor, columns: int, *, rows: Sequence[str] = (), heads: Sequence[str] = ()) -> Image.Image:
    """A grid to be judged by eye: small images are enlarged by a whole factor, rows and columns have names.

    Args:
        images: As in `grid`.
        columns: As in `grid`.
        rows: A name for each row, written to its left; none where empty.
        heads: A name for each column, written above it; none where empty.

    Returns:
        As `grid`.
    """
    factor = max(1, round(_SIDE / images.shape[2]))
    pixels = to_uint8(images).repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    plain = grid(pixels, columns)
    left = max((text_width(name) for name in rows), default=-8) + 8
    top = _TEXT + 6 if heads else 0
    paper, ink = ((level,) * len(plain.getbands()) for level in (BACKGROUND, INK))
    sheet = Image.new(plain.mode, (left + plain.width, top + plain.height), paper)
    sheet.paste(plain, (left, top))
    pen = ImageDraw.Draw(sheet)
    cell_height, cell_width = (length + GAP for length in pixels.shape[2:])
    for number, name in enumerate(rows):
        pen.text((left - 6, top + GAP + (number + 0.5) * cell_height), name, ink, font(), anchor="rm")
    for number, name in enumerate(heads):
        pen.text((left + GAP + (number + 0.5) * cell_width, top / 2), name, ink, font(), anchor="mm")
    return sheet


def font(size: int = _TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that a picture looks the same everywhere; size in pixels."""
    return ImageFont.load_default(size)


def text_width(text: str) -> int:
    """Pixels that a name takes in `font()`."""
    return round(font().getlength(text))
