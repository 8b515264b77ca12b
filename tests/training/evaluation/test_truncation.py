"""A normal distribution without tails, against scipy's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from training.evaluation.truncation import truncated_normal

COUNT, SIZE = 400, 25


def drawn(threshold: float, seed: int = 0) -> torch.Tensor:
    return truncated_normal(COUNT, SIZE, threshold, torch.Generator().manual_seed(seed))


@given(st.floats(0.1, 4), st.integers(0, 2**40))
def test_mean_and_variance_are_those_of_the_truncated_distribution(threshold: float, seed: int) -> None:
    latents, expected = drawn(threshold, seed).double().flatten(), stats.truncnorm(-threshold, threshold)
    variance, kurtosis = expected.var(), float(expected.stats("k")) + 3
    errors = {"mean": (variance / len(latents)) ** 0.5, "variance": variance * ((kurtosis - 1) / len(latents)) ** 0.5}
    assert latents.mean().item() == pytest.approx(0, abs=6 * errors["mean"])
    assert latents.square().mean().item() == pytest.approx(variance, abs=6 * errors["variance"])
    assert latents.abs().max() <= threshold


@pytest.mark.parametrize("threshold", [0.3, 1.0, 2.5])
def test_its_distribution_is_scipys(threshold: float) -> None:
    latents = drawn(threshold).double().flatten().numpy()
    assert stats.kstest(latents, stats.truncnorm(-threshold, threshold).cdf).pvalue > 0.01


def test_the_same_seed_gives_the_same_latents_and_what_lies_within_stays() -> None:
    assert torch.equal(drawn(0.5), drawn(0.5))
    whole = torch.randn(COUNT, SIZE, generator=torch.Generator().manual_seed(0))
    within = whole.abs() <= 0.5
    assert torch.equal(drawn(0.5)[within], whole[within])
    assert torch.equal(drawn(10), whole)
