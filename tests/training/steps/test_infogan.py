"""The InfoGAN's phases: codes drawn evenly, a Q that learns to read them and a generator that learns to write them."""

import pytest
import torch

from training.config import CodesConfig, InfoGanConfig
from training.config.infogan import InfoDiscriminatorConfig, InfoGeneratorConfig
from training.data import ImageDataset
from training.objectives.information import categorical_loss, continuous_loss
from training.steps import Model, Phase
from training.steps.infogan import Batch, build, code_vector, draw_codes

IMAGES = torch.arange(0, 240, 40, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 8, 8)
DATA = ImageDataset("dots", "train", IMAGES, torch.zeros(6, dtype=torch.int64), class_names=("dot",), licence="ours")
CODES = CodesConfig(noise=5, categorical=(4, 3), continuous=(1, 2))


def make(**changes) -> Model:
    config = InfoGanConfig(
        data="digits",
        images=8,
        tick=8,
        batch=6,
        generator=InfoGeneratorConfig(width=4),
        **{"codes": CODES, "discriminator": InfoDiscriminatorConfig(width=4, hidden=8), **changes},
    )
    torch.manual_seed(0)
    return build(config, DATA, torch.device("cpu"))


def batch_of(model: Model, step: int = 0) -> Batch:
    return model.feed(step).send(None)


def learn(phase: Phase, batch: Batch, steps: int) -> list[dict[str, float]]:
    """Repeats a phase; gives what each step reports."""
    reports = []
    for _ in range(steps):
        loss = phase.loss(batch)
        phase.optimizer.zero_grad()
        loss.value.backward()
        phase.optimizer.step()
        reports.append({name: value.item() for name, value in {"loss": loss.value, **loss.statistics}.items()})
    return reports


def test_codes_are_drawn_uniformly_and_noise_is_normal() -> None:
    noise, categorical, continuous = draw_codes(CODES, 12_000, torch.Generator().manual_seed(0))
    assert (noise.shape, categorical.shape, continuous.shape) == ((12_000, 5), (12_000, 2), (12_000, 3))
    for code, values in enumerate(CODES.categorical):
        shares = categorical[:, code].bincount(minlength=values) / 12_000
        torch.testing.assert_close(shares, torch.full((values,), 1 / values), rtol=0, atol=0.02)
    assert continuous.abs().max() <= 1
    quarters = torch.stack([torch.histc(number, bins=4, min=-1, max=1) for number in continuous.T]) / 12_000
    torch.testing.assert_close(quarters, torch.full((3, 4), 0.25), rtol=0, atol=0.02)
    assert noise.mean().abs() < 0.02
    assert noise.std().item() == pytest.approx(1, abs=0.02)


def test_codes_are_independent() -> None:
    _, categorical, continuous = draw_codes(CODES, 12_000, torch.Generator().manual_seed(0))
    correlations = torch.corrcoef(torch.cat([categorical.float(), continuous], dim=1).T)
    assert (correlations - torch.eye(5)).abs().max() < 0.04


def test_the_condition_is_each_category_as_one_hot_and_then_the_numbers() -> None:
    vector = code_vector(CODES, torch.tensor([[1, 2]]), torch.tensor([[0.5, -1, 0]]))
    assert vector.tolist() == [[0, 1, 0, 0, 0, 0, 1, 0.5, -1, 0]]


def test_both_phases_get_the_same_images_and_other_codes() -> None:
    feed = make().feed(0)
    first, second = feed.send(None), feed.send(())
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.noise, second.noise)
    assert not torch.equal(first.continuous, second.continuous)


def test_what_a_step_is_fed_is_a_function_of_its_number() -> None:
    first, second = make(), make()
    batch_of(second, step=9)
    for field in ("images", "noise", "categorical", "continuous"):
        assert torch.equal(getattr(batch_of(first, 2), field), getattr(batch_of(second, 2), field))
    assert not torch.equal(batch_of(first, 2).noise, batch_of(first, 3).noise)


@pytest.mark.parametrize("learning", [0, 1])
def test_a_phase_changes_only_its_own_weights(learning: int) -> None:
    model = make()
    before = [[value.clone() for value in phase.module.parameters()] for phase in model.phases]
    learn(model.phases[learning], batch_of(model), steps=1)
    for index, phase in enumerate(model.phases):
        changed = any(not torch.equal(*pair) for pair in zip(before[index], phase.module.parameters(), strict=True))
        assert changed is (index == learning)


