"""Penalties on a discriminator's slope where it looks: R1 on real images, R2 on samples.

Mescheder et al., 2018, arXiv:1801.04406, eq. 9 and 10: with either, training converges near its equilibrium, where
that of the bare objectives may circle it. With both and relativistic losses it is R3GAN's (arXiv:2501.05441).
"""

from abc import abstractmethod
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from training.terms.base import Seen, Side, Term
from training.terms.gradient_penalty import squared_slopes


class _ZeroCentred(Term):
    """½ E‖∇ score(x)‖²."""

    sides: ClassVar[frozenset[Side]] = frozenset({"discriminator"})
    provides: ClassVar[frozenset[str]] = frozenset({"slope of an image"})

    weight: Annotated[float, Field(ge=0, le=10_000)] = 10
    """The paper's γ."""

    def value(self, seen: Seen) -> Tensor:
        penalty: Tensor = squared_slopes(lambda images: seen.discriminate(images).score, self.places(seen)).mean() / 2
        return penalty

    @abstractmethod
    def places(self, seen: Seen) -> Tensor:
        """Where the slope is taken."""


class R1(_ZeroCentred):
    """Flattens the discriminator at real images."""

    def places(self, seen: Seen) -> Tensor:  # noqa: D102
        return seen.real


class R2(_ZeroCentred):
    """Flattens the discriminator at samples."""

    def places(self, seen: Seen) -> Tensor:  # noqa: D102
        return seen.fake
