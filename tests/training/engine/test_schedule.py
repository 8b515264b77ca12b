"""The learning rate: constant, then falling linearly to zero."""

import pytest

from training.config import OptimizerConfig
from training.engine.schedule import learning_rate_factor
from training.recipes import RECIPES


def factors(share: float, *images: int) -> list[float]:
    config = RECIPES["cgan"].config("mnist").changed({"total_images": 60_000, "optimizer.decay_start": share})
    return [learning_rate_factor(config, seen) for seen in images]


def test_it_falls_linearly_after_the_constant_share() -> None:
    assert factors(0.5, 0, 30_000, 37_500, 45_000, 60_000) == pytest.approx([1, 1, 0.75, 0.5, 0])


def test_it_may_fall_from_the_beginning_or_never() -> None:
    assert factors(0, 0, 15_000, 60_000) == pytest.approx([1, 0.75, 0])
    assert factors(1, 0, 59_999, 60_000) == [1, 1, 1]


def test_the_default_keeps_it() -> None:
    assert OptimizerConfig().decay_start == 1
