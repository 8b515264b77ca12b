"""The conditional GAN's phases: what each changes, and what its losses are made of."""

import pytest
import torch

from training.config import CganConfig, DiscriminatorConfig, GeneratorConfig
from training.data import ImageDataset
from training.objectives import OBJECTIVES
from training.steps import Model
from training.steps.cgan import Batch, build, one_hot

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
IMAGES = torch.arange(0, 240, 40, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 8, 8)
DATA = ImageDataset("dots", "train", IMAGES, LABELS, class_names=("a", "b", "c"), licence="ours")


def make(**changes) -> tuple[Model, Batch]:
    config = CganConfig(
        data="digits",
        images=8,
        tick=8,
        batch=6,
        generator=GeneratorConfig(latent_size=5, width=4),
        **{"discriminator": DiscriminatorConfig(width=4), **changes},
    )
    torch.manual_seed(0)
    batch = Batch(torch.rand(6, 1, 8, 8) * 2 - 1, LABELS, torch.randn(6, 5))
    return build(config, DATA, torch.device("cpu")), batch


def test_a_condition_is_one_at_its_class() -> None:
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_both_phases_get_the_same_images_and_other_latents() -> None:
    model, _ = make()
    feed = model.feed(0)
    first, second = feed.send(None), feed.send(())
    assert sorted(first.images[:, 0, 0, 0].tolist()) == sorted((IMAGES[:, 0, 0, 0] / 127.5 - 1).tolist())
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.latents, second.latents)


def test_what_a_step_is_fed_is_a_function_of_its_number() -> None:
    (model, _), (again, _) = make(), make()
    again.feed(3).send(None)
    for step, same in ((5, True), (6, False)):
        latents = [each.send(None).latents for each in (model.feed(5), again.feed(step))]
        assert torch.equal(*latents) is same


def test_the_discriminator_goes_first() -> None:
    model, _ = make()
    assert [phase.name for phase in model.phases] == ["discriminator", "generator"]
    assert model.phases[1].module is model.generator


@pytest.mark.parametrize("learning", [0, 1])
def test_a_phase_changes_only_its_own_weights(learning: int) -> None:
    model, batch = make()
    before = [[value.clone() for value in phase.module.parameters()] for phase in model.phases]
    phase = model.phases[learning]
    phase.loss(batch).value.backward()
    phase.optimizer.step()
    for index, other in enumerate(model.phases):
        changed = any(
            not torch.equal(old, new) for old, new in zip(before[index], other.module.parameters(), strict=True)
        )
        assert changed is (index == learning)


def test_the_discriminator_phase_gives_the_generator_no_gradient() -> None:
    model, batch = make()
    model.phases[0].loss(batch).value.backward()
    assert all(parameter.grad is None for parameter in model.generator.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_repeating_each_phase_lowers_its_loss(objective: str) -> None:
    for index in (0, 1):
        model, batch = make(objective=objective)
        phase, losses = model.phases[index], []
        for _ in range(60):
            loss = phase.loss(batch).value
            phase.optimizer.zero_grad()
            loss.backward()
            phase.optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]


def test_the_classifier_adds_its_weighted_cross_entropy_to_both_losses() -> None:
    concat = DiscriminatorConfig(width=4, concat=False)
    for index in (0, 1):
        losses = {}
        for weight in (0.5, 2.0):
            model, batch = make(classifier_weight=weight, discriminator=concat)
            losses[weight], statistics, _ = model.phases[index].loss(batch)
        expected = (2.0 - 0.5) * statistics["classifier"]
        torch.testing.assert_close(losses[2.0] - losses[0.5], expected)
        assert statistics["classifier"] > 0


def test_without_a_classifier_none_is_reported() -> None:
    model, batch = make()
    assert all("classifier" not in phase.loss(batch).statistics for phase in model.phases)


def test_the_view_has_a_row_for_each_class() -> None:
    model, _ = make()
    picture = model.view(model.generator)
    assert (picture.width - 2) / (picture.height - 2) == 10 / 3
