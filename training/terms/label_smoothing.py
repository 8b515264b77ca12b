"""One-sided label smoothing: a discriminator that is to be a little less sure of real images (Salimans et al., 2016).

Under cross-entropy a target of 1 − s instead of 1 is the same as adding s times the real score:
−(1 − s) log σ(v) − s log(1 − σ(v)) = −log σ(v) + s v. The term is v, its weight s. (arXiv:1606.03498, section 3.4.)
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from training.terms.base import Seen, Side, Term


class LabelSmoothing(Term):
    """The mean score of real images, by which a target of less than one differs from one."""

    sides: ClassVar[frozenset[Side]] = frozenset({"discriminator"})
    needs: ClassVar[frozenset[str]] = frozenset({"cross entropy"})

    weight: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """By what real images' target is less than one."""

    def value(self, seen: Seen) -> Tensor:  # noqa: D102
        assert seen.of_real is not None
        return seen.of_real.score.float().mean()
