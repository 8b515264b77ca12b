"""The phases of two translators: what losses are made of, what each changes, what the discriminators are shown."""

import pytest
import torch
from torch import nn

from tests.training.tiny import SMALL_CROP, build, noise, take_step
from training.config.translation import TranslationConfig
from training.nets.translator import Translator
from training.objectives import OBJECTIVES
from training.steps.phase import Model
from training.steps.translation import DiscriminatorBatch, TranslationBatch


def make(**changes) -> Model:
    plain = TranslationConfig(recipe="cyclegan", data="noise", total_images=8, tick=8)
    narrow = {"batch": 2, "pool": 0, "generator.width": 2, "generator.blocks": 1, "discriminator.width": 2}
    return build(plain.changed({**narrow, **SMALL_CROP, **changes}), noise())


def first_batch(model: Model) -> TranslationBatch:
    return model.batches(0).send(None)


def discriminator_batch(model: Model) -> DiscriminatorBatch:
    stream = model.batches(0)
    return stream.send(model.phases[0].loss(stream.send(None)).outputs)


class Shift(nn.Module):
    """A translator that adds a number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, pictures):
        return pictures + self.by


def count_pictures(translator: Translator) -> list[int]:
    """Makes a list that grows by the batch of each of its passes."""
    passes: list[int] = []
    translator.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    return passes


def test_the_generators_go_first() -> None:
    model = make()
    assert [phase.name for phase in model.phases] == ["generators", "discriminators"]
    assert model.phases[0].module is model.generator


@pytest.mark.parametrize("learning", [0, 1])
def test_a_phase_changes_only_its_own_weights(learning: int) -> None:
    model = make()
    before = [[value.clone() for value in phase.module.parameters()] for phase in model.phases]
    phase = model.phases[learning]
    phase.loss(discriminator_batch(model)).value.backward()
    phase.optimizer.step()
    for index, other in enumerate(model.phases):
        changed = [not torch.equal(*pair) for pair in zip(before[index], other.module.parameters(), strict=True)]
        assert any(changed) is (index == learning)
        assert index != learning or all(changed)  # both nets of the phase, wholly


def test_the_cycle_loss_of_inverse_maps_is_zero() -> None:
    model = make()
    model.generator.a_to_b, model.generator.b_to_a = Shift(0.25), Shift(-0.25)
    statistics = model.phases[0].loss(first_batch(model)).statistics
    assert statistics["cycle"].item() == pytest.approx(0, abs=1e-6)
    assert statistics["identity"].item() == pytest.approx(0.5)  # 0.25 in either domain


def test_the_identity_loss_of_identities_is_zero() -> None:
    model = make()
    model.generator.a_to_b, model.generator.b_to_a = Shift(0.0), Shift(0.5)
    statistics = model.phases[0].loss(first_batch(model)).statistics
    assert statistics["identity"].item() == pytest.approx(0.5)
    assert statistics["cycle"].item() == pytest.approx(1)


@pytest.mark.parametrize(
    "objective", [name for name, each in OBJECTIVES.items() if not (each.needs or each.shows_real)]
)
def test_the_generators_loss_is_the_weighted_sum_of_its_parts(objective: str) -> None:
    model = make(objective=objective, cycle_weight=7, identity_weight=3)
    value, parts, _ = model.phases[0].loss(first_batch(model))
    torch.testing.assert_close(value, parts["a_to_b"] + parts["b_to_a"] + 7 * parts["cycle"] + 3 * parts["identity"])


def test_a_translation_is_scored_by_the_discriminator_of_its_target() -> None:
    model = make(cycle_weight=0, identity_weight=0)
    model.phases[0].loss(first_batch(model)).statistics["a_to_b"].backward()
    discriminator_a, discriminator_b = model.phases[1].module
    assert all(parameter.grad is None for parameter in discriminator_a.parameters())
    assert all(parameter.grad is not None for parameter in discriminator_b.parameters())
    assert all(parameter.grad is None for parameter in model.generator.b_to_a.parameters())
    assert all(parameter.grad is not None for parameter in model.generator.a_to_b.parameters())


@pytest.mark.parametrize(("weight", "pictures"), [(2.5, [4, 2]), (0, [2, 2])])
def test_without_weight_the_identity_costs_no_pass(weight: float, pictures: list[int]) -> None:
    """A batch of two: translation and identity in one pass of four, then the cycle's pass of two."""
    model = make(identity_weight=weight)
    passes = count_pictures(model.generator.a_to_b)
    loss = model.phases[0].loss(first_batch(model))
    assert passes == pictures
    assert ("identity" in loss.statistics) is (weight > 0)


def test_one_pass_for_translation_and_identity_gives_what_two_would() -> None:
    with_identity, without = make(identity_weight=2.5), make(identity_weight=0)
    losses = [model.phases[0].loss(first_batch(model)) for model in (with_identity, without)]
    for first, second in zip(losses[0].outputs, losses[1].outputs, strict=True):
        torch.testing.assert_close(first, second)


