"""Guesses that follow a deformation."""

import pytest
import torch

from training.terms.equivariance import REACH, equivariance_loss

DRAWS = torch.tensor([[1.0, -1.0, 0.3, 0.2], [0.5, 0.0, -1.0, 1.0]])


def test_guesses_that_move_as_far_as_the_image_cost_nothing() -> None:
    mean = torch.randn(2, 3)
    followed = mean.clone()
    followed[:, :2] += REACH * DRAWS[:, :2]
    followed[:, 2] += 7  # a third number follows nothing
    assert equivariance_loss(mean, followed, DRAWS).item() == pytest.approx(0, abs=1e-12)


def test_guesses_that_stand_still_cost_the_squared_way() -> None:
    mean = torch.randn(2, 2)
    assert equivariance_loss(mean, mean, DRAWS).item() == pytest.approx(REACH**2 * (1 + 1 + 0.25) / 4)


def test_a_single_number_follows_the_shear() -> None:
    mean = torch.randn(2, 1)
    assert equivariance_loss(mean, mean + REACH * DRAWS[:, :1], DRAWS).item() == pytest.approx(0, abs=1e-12)
