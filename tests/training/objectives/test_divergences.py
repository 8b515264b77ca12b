"""Every f-divergence against its own f: the conjugate, its domain, and the bound that a best discriminator reaches."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.training.objectives.best import best_outputs
from training.objectives.divergences import DIVERGENCES

Function = Callable[[Tensor], Tensor]
INFINITE = math.inf


class Definition(NamedTuple):
    """f of a ratio u > 0, its slope, and where its conjugate is finite (Nowozin et al., 2016, table 6)."""

    f: Function
    slope: Function
    domain: tuple[float, float] = (-INFINITE, INFINITE)


DEFINITIONS = {
    "kl": Definition(lambda u: u * u.log(), lambda u: u.log() + 1),
    "reverse_kl": Definition(lambda u: -u.log(), lambda u: -1 / u, (-INFINITE, 0)),
    "pearson_chi2": Definition(lambda u: (u - 1).square(), lambda u: 2 * (u - 1)),
    "neyman_chi2": Definition(lambda u: (1 - u).square() / u, lambda u: 1 - 1 / u.square(), (-INFINITE, 1)),
    "squared_hellinger": Definition(lambda u: (u.sqrt() - 1).square(), lambda u: 1 - 1 / u.sqrt(), (-INFINITE, 1)),
    "jensen_shannon": Definition(
        lambda u: u * u.log() - (u + 1) * ((1 + u) / 2).log(),
        lambda u: (2 * u / (1 + u)).log(),
        (-INFINITE, math.log(2)),
    ),
    "jeffreys": Definition(lambda u: (u - 1) * u.log(), lambda u: u.log() + 1 - 1 / u),
    "total_variation": Definition(lambda u: (u - 1).abs() / 2, lambda u: (u - 1).sign() / 2, (-0.5, 0.5)),
    "bhattacharyya": Definition(lambda u: 1 - u.sqrt(), lambda u: -0.5 / u.sqrt(), (-INFINITE, 0)),
    "gan": Definition(lambda u: u * u.log() - (u + 1) * (u + 1).log(), lambda u: (u / (u + 1)).log(), (-INFINITE, 0)),
}
RATIOS = torch.logspace(-6, 6, 200_001, dtype=torch.float64)
EVERY = pytest.mark.parametrize("name", DIVERGENCES)
scores = st.floats(-6, 6).map(lambda value: torch.tensor(value, dtype=torch.float64))
ratios = st.floats(1e-3, 1e3).map(lambda value: torch.tensor(value, dtype=torch.float64))


def test_all_are_defined_here() -> None:
    assert DEFINITIONS.keys() == DIVERGENCES.keys()


@EVERY
@given(score=st.floats(-1.9, 3).map(lambda value: torch.tensor(value, dtype=torch.float64)))
def test_the_conjugate_is_that_of_f(name: str, score: Tensor) -> None:
    """f*(t) = sup_u (u t − f(u)); Pearson's from t = −2 on, below which the paper leaves out that u is not negative."""
    value = DIVERGENCES[name].activation(score)
    highest = (RATIOS * value - DEFINITIONS[name].f(RATIOS)).max()
    torch.testing.assert_close(DIVERGENCES[name].conjugate(score), highest, rtol=1e-4, atol=1e-4)


@EVERY
@given(score=scores, ratio=ratios)
def test_fenchel_and_young(name: str, score: Tensor, ratio: Tensor) -> None:
    divergence = DIVERGENCES[name]
    both = DEFINITIONS[name].f(ratio) + divergence.conjugate(score)
    assert both - ratio * divergence.activation(score) >= -1e-9 * (1 + both.abs())


@EVERY
@given(ratio=st.floats(0.05, 20).map(lambda value: torch.tensor(value, dtype=torch.float64)))
def test_fenchel_and_young_are_equal_at_the_slope(name: str, ratio: Tensor) -> None:
    """f(u) + f*(t) = u t where t = f'(u); the score of that t is found by halving, since activations increase."""
    divergence, wanted = DIVERGENCES[name], DEFINITIONS[name].slope(ratio)
    low, high = torch.tensor(-40.0, dtype=torch.float64), torch.tensor(40.0, dtype=torch.float64)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if divergence.activation(middle) < wanted else (low, middle)
    both = DEFINITIONS[name].f(ratio) + divergence.conjugate(high)
    torch.testing.assert_close(both, ratio * wanted, rtol=1e-6, atol=1e-6)


@EVERY
@given(score=st.floats(-1e4, 1e4).map(torch.tensor))
def test_activations_map_into_the_domain_of_the_conjugate(name: str, score: Tensor) -> None:
    low, high = DEFINITIONS[name].domain
    assert low <= DIVERGENCES[name].activation(score) <= high


@EVERY
def test_a_higher_score_means_more_likely_real(name: str) -> None:
    values = DIVERGENCES[name].activation(torch.linspace(-8, 8, 101, dtype=torch.float64))
    assert (values.diff() > 0).all()


@EVERY
def test_the_best_discriminator_reaches_the_divergence(name: str) -> None:
    """−loss = Σ q f(p / q); eq. 4, with equality where g(v) = f'(p / q)."""
    real, fake = torch.tensor([1, 2, 5, 4]), torch.tensor([4, 2, 1, 5])
    p, q = real / 12, fake / 12
    _, loss = best_outputs(DIVERGENCES[name].discriminator, real, fake)
    assert -loss == pytest.approx((q * DEFINITIONS[name].f(p / q)).sum().item(), abs=1e-3)
    same = (DEFINITIONS[name].f(torch.ones(()))).item()
    assert -best_outputs(DIVERGENCES[name].discriminator, real, real)[1] == pytest.approx(same, abs=1e-4)


@EVERY
def test_gradients_are_those_of_the_formula(name: str) -> None:
    points = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    for function in DIVERGENCES[name]:
        assert torch.autograd.gradcheck(function, points, eps=1e-6, atol=1e-5)


def test_the_gan_divergence_is_the_original_objective() -> None:
    real, fake = torch.randn(9), torch.randn(9)
    expected = torch.nn.functional.softplus(-real).mean() + torch.nn.functional.softplus(fake).mean()
    torch.testing.assert_close(DIVERGENCES["gan"].discriminator(real, fake), expected)
