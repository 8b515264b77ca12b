"""Lays a batch of images out as one picture: the only place in training that makes grids."""

import math

import torch
from PIL import Image
from torch import Tensor

GAP = 2
"""Pixels left between neighbouring images."""

BACKGROUND = 255
"""Grey level of the gaps."""

_SMALLEST_VIEW = 56  # pixels


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
    """Lays images out row by row.

    Args:
        images: [N, C, H, W] with C of 1 or 3, uint8, or floating point in [-1, 1]; on any device.
        columns: Images per row; the last row may be short.
        gap: Pixels between neighbours and around the whole.

    Returns:
        A picture of mode "L" or "RGB".

    Raises:
        ValueError: If `images` is not a batch of at least one image of 1 or 3 channels, or `columns` is below 1.
    """
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be [N, C, H, W] with N >= 1 and C of 1 or 3, got {list(images.shape)}")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    sheet = torch.full((rows * columns, channels, height + gap, width + gap), BACKGROUND, dtype=torch.uint8)
    sheet[:count, :, gap:, gap:] = to_uint8(images).cpu()
    sheet = sheet.view(rows, columns, *sheet.shape[1:]).permute(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap), channels)
    framed = torch.nn.functional.pad(sheet, (0, 0, 0, gap, 0, gap), value=BACKGROUND)
    pixels = framed.squeeze(2) if channels == 1 else framed
    return Image.fromarray(pixels.contiguous().numpy())


def enlarged_grid(images: Tensor, columns: int) -> Image.Image:
    """A grid whose small images are enlarged by a whole factor, so that one can judge them by eye.

    Args:
        images: As in `grid`.
        columns: As in `grid`.

    Returns:
        As `grid`.
    """
    factor = max(1, _SMALLEST_VIEW // images.shape[2])
    pixels = to_uint8(images)
    return grid(pixels.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3), columns)