def test_the_first_phase_teaches_q_to_read_the_codes() -> None:
    model = make(learned_variance=True)
    discriminator, _ = model.phases
    reports = learn(discriminator, batch_of(model), steps=80)
    for name in ("categorical", "continuous"):
        assert reports[-1][name] < reports[0][name] - 0.4


def test_the_second_phase_teaches_the_generator_to_write_them() -> None:
    model = make(continuous_weight=5, categorical_weight=5)
    _, generator = model.phases
    reports = learn(generator, batch_of(model), steps=80)
    assert reports[-1]["categorical"] < reports[0]["categorical"]
    assert reports[-1]["continuous"] < reports[0]["continuous"]


@pytest.mark.parametrize("index", [0, 1])
def test_both_losses_have_the_bounds_with_their_weights(index: int) -> None:
    def loss_of(categorical: float, continuous: float):
        model = make(categorical_weight=categorical, continuous_weight=continuous)
        return model.phases[index].loss(batch_of(model))

    bare, both = loss_of(0, 0), loss_of(2, 3)
    expected = bare.value + 2 * both.statistics["categorical"] + 3 * both.statistics["continuous"]
    torch.testing.assert_close(both.value, expected)


def test_the_invariance_draws_guesses_of_real_images_and_of_their_deformations_together() -> None:
    model = make(invariance_weight=20, categorical_weight=0, continuous_weight=0)
    reports = learn(model.phases[0], batch_of(model), steps=80)
    assert reports[-1]["invariance"] < reports[0]["invariance"] - 0.1
    without = make()
    assert "invariance" not in without.phases[0].loss(batch_of(without)).statistics


def test_the_invariance_is_part_of_the_loss_with_its_weight() -> None:
    plain = InfoDiscriminatorConfig(width=4, hidden=8, spectral_norm=False)
    losses = []
    for weight in (1.0, 3.0):
        model = make(invariance_weight=weight, discriminator=plain)
        losses.append(model.phases[0].loss(batch_of(model)))
    torch.testing.assert_close(losses[1].value - losses[0].value, 2 * losses[0].statistics["invariance"])


def test_the_equivariance_is_part_of_the_loss_with_its_weight() -> None:
    plain = InfoDiscriminatorConfig(width=4, hidden=8, spectral_norm=False)
    losses = []
    for weight in (1.0, 3.0):
        model = make(equivariance_weight=weight, discriminator=plain)
        losses.append(model.phases[0].loss(batch_of(model)))
    torch.testing.assert_close(losses[1].value - losses[0].value, 2 * losses[0].statistics["equivariance"])


@pytest.mark.parametrize("learned", [True, False])
def test_the_variance_is_learnt_only_on_request(learned: bool) -> None:
    model = make(learned_variance=learned)
    discriminator, _ = model.phases
    batch = batch_of(model)
    learn(discriminator, batch, steps=3)
    _, features = discriminator.module(batch.images)
    assert discriminator.module.guess(features).log_variance.any() == learned


def test_the_reported_bounds_are_those_of_q_on_the_samples() -> None:
    # A spectral norm would move with every pass.
    plain = InfoDiscriminatorConfig(width=4, hidden=8, spectral_norm=False)
    model = make(learned_variance=True, discriminator=plain)
    discriminator, generator = model.phases
    batch = batch_of(model)
    statistics = generator.loss(batch).statistics
    samples = model.generator(batch.noise, code_vector(CODES, batch.categorical, batch.continuous))
    guess = discriminator.module.guess(discriminator.module(samples)[1])
    torch.testing.assert_close(statistics["categorical"], categorical_loss(guess.categorical, batch.categorical))
    expected = continuous_loss(guess.mean, guess.log_variance, batch.continuous)
    torch.testing.assert_close(statistics["continuous"], expected)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("categorical", "continuous"), [((), (2,)), ((3,), ()), ((2, 2, 2), (1, 1))])
def test_codes_may_be_of_any_number(categorical: tuple[int, ...], continuous: tuple[int, ...]) -> None:
    model = make(codes=CodesConfig(noise=4, categorical=categorical, continuous=continuous))
    for phase in model.phases:
        assert all(torch.tensor(list(report.values())).isfinite().all() for report in learn(phase, batch_of(model), 2))
    picture = model.view(model.generator)
    rows, columns = (categorical or (1,))[0], 7 * max(1, sum(continuous))
    tile = (picture.height - 2) / rows
    assert picture.width - 2 == columns * tile
