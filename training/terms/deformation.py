"""Small deformations of images, after which they still show the same."""

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from training.terms.base import Side, Term


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

VIEW = "deformed"
"""The name of deformed images among what a discriminator is shown, and of what decides them among the draws."""

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
    # Where each pixel comes from, in coordinates of -1 to 1; autocast would round them to bfloat16.
    with torch.autocast(images.device.type, enabled=False):
        across = torch.stack([1 / scale, shear / scale, right], dim=1)
        along = torch.stack([torch.zeros_like(scale), 1 / scale, down], dim=1)
        grid = functional.affine_grid(torch.stack([across, along], dim=1), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


class DeformationTerm(Term):
    """A term that compares what the discriminator makes of real images and of their deformations."""

    sides: ClassVar[frozenset[Side]] = frozenset({"discriminator"})

    def draws(self) -> dict[str, Callable[[int, torch.Generator], Tensor]]:
        """What `deformed` takes, uniform on [-1, 1]."""
        return {VIEW: lambda count, source: torch.rand(count, DRAWS, generator=source) * 2 - 1}

    def views(self) -> dict[str, Callable[[Tensor, Mapping[str, Tensor]], Tensor]]:
        """The deformed images."""
        return {VIEW: lambda real, draws: deformed(real, draws[VIEW])}
