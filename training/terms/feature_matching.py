"""Features of samples that match those of real images in the mean (Salimans et al., 2016, arXiv:1606.03498)."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from training import distributed
from training.terms.base import Seen, Side, Term


class FeatureMatching(Term):
    """‖E f(x) − E f(G(z))‖², section 3.1; with `adversarial_weight=0` it is all that the generator learns from."""

    sides: ClassVar[frozenset[Side]] = frozenset({"generator"})
    shows_real: ClassVar[bool] = True

    weight: Annotated[float, Field(ge=0, le=10_000)] = 1

    def value(self, seen: Seen) -> Tensor:
        """Of the features that the score is taken from, over the whole batch."""
        assert seen.of_real is not None
        difference = seen.of_real.features.float().mean(0) - seen.of_fake.features.float().mean(0)
        return distributed.mean(difference).square().sum()
