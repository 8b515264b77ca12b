"""RealnessGAN's losses: divergences of distributions, the best discriminator, and the original GAN among them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from tests.training.objectives.best import best_outputs
from training.objectives import OBJECTIVES
from training.objectives.realness import Realness, divergence, expected_realness, skewed_anchors

CERTAIN = Realness(real=torch.tensor([0.0, 1.0]), fake=torch.tensor([1.0, 0.0]))
logits = arrays("float32", (3, 5), elements=st.floats(-20, 20, width=32)).map(torch.from_numpy)


def of_two(scores: Tensor) -> Tensor:
    """Logits of two outcomes whose difference is the score."""
    return torch.stack([torch.full_like(scores, 0.5), scores + 0.5], 1)


@given(outputs=logits, others=logits)
def test_the_divergence_is_that_of_kullback_and_leibler(outputs: Tensor, others: Tensor) -> None:
    value = divergence(outputs.softmax(1), others)
    expected = kl_divergence(Categorical(logits=outputs), Categorical(logits=others)).mean()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    assert value >= -1e-5


@given(outputs=logits, shift=st.floats(-5, 5))
def test_it_is_zero_where_the_answer_is_what_was_wanted(outputs: Tensor, shift: float) -> None:
    assert divergence(outputs.softmax(1), outputs + shift).item() == pytest.approx(0, abs=1e-5)


def test_outcomes_that_are_not_wanted_at_all_cost_no_infinity() -> None:
    assert divergence(torch.tensor([0.0, 1.0]), torch.zeros(4, 2)).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("anchors", [CERTAIN, skewed_anchors(2)], ids=["certain", "skewed"])
@settings(max_examples=30)
@given(scores=arrays("float32", (2, 6), elements=st.floats(-30, 30, width=32)).map(torch.from_numpy))
def test_with_two_outcomes_the_discriminators_loss_is_the_original_cross_entropy(
    anchors: Realness, scores: Tensor
) -> None:
    real, fake = scores
    expected = OBJECTIVES["non_saturating"].discriminator(real, fake)
    torch.testing.assert_close(anchors.discriminator(of_two(real), of_two(fake)), expected)


def test_where_samples_are_answered_like_real_images_the_generator_has_only_the_anchor_to_leave() -> None:
    anchors, outputs = skewed_anchors(10), torch.randn(6, 10)
    torch.testing.assert_close(anchors.generator(outputs, outputs), -divergence(anchors.fake, outputs))


def test_the_generators_slope_leads_from_the_anchor_of_samples_to_the_answer_on_real_images() -> None:
    """Both divergences have the same D(G(z)) in their slope, which falls out: A₀ − D(x)."""
    anchors, real, fake = skewed_anchors(10), torch.randn(1, 10), torch.randn(1, 10, requires_grad=True)
    (slope,) = torch.autograd.grad(anchors.generator(real, fake), fake)
    torch.testing.assert_close(slope, anchors.fake - real.softmax(1), rtol=1e-4, atol=1e-6)


def test_the_best_discriminator_mixes_the_anchors_by_the_densities() -> None:
    """D* = (A₁ p + A₀ q) / (p + q); theorem 1 of the paper."""
    anchors = Realness(real=torch.tensor([0.1, 0.2, 0.7]), fake=torch.tensor([0.6, 0.3, 0.1]))
    real, fake = torch.tensor([1, 2, 5, 4]), torch.tensor([4, 2, 1, 5])
    outputs, _ = best_outputs(anchors.discriminator, real, fake, outcomes=(3,))
    share = (real / (real + fake))[:, None]
    expected = share * anchors.real + (1 - share) * anchors.fake
    torch.testing.assert_close(outputs.softmax(1), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("outcomes", [2, 10, 51])
def test_skewed_anchors_are_mirror_images_and_each_is_real_or_not(outcomes: int) -> None:
    anchors = skewed_anchors(outcomes)
    for anchor in anchors:
        assert anchor.shape == (outcomes,)
        assert anchor.sum().item() == pytest.approx(1)
        assert (anchor >= 0).all()
    assert torch.equal(anchors.real, anchors.fake.flip(0))
    of_real, of_fake = (expected_realness(anchor.log()[None]).item() for anchor in anchors)
    assert of_real == pytest.approx(-of_fake)
    assert of_real > 0.15


def test_the_expected_realness_is_the_mean_over_even_places() -> None:
    outputs = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]]).log()
    torch.testing.assert_close(expected_realness(outputs), torch.tensor([0.3, -1.0, 0.0]))
