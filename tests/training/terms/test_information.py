"""The mutual-information bound against closed forms."""

import math

import pytest
import torch
from torch.distributions import Categorical, Normal

from training.terms.information import (
    UNIFORM_ENTROPY,
    categorical_entropy,
    categorical_loss,
    continuous_loss,
)


def test_the_categorical_loss_is_the_negative_log_likelihood_of_all_codes() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(6, 4), torch.randn(6, 3)]
    values = torch.stack([torch.randint(4, (6,)), torch.randint(3, (6,))], dim=1)
    expected = -sum(Categorical(logits=guess).log_prob(value) for guess, value in zip(logits, values.T, strict=True))
    torch.testing.assert_close(categorical_loss(logits, values), expected.mean())


def test_the_continuous_loss_is_the_negative_log_density_of_a_gaussian() -> None:
    torch.manual_seed(0)
    mean, log_variance, values = torch.randn(6, 3), torch.randn(6, 3), torch.rand(6, 3) * 2 - 1
    density = Normal(mean, (0.5 * log_variance).exp()).log_prob(values)
    torch.testing.assert_close(continuous_loss(mean, log_variance, values), -density.sum(1).mean())


def test_without_codes_of_a_kind_its_loss_is_zero() -> None:
    assert categorical_loss([], torch.zeros(5, 0, dtype=torch.int64)).item() == 0
    none = torch.zeros(5, 0)
    assert continuous_loss(none, none, none).item() == 0


@pytest.mark.parametrize("values", [2, 10, 37])
def test_a_categorical_bound_lies_between_knowing_nothing_and_the_entropy(values: int) -> None:
    """H(c) - loss: 0 for a Q that guesses evenly, H(c) for one that knows, and never more."""
    entropy, codes = categorical_entropy(values), torch.arange(values)[:, None]
    assert entropy == pytest.approx(Categorical(torch.ones(values)).entropy().item())
    even, certain = torch.zeros(values, values), 50 * torch.eye(values)
    assert entropy - categorical_loss([even], codes).item() == pytest.approx(0, abs=1e-5)
    assert entropy - categorical_loss([certain], codes).item() == pytest.approx(entropy)
    torch.manual_seed(0)
    assert all(entropy - categorical_loss([torch.randn(values, values) * 9], codes) <= entropy for _ in range(20))


def test_a_continuous_bound_of_a_q_that_knows_nothing_is_at_most_zero() -> None:
    """H(c) - loss is largest for the Gaussian of the code's own mean and variance, and still below I = 0."""
    codes = torch.linspace(-1, 1, 100_001)[:, None]
    best = torch.full_like(codes, math.log(1 / 3))  # the variance of a uniform number on [-1, 1]
    bounds = [
        UNIFORM_ENTROPY - continuous_loss(torch.zeros_like(codes), best + shift, codes).item()
        for shift in (-1, -0.1, 0, 0.1, 1)
    ]
    assert max(bounds) == bounds[2] < 0


def test_gradients_pull_guesses_towards_the_codes() -> None:
    logits, mean = torch.zeros(1, 3, requires_grad=True), torch.tensor([[0.5, -0.5]], requires_grad=True)
    categorical_loss([logits], torch.tensor([[1]])).backward()
    assert logits.grad.sign().tolist() == [[1, -1, 1]]  # descent raises the right one
    continuous_loss(mean, torch.zeros(1, 2), torch.tensor([[1.0, -1.0]])).backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[-0.5, 0.5]]))  # the error itself, at variance 1


@pytest.mark.parametrize(("error", "direction"), [(0.1, 1), (3.0, -1)])
def test_the_learnt_variance_follows_the_error(error: float, direction: int) -> None:
    log_variance = torch.zeros(1, 1, requires_grad=True)
    continuous_loss(torch.full((1, 1), error), log_variance, torch.zeros(1, 1)).backward()
    assert log_variance.grad.sign().item() == direction


def test_losses_of_bfloat16_guesses_are_float32() -> None:
    guess = torch.randn(4, 3, dtype=torch.bfloat16)
    assert categorical_loss([guess], torch.zeros(4, 1, dtype=torch.int64)).dtype == torch.float32
    assert continuous_loss(guess, guess, guess).dtype == torch.float32
