"""Small deformations of images, after which they still show the same."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Deformation(NamedTuple):
    """The most that an image is deformed by.

    Attributes:
        shear: Horizontal shift per height, either way.
        scale: Share by which it grows or shrinks.
        shift: Share of its side that it is moved by, in each direction.
    """

    shear: float = 0.3
    scale: float = 0.2
    shift: float = 0.1


DRAWS = 4
"""Numbers that decide a deformation: shear, scale, and shift right and down."""

_DEFAULT = Deformation()


def deformed(images: Tensor, draws: Tensor, most: Deformation = _DEFAULT) -> Tensor:
    """Deforms each image in its own way.

    Args:
        images: float32 [B, C, H, W].
        draws: float32 [B, `DRAWS`], in [-1, 1].
        most: What 1 means.

    Returns:
        Of the same shape; its border is repeated where a deformation leaves a gap.
    """
    shear, scale = draws[:, 0] * most.shear, 1 + draws[:, 1] * most.scale
    right, down = draws[:, 2] * 2 * most.shift, draws[:, 3] * 2 * most.shift
    # Where each pixel comes from, in coordinates of -1 to 1.
    across = torch.stack([1 / scale, shear / scale, right], dim=1)
    along = torch.stack([torch.zeros_like(scale), 1 / scale, down], dim=1)
    grid = functional.affine_grid(torch.stack([across, along], dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