def test_the_discriminators_see_this_steps_translations_without_gradient() -> None:
    model = make()
    stream = model.batches(0)
    batch = stream.send(None)
    assert type(batch) is TranslationBatch
    outputs = model.phases[0].loss(batch).outputs
    shown_batch = stream.send(outputs)
    assert torch.equal(shown_batch.a, batch.a)
    assert torch.equal(shown_batch.b, batch.b)
    torch.testing.assert_close(shown_batch.fake_b, model.generator.a_to_b(batch.a))
    torch.testing.assert_close(shown_batch.fake_a, model.generator.b_to_a(batch.b))
    assert not any(fake.requires_grad for fake in (*outputs, shown_batch.fake_a, shown_batch.fake_b))
    model.phases[1].loss(shown_batch).value.backward()
    assert all(parameter.grad is None for parameter in model.generator.parameters())


def test_later_discriminators_see_pooled_translations_too() -> None:
    model = make(pool=2)
    real = torch.zeros(2, 3, 32, 32)
    shown = []
    for step in range(40):
        stream = model.batches(step)
        stream.send(None)
        shown_batch = stream.send((real + step, real + 1000 + step))
        shown += [(shown_batch.fake_a[0, 0, 0, 0].item(), shown_batch.fake_b[0, 0, 0, 0].item(), step)]
    assert any(fake_a < step for fake_a, _, step in shown)
    assert all(fake_a <= step and 1000 <= fake_b <= 1000 + step for fake_a, fake_b, step in shown)
    assert [fake_a for fake_a, *_ in shown] != [fake_b - 1000 for _, fake_b, _ in shown]  # a pool for each


def test_the_discriminators_loss_is_that_of_real_and_fake_of_each_domain() -> None:
    model = make()
    shown_batch, objective = discriminator_batch(model), OBJECTIVES["least_squares"]
    discriminator_a, discriminator_b = model.phases[1].module
    losses = model.phases[1].loss(shown_batch)
    torch.testing.assert_close(
        losses.statistics["a"],
        objective.discriminator(discriminator_a(shown_batch.a), discriminator_a(shown_batch.fake_a)),
    )
    torch.testing.assert_close(
        losses.statistics["b"],
        objective.discriminator(discriminator_b(shown_batch.b), discriminator_b(shown_batch.fake_b)),
    )
    torch.testing.assert_close(losses.value, losses.statistics["a"] + losses.statistics["b"])


@pytest.mark.parametrize("index", [0, 1])
def test_repeating_each_phase_lowers_its_loss(index: int) -> None:
    model = make()
    phase, shown_batch, losses = model.phases[index], discriminator_batch(model), []
    for _ in range(20):
        loss = phase.loss(shown_batch).value
        phase.optimizer.zero_grad()
        loss.backward()
        phase.optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_what_must_survive_a_stop_are_the_pools() -> None:
    model = make(pool=5)
    discriminator_batch(model)
    assert {name: len(pool.state_dict()["kept"]) for name, pool in model.extra_state.items()} == {
        "pool_a": 2,
        "pool_b": 2,
    }


def test_the_sheet_has_four_rows_of_each_domain_with_input_translated_cycled_and_identity() -> None:
    model = make()
    model.generator.a_to_b, model.generator.b_to_a = Shift(2.0), Shift(-2.0)  # to white, and to black
    picture = model.sample_grid(model.generator)
    assert picture.size == (4 * 34 + 2, 8 * 34 + 2)

    def tile(row: int, column: int) -> torch.Tensor:
        box = (2 + 34 * column, 2 + 34 * row, 34 + 34 * column, 34 + 34 * row)
        return torch.frombuffer(bytearray(picture.crop(box).tobytes()), dtype=torch.uint8)

    for row in range(4):
        assert (tile(row, 1) == 255).all()
        assert torch.equal(tile(row, 2), tile(row, 0))
        assert (tile(row, 3) == 0).all()
    for row in range(4, 8):
        assert (tile(row, 1) == 0).all()
        assert torch.equal(tile(row, 2), tile(row, 0))
        assert (tile(row, 3) == 255).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_of_every_objective_that_fits_are_finite(objective: str) -> None:
    if OBJECTIVES[objective].needs or OBJECTIVES[objective].shows_real:
        return  # refused; see tests/training/config/test_translation.py
    model = make(objective=objective, pool=3)
    assert all(value.isfinite() for step in range(3) for value in take_step(model, step).values())


def test_one_picture_of_each_domain_is_a_batch() -> None:
    model = make(batch=1)
    assert first_batch(model).a.shape == (1, 3, 32, 32)
    assert all(value.isfinite() for value in take_step(model).values())
