"""Invariant information clustering: the extremes of its loss."""

import math

import pytest
import torch

from training.terms.invariance import invariance_loss


def logits_of(values: torch.Tensor, count: int = 4) -> torch.Tensor:
    """Guesses that are certain of the given values."""
    return torch.nn.functional.one_hot(values, count) * 50.0


def test_certain_even_and_invariant_guesses_have_the_least_loss() -> None:
    guesses = logits_of(torch.arange(40) % 4)
    assert invariance_loss(guesses, guesses).item() == pytest.approx(-math.log(4), abs=1e-3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(40, dtype=torch.int64), torch.zeros(40, dtype=torch.int64)),  # always the same value
        (torch.arange(40) % 2, torch.arange(40) // 2 % 2),  # a deformation changes it at random
    ],
)
def test_guesses_that_say_nothing_have_none(one: torch.Tensor, other: torch.Tensor) -> None:
    assert invariance_loss(logits_of(one), logits_of(other)).item() == pytest.approx(0, abs=1e-3)


def test_undecided_guesses_have_none() -> None:
    undecided = torch.zeros(40, 4)
    assert invariance_loss(undecided, undecided).item() == pytest.approx(0, abs=1e-6)


def test_a_higher_balance_costs_a_shared_value_more() -> None:
    even, shared = logits_of(torch.arange(40) % 4), logits_of((torch.arange(40) % 4).clamp_max(2))
    costs = [
        (invariance_loss(shared, shared, balance) - invariance_loss(even, even, balance)).item() for balance in (1, 2)
    ]
    assert costs[1] > costs[0] > 0


def test_the_gradient_makes_guesses_agree() -> None:
    torch.manual_seed(0)
    weights = (0.1 * torch.randn(4, 4)).requires_grad_()
    kinds = torch.arange(60) % 4
    images = 3 * torch.eye(4)[kinds] + 0.3 * torch.randn(60, 4)
    again = images + 0.3 * torch.randn(60, 4)
    optimizer = torch.optim.Adam([weights], 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        invariance_loss(images @ weights, again @ weights).backward()
        optimizer.step()
    guesses = (images @ weights).argmax(1)
    assert all(len(set(guesses[kinds == kind].tolist())) == 1 for kind in range(4))


def test_guesses_that_change_in_the_same_way_every_time_lose_half_of_it() -> None:
    """Each value becomes the next, so that eight pairs are equally frequent: log 4 + log 4 - log 8."""
    values = torch.arange(40) % 4
    loss = invariance_loss(logits_of(values), logits_of((values + 1) % 4))
    assert loss.item() == pytest.approx(-math.log(2), abs=1e-3)


def test_the_loss_is_float32_also_where_nets_run_in_bfloat16() -> None:
    torch.manual_seed(0)
    logits = torch.randn(64, 10)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = invariance_loss(logits, logits)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, invariance_loss(logits, logits))
