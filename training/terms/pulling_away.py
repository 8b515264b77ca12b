"""Samples whose features point in different directions (EBGAN; Zhao et al., 2016, arXiv:1609.03126)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from training import distributed
from training.terms.base import Seen, Side, Term


def mean_squared_cosine(features: Tensor) -> Tensor:
    """The mean over all pairs of their squared cosine; arXiv:1609.03126, eq. 4.

    Args:
        features: float [B, F], of 2 images at least.

    Returns:
        A float32 scalar in [0, 1]: 0 where all are orthogonal, 1 where all lie on one line.
    """
    count = len(features)
    with torch.autocast(features.device.type, enabled=False):
        directions = functional.normalize(features.float(), dim=1)
        squares = (directions @ directions.T).square()
    return (squares.sum() - squares.diagonal().sum()) / (count * (count - 1))


class PullingAway(Term):
    """Keeps the generator from making one picture again and again."""

    sides: ClassVar[frozenset[Side]] = frozenset({"generator"})

    weight: Annotated[float, Field(ge=0, le=100)] = 0.1
    """The paper's."""

    def value(self, seen: Seen) -> Tensor:
        """Of all pairs of the whole batch."""
        return mean_squared_cosine(distributed.gathered(seen.of_fake.features))
