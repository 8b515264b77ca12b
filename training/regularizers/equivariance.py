"""Guesses that follow a deformation, as in auto-encoding transformations (Zhang et al., 2019, arXiv:1901.04596).

How far Q's guess of a continuous code moves when a real image is sheared or scaled is to be how far it was sheared or
scaled. Without labels it gives the first two numbers of an InfoGAN's continuous codes something to stand for: slant
and size.
"""

from torch import Tensor

REACH = 0.5
"""How far a code moves under the greatest deformation; the real images' own spread fills the rest of [-1, 1]."""

FOLLOWING = 2
"""Numbers that follow: the first the shear, the second the scale."""


def equivariance_loss(mean: Tensor, mean_deformed: Tensor, draws: Tensor) -> Tensor:
    """Mean squared error of how far the guesses move.

    Args:
        mean: Guesses for images, float [B, numbers].
        mean_deformed: Guesses for their deformations, float [B, numbers].
        draws: What decided the deformations, as of `training.regularizers.deformation.deformed`.

    Returns:
        A float32 scalar; 0 where every guess moves by `REACH` times the draw.
    """
    moved = (mean_deformed - mean).float()[:, :FOLLOWING]
    return (moved - REACH * draws[:, : moved.shape[1]]).square().mean()
