"""The objectives against values known in closed form."""

import math

import pytest
import torch

from tests.training.objectives.best import best_outputs
from training.objectives import OBJECTIVES

ZERO = torch.zeros(4)


def outputs_of(name: str, values: torch.Tensor) -> torch.Tensor:
    """What an objective takes for images of these degrees of realness."""
    match OBJECTIVES[name].outcomes:
        case 1:
            return values
        case "classes":
            return (values[:, None] - math.log(3)).expand(-1, 3)  # of three classes, of which none is more likely
        case outcomes:
            return values[:, None] * torch.linspace(-1, 1, outcomes).to(values)


def test_cross_entropy_is_log_4_for_a_discriminator_that_cannot_tell() -> None:
    """V(D*, G) = −log 4 where p_g = p_data (Goodfellow et al., 2014, theorem 1), and the loss is −V."""
    objective = OBJECTIVES["non_saturating"]
    assert objective.discriminator(ZERO, ZERO).item() == pytest.approx(math.log(4))
    assert objective.generator(None, ZERO).item() == pytest.approx(math.log(2))


def test_non_saturating_gradient_survives_a_confident_discriminator() -> None:
    fake = torch.tensor([-20.0], requires_grad=True)
    OBJECTIVES["non_saturating"].generator(None, fake).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(-1, abs=1e-6)


def test_saturating_gradient_vanishes_where_the_discriminator_is_confident() -> None:
    fake = torch.tensor([-20.0], requires_grad=True)
    OBJECTIVES["minimax"].generator(None, fake).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(0, abs=1e-8)


def test_a_relativistic_discriminator_compares_pairs() -> None:
    """−log σ of the difference: only differences count, and equal ones cost log 2; arXiv:1807.00734."""
    objective, real, fake = OBJECTIVES["relativistic"], torch.tensor([1.0, 5.0]), torch.tensor([0.0, 7.0])
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(2))) / 2
    assert objective.discriminator(real, fake).item() == pytest.approx(expected)
    assert objective.discriminator(real + 9, fake + 9).item() == pytest.approx(expected)
    assert objective.generator(real, fake).item() == pytest.approx(objective.discriminator(fake, real).item())
    assert objective.generator(real, real).item() == pytest.approx(math.log(2))


def test_hinge_stops_at_its_margins() -> None:
    objective = OBJECTIVES["hinge"]
    assert objective.discriminator(torch.tensor([1.0, 3.0]), torch.tensor([-1.0, -5.0])).item() == 0
    assert objective.discriminator(ZERO, ZERO).item() == 2
    assert objective.generator(None, torch.tensor([2.0, 4.0])).item() == -3


def test_least_squares_is_zero_at_its_targets() -> None:
    objective = OBJECTIVES["least_squares"]
    assert objective.discriminator(torch.ones(3), ZERO).item() == 0
    assert objective.discriminator(ZERO, torch.ones(3)).item() == 1
    assert objective.generator(None, torch.tensor([3.0])).item() == 2


def test_the_energy_of_samples_costs_nothing_beyond_the_margin() -> None:
    """Of energies over the margin: D(x) + max(0, 1 − D(G(z))) and D(G(z)); Zhao et al., 2016, eq. 1 and 2."""
    objective, real, fake = OBJECTIVES["energy"], torch.tensor([0.25, 0.75]), torch.tensor([0.5, 1.0, 3.0])
    assert objective.discriminator(-real, -fake).item() == pytest.approx(0.5 + 0.5 / 3)
    assert objective.generator(None, -fake).item() == pytest.approx(1.5)


def test_classes_are_told_apart_from_samples_as_by_a_softmax_with_one_more() -> None:
    """Of K + 1 logits the last, a sample's, may be 0: −log(1 − p(K + 1)) on real images, −log p(K + 1) on samples."""
    real, fake = torch.randn(7, 3), torch.randn(5, 3)
    more = [torch.cat([outputs, torch.zeros(len(outputs), 1)], 1).softmax(1)[:, -1] for outputs in (real, fake)]
    expected = -(1 - more[0]).log().mean() - more[1].log().mean()
    objective = OBJECTIVES["classes"]
    torch.testing.assert_close(objective.discriminator(real, fake), expected)
    torch.testing.assert_close(objective.generator(None, fake), -(1 - more[1]).log().mean())
    torch.testing.assert_close(objective.realness(real).sigmoid(), 1 - more[0])


COUNTS_REAL, COUNTS_FAKE = torch.tensor([1, 2, 5, 4]), torch.tensor([4, 2, 1, 5])
"""How often each of four images is among twelve real ones, and among twelve samples."""


