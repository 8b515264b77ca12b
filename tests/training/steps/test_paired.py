"""The phases of one translator from pairs: what losses are made of, what each changes, what the discriminator sees."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.training.tiny import SMALL_CROP, build, pairs, take_step
from training.config.paired import PairedConfig
from training.objectives import OBJECTIVES
from training.steps.paired import DiscriminatorBatch, GeneratorBatch
from training.steps.phase import Model

FITTING = [name for name, each in OBJECTIVES.items() if not (each.needs or each.shows_real)]


def make(**changes: Any) -> Model:
    plain = PairedConfig(recipe="pix2pix", data="pairs", total_images=8, tick=8, generator={"depth": 3, "width": 2})
    return build(plain.changed({"batch": 2, "discriminator.width": 2, **SMALL_CROP, **changes}), pairs())


def generator_batch(model: Model) -> GeneratorBatch:
    return model.batches(0).send(None)


def discriminator_batch(model: Model) -> DiscriminatorBatch:
    stream = model.batches(0)
    return stream.send(model.phases[0].loss(stream.send(None)).outputs)


class Recorder(nn.Module):
    """A discriminator that keeps what it is shown, and scores by the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, shown: torch.Tensor) -> torch.Tensor:
        self.seen.append(shown.detach())
        return shown.mean(dim=(1, 2, 3), keepdim=True)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Stands in for the discriminator of what is made next."""
    recorder = Recorder()
    recorder.weight = nn.Parameter(torch.zeros(1))
    monkeypatch.setattr("training.nets.translator.PatchConfig.build", lambda *_: recorder)
    return recorder


def test_the_generator_goes_first() -> None:
    model = make()
    assert [phase.name for phase in model.phases] == ["generator", "discriminator"]
    assert model.phases[0].module is model.generator


@pytest.mark.parametrize("learning", [0, 1])
def test_a_phase_changes_only_its_own_weights(learning: int) -> None:
    model = make()
    before = [[value.clone() for value in phase.module.parameters()] for phase in model.phases]
    batch = (generator_batch, discriminator_batch)[learning](model)
    model.phases[learning].loss(batch).value.backward()
    model.phases[learning].optimizer.step()
    for index, phase in enumerate(model.phases):
        changed = [not torch.equal(*pair) for pair in zip(before[index], phase.module.parameters(), strict=True)]
        assert any(changed) is (index == learning)


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_the_direction_says_what_is_made_of_what(direction: str) -> None:
    """In these pairs B is the negative of A; a mirrored crop would not show it, nor would one of another place."""
    batches = {way: generator_batch(make(direction=way)) for way in ("a_to_b", "b_to_a")}
    batch = batches[direction]
    torch.testing.assert_close(batch.source, -batch.target, rtol=0, atol=0.01)
    assert torch.equal(batches["a_to_b"].source, batches["b_to_a"].target)
    assert [*make(direction=direction).generator] == [direction]


@pytest.mark.parametrize("objective", FITTING)
def test_the_generators_loss_is_the_weighted_sum_of_its_parts(objective: str) -> None:
    model = make(objective=objective, l1_weight=7)
    batch = generator_batch(model)
    value, parts, (fake,) = model.phases[0].loss(batch)
    torch.testing.assert_close(value, parts["adversarial"] + 7 * parts["l1"])
    torch.testing.assert_close(parts["l1"], functional.l1_loss(fake, batch.target))


def test_the_discriminator_sees_the_picture_beside_what_was_made_of_it(recorder: Recorder) -> None:
    model = make()
    batch = discriminator_batch(model)
    (of_generator,) = recorder.seen
    assert torch.equal(of_generator, torch.cat([batch.source, batch.fake], dim=1))
    loss = model.phases[1].loss(batch)
    real, fake = recorder.seen[1].chunk(2)
    assert torch.equal(real, torch.cat([batch.source, batch.target], dim=1))
    assert torch.equal(fake, of_generator)
    scores = [shown.mean(dim=(1, 2, 3)) for shown in (real, fake)]
    torch.testing.assert_close(loss.value, OBJECTIVES["non_saturating"].discriminator(*scores))


def test_the_discriminator_sees_this_steps_translation_without_gradient() -> None:
    model = make()
    stream = model.batches(0)
    batch = stream.send(None)
    shown = stream.send(model.phases[0].loss(batch).outputs)
    assert torch.equal(shown.source, batch.source)
    assert torch.equal(shown.target, batch.target)
    torch.testing.assert_close(shown.fake, model.generator["a_to_b"](batch.source, batch.dropout))
    model.phases[1].loss(shown).value.backward()
    assert all(parameter.grad is None for parameter in model.generator.parameters())


def test_what_is_dropped_follows_from_seed_and_step() -> None:
    def drawn(seed: int, step: int) -> torch.Tensor:
        return make(seed=seed).batches(step).send(None).dropout["0"]

    torch.manual_seed(1)  # torch's own source does not matter
    wanted = drawn(0, 3)
    torch.manual_seed(2)
    assert torch.equal(drawn(0, 3), wanted)
    assert not torch.equal(drawn(0, 4), wanted)
    assert not torch.equal(drawn(1, 3), wanted)
    assert make(**{"generator.dropout": 0}).batches(0).send(None).dropout == {}


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("index", [0, 1])
def test_repeating_each_phase_lowers_its_loss(index: int, norm: str) -> None:
    model = make(**{"generator.norm": norm})
    phase, batch, losses = model.phases[index], (generator_batch, discriminator_batch)[index](model), []
    for _ in range(20):
        loss = phase.loss(batch).value
        phase.optimizer.zero_grad()
        loss.backward()
        phase.optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("objective", FITTING)
def test_steps_of_every_objective_that_fits_are_finite(objective: str) -> None:
    model = make(objective=objective)
    assert all(value.isfinite() for step in range(3) for value in take_step(model, step).values())


def test_one_pair_is_a_batch() -> None:
    model = make(batch=1)
    assert generator_batch(model).source.shape == (1, 3, 32, 32)
    assert all(value.isfinite() for value in take_step(model).values())


class Black(nn.Module):
    """Translates everything into black."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return -torch.ones_like(pictures)


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_the_sheet_has_a_row_for_each_pair_with_input_output_and_target(direction: str) -> None:
    model = make(direction=direction)
    picture = model.sample_grid(nn.ModuleDict({direction: Black()}))
    side = 2 * 32 + 2  # small pictures are shown enlarged
    top = picture.height - 8 * side - 2
    assert picture.width == 3 * side + 2
    assert 0 < top < 30  # the names

    def tile(row: int, column: int) -> torch.Tensor:
        corner = (2 + side * column, top + 2 + side * row)
        box = (*corner, corner[0] + side - 2, corner[1] + side - 2)
        return torch.frombuffer(bytearray(picture.crop(box).tobytes()), dtype=torch.uint8).int()

    for row in range(8):
        assert (tile(row, 1) == 0).all()
        assert (tile(row, 0) + tile(row, 2) - 255).abs().max() <= 1  # negatives
