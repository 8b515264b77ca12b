"""A critic whose slope is held at one between real images and samples (Gulrajani et al., 2017, arXiv:1704.00028)."""

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from training.terms.base import Seen, Side, Term

_TINY = 1e-12  # under the root, whose slope at 0 is infinite


def squared_slopes(score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """‖∇ score(x)‖² of each image, in float32.

    Args:
        score: From images [B, C, H, W] to one number each, [B], none of which depends on another's image.
        images: Where the slope is taken.

    Returns:
        float32 [B]; gradients find their way to what `score` is made of.
    """
    # torch.func rather than autograd.grad, since torch.compile takes it as a part of the graph.
    slopes = torch.func.grad(lambda places: score(places).sum())(images)
    squares: Tensor = slopes.float().flatten(1).square().sum(1)
    return squares


def gradient_penalty(score: Callable[[Tensor], Tensor], images: Tensor, *, one_sided: bool = False) -> Tensor:
    """Mean of (‖∇ score(x)‖ − 1)², eq. 3 of the paper, a float32 scalar.

    Args:
        score: As of `squared_slopes`.
        images: Where the slope is taken.
        one_sided: Whether slopes below one cost nothing; section 4 of the paper.
    """
    excess = (squared_slopes(score, images) + _TINY).sqrt() - 1
    penalty: Tensor = (functional.relu(excess) if one_sided else excess).square().mean()
    return penalty


class GradientPenalty(Term):
    """Holds the critic's slope at one on straight lines between real images and samples."""

    sides: ClassVar[frozenset[Side]] = frozenset({"discriminator"})
    provides: ClassVar[frozenset[str]] = frozenset({"lipschitz", "gradient penalty", "slope of an image"})

    weight: Annotated[float, Field(ge=0, le=1000)] = 10
    """The paper's λ."""

    one_sided: bool = False
    """Whether slopes below one cost nothing."""

    def draws(self) -> dict[str, Callable[[int, torch.Generator], Tensor]]:
        """How far along its line each image lies, uniform in [0, 1]."""
        return {"mixture": lambda count, source: torch.rand(count, 1, 1, 1, generator=source)}

    def value(self, seen: Seen) -> Tensor:  # noqa: D102
        mixed = torch.lerp(seen.real, seen.fake, seen.draws["mixture"])
        return gradient_penalty(lambda images: seen.discriminate(images).score, mixed, one_sided=self.one_sided)
