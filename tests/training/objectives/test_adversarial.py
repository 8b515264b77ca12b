"""The objectives against values known in closed form."""

import math

import pytest
import torch

from training.objectives import OBJECTIVES

ZERO = torch.zeros(4)


def test_cross_entropy_is_log_4_for_a_discriminator_that_cannot_tell() -> None:
    """V(D*, G) = −log 4 where p_g = p_data (Goodfellow et al., 2014, theorem 1), and the loss is −V."""
    objective = OBJECTIVES["non_saturating"]
    assert objective.discriminator(ZERO, ZERO).item() == pytest.approx(math.log(4))
    assert objective.generator(ZERO).item() == pytest.approx(math.log(2))


def test_non_saturating_gradient_survives_a_confident_discriminator() -> None:
    fake = torch.tensor([-20.0], requires_grad=True)
    OBJECTIVES["non_saturating"].generator(fake).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(-1, abs=1e-6)


def test_hinge_stops_at_its_margins() -> None:
    objective = OBJECTIVES["hinge"]
    assert objective.discriminator(torch.tensor([1.0, 3.0]), torch.tensor([-1.0, -5.0])).item() == 0
    assert objective.discriminator(ZERO, ZERO).item() == 2
    assert objective.generator(torch.tensor([2.0, 4.0])).item() == -3


def test_least_squares_is_zero_at_its_targets() -> None:
    objective = OBJECTIVES["least_squares"]
    assert objective.discriminator(torch.ones(3), ZERO).item() == 0
    assert objective.discriminator(ZERO, torch.ones(3)).item() == 1
    assert objective.generator(torch.tensor([3.0])).item() == 2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_players_pull_the_outputs_on_fakes_in_opposite_directions(name: str) -> None:
    slopes = []
    for player in ("discriminator", "generator"):
        fake = torch.tensor([0.3], requires_grad=True)
        objective = OBJECTIVES[name]
        loss = objective.generator(fake) if player == "generator" else objective.discriminator(ZERO, fake)
        loss.backward()
        slopes.append(fake.grad.item())
    assert slopes[0] > 0 > slopes[1]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_float32_and_finite_for_extreme_bfloat16_outputs(name: str) -> None:
    extreme = torch.tensor([-3e4, 3e4], dtype=torch.bfloat16)
    for loss in (OBJECTIVES[name].discriminator(extreme, extreme), OBJECTIVES[name].generator(extreme)):
        assert loss.dtype == torch.float32
        assert loss.isfinite()
