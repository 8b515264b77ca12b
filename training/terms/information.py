"""The variational lower bound of the mutual information between codes and images (Chen et al., 2016, eq. 5).

InfoGAN, arXiv:1606.03657: I(c; G(z, c)) >= E[log Q(c | G(z, c))] + H(c). The entropy H of a code's fixed distribution
is a constant, which is left out of losses and put back where the bound itself is reported, in nats.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from training.conditions.codes import HEAD
from training.terms.base import Seen, Term


def categorical_loss(logits: Sequence[Tensor], values: Tensor) -> Tensor:
    """-E[log Q(c | x)] of all categorical codes, the sum of their cross-entropies in nats.

    Args:
        logits: One float tensor [B, values of the code] for each code.
        values: The codes drawn, int64 [B, number of codes].

    Returns:
        A float32 scalar, at least 0; 0 without codes.
    """
    losses = [functional.cross_entropy(guess.float(), value) for guess, value in zip(logits, values.T, strict=True)]
    return sum(losses, start=torch.zeros((), device=values.device))


def continuous_loss(mean: Tensor, log_variance: Tensor, values: Tensor) -> Tensor:
    """-E[log Q(c | x)] of all continuous codes: Q is a Gaussian for each number.

    Args:
        mean: float [B, numbers].
        log_variance: float [B, numbers].
        values: The codes drawn, float [B, numbers].

    Returns:
        A float32 scalar in nats; with variance 1, half the squared error but for a constant.
    """
    mean, log_variance, values = mean.float(), log_variance.float(), values.float()
    squared = (values - mean).square() * (-log_variance).exp()
    return 0.5 * (squared + log_variance + math.log(2 * math.pi)).sum(1).mean()


def categorical_entropy(values: int) -> float:
    """H of a code that is uniform over a number of values, in nats."""
    return math.log(values)


UNIFORM_ENTROPY = math.log(2)
"""H of a number that is uniform on [-1, 1], in nats."""


class CategoricalInformation(Term):
    """Teaches Q to read the categorical codes from a sample, and the generator to write them legibly."""

    needs: ClassVar[frozenset[str]] = frozenset({"categorical codes"})
    provides: ClassVar[frozenset[str]] = frozenset({"information"})

    weight: Annotated[float, Field(ge=0, le=100)] = 1
    """The paper's λ."""

    def value(self, seen: Seen) -> Tensor:  # noqa: D102
        return categorical_loss(seen.of_fake.heads[HEAD].categorical, seen.draws["categorical"])


class ContinuousInformation(Term):
    """Teaches Q to read the continuous codes from a sample, and the generator to write them legibly."""

    needs: ClassVar[frozenset[str]] = frozenset({"continuous codes"})
    provides: ClassVar[frozenset[str]] = frozenset({"information"})

    weight: Annotated[float, Field(ge=0, le=100)] = 0.5
    """The paper's λ, smaller for continuous codes."""

    def value(self, seen: Seen) -> Tensor:  # noqa: D102
        reading = seen.of_fake.heads[HEAD]
        return continuous_loss(reading.mean, reading.log_variance, seen.draws["continuous"])
