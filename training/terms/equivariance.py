"""Guesses that follow a deformation, as in auto-encoding transformations (Zhang et al., 2019, arXiv:1901.04596).

How far Q's guess of a continuous code moves when a real image is sheared or scaled is to be how far it was sheared or
scaled. Without labels it gives the first two numbers of an InfoGAN's continuous codes something to stand for: slant
and size.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from training.conditions.codes import HEAD
from training.terms.base import Seen
from training.terms.deformation import VIEW, DeformationTerm

REACH = 0.5
"""How far a code moves under the greatest deformation; the real images' own spread fills the rest of [-1, 1]."""

FOLLOWING = 2
"""Numbers that follow: the first the shear, the second the scale."""


def equivariance_loss(mean: Tensor, mean_deformed: Tensor, draws: Tensor) -> Tensor:
    """Mean squared error of how far the guesses move.

    Args:
        mean: Guesses for images, float [B, numbers].
        mean_deformed: Guesses for their deformations, float [B, numbers].
        draws: What decided the deformations, as of `training.terms.deformation.deformed`.

    Returns:
        A float32 scalar; 0 where every guess moves by `REACH` times the draw.
    """
    moved = (mean_deformed - mean).float()[:, :FOLLOWING]
    return (moved - REACH * draws[:, : moved.shape[1]]).square().mean()


class Equivariance(DeformationTerm):
    """Makes the first two continuous codes stand for slant and size."""

    needs: ClassVar[frozenset[str]] = frozenset({"continuous codes"})

    weight: Annotated[float, Field(ge=0, le=100)] = 4

    def value(self, seen: Seen) -> Tensor:  # noqa: D102
        assert seen.of_real is not None
        mean, mean_deformed = seen.of_real.heads[HEAD].mean, seen.views[VIEW].heads[HEAD].mean
        return equivariance_loss(mean, mean_deformed, seen.draws[VIEW])