def test_the_best_discriminator_under_cross_entropy_knows_the_densities() -> None:
    """D* = p / (p + q), and V = −log 4 + 2 JS(p, q); Goodfellow et al., 2014, proposition 1 and theorem 1."""
    outputs, loss = best_outputs(OBJECTIVES["non_saturating"].discriminator, COUNTS_REAL, COUNTS_FAKE)
    torch.testing.assert_close(outputs.sigmoid(), COUNTS_REAL / (COUNTS_REAL + COUNTS_FAKE), rtol=0, atol=1e-3)
    p, q = COUNTS_REAL / 12, COUNTS_FAKE / 12
    divergence = ((p * (2 * p / (p + q)).log()).sum() + (q * (2 * q / (p + q)).log()).sum()) / 2
    assert -loss == pytest.approx(-math.log(4) + 2 * divergence.item(), abs=1e-4)
    assert -best_outputs(OBJECTIVES["non_saturating"].discriminator, COUNTS_REAL, COUNTS_REAL)[1] == pytest.approx(
        -math.log(4), abs=1e-6
    )


def test_the_best_discriminator_under_least_squares_gives_the_share_of_real_ones() -> None:
    """D* = p / (p + q) for the targets 1 and 0; Mao et al., 2017, eq. 5."""
    outputs, loss = best_outputs(OBJECTIVES["least_squares"].discriminator, COUNTS_REAL, COUNTS_FAKE)
    p, q = COUNTS_REAL / 12, COUNTS_FAKE / 12
    torch.testing.assert_close(outputs, p / (p + q), rtol=0, atol=1e-3)
    assert loss == pytest.approx(0.5 * (p * q / (p + q)).sum().item(), abs=1e-5)
    assert best_outputs(OBJECTIVES["least_squares"].discriminator, COUNTS_REAL, COUNTS_REAL)[1] == pytest.approx(
        0.25, abs=1e-6
    )


def test_the_best_discriminator_under_hinge_has_the_total_variation_in_its_loss() -> None:
    """V = 2 Σ min(p, q) = 2 − 2 TV; Lim & Ye, 2017, theorem 1: the outputs themselves are ±1."""
    least = min(
        OBJECTIVES["hinge"].discriminator(
            outputs.repeat_interleave(COUNTS_REAL), outputs.repeat_interleave(COUNTS_FAKE)
        )
        for outputs in torch.cartesian_prod(*[torch.linspace(-2, 2, 9)] * 4)
    )
    assert least.item() == pytest.approx(2 * torch.minimum(COUNTS_REAL, COUNTS_FAKE).sum().item() / 12, abs=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_an_objective_that_says_so_looks_at_real_images_for_the_generator(name: str) -> None:
    fake, one, other = (outputs_of(name, torch.linspace(*ends, 5)) for ends in ((-2, 2), (0, 3), (-5, -1)))
    assert (
        torch.equal(OBJECTIVES[name].generator(one, fake), OBJECTIVES[name].generator(other, fake))
        is not OBJECTIVES[name].shows_real
    )
    if not OBJECTIVES[name].shows_real:
        OBJECTIVES[name].generator(None, fake)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_do_not_depend_on_the_order_within_a_batch_of_samples(name: str) -> None:
    real, fake = (torch.randn_like(outputs_of(name, torch.zeros(16))) for _ in range(2))
    order = torch.randperm(16)
    for player in (OBJECTIVES[name].discriminator, OBJECTIVES[name].generator):
        torch.testing.assert_close(player(real, fake), player(real[order], fake[order]))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_players_pull_the_outputs_on_fakes_in_opposite_directions(name: str) -> None:
    slopes = []
    for player in ("discriminator", "generator"):
        fake = torch.tensor([0.3], requires_grad=True)
        play = getattr(OBJECTIVES[name], player)
        play(outputs_of(name, ZERO[:1]), outputs_of(name, fake)).backward()
        slopes.append(fake.grad.item())
    assert slopes[0] > 0 > slopes[1]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_float32_and_finite_for_extreme_bfloat16_outputs(name: str) -> None:
    extreme = outputs_of(name, torch.tensor([-3e4, 3e4], dtype=torch.bfloat16))
    for loss in (OBJECTIVES[name].discriminator(extreme, extreme), OBJECTIVES[name].generator(extreme, extreme)):
        assert loss.dtype == torch.float32
        assert loss.isfinite()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_reported_is_one_number_an_image_that_rises_with_its_realness(name: str) -> None:
    reported = OBJECTIVES[name].realness(outputs_of(name, torch.linspace(-3, 3, 7)))
    assert reported.shape == (7,)
    assert (reported.diff() > 0).all()
    assert reported[3].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_names_its_paper(name: str) -> None:
    assert "arXiv:" in OBJECTIVES[name].paper
