"""A few labelled images: which they are, what is learnt from them, and that no other label is looked at."""

import dataclasses

import pytest
import torch

from tests.training.tiny import batches_of, build, class_gan, dots, take_step
from training.config import ConfigError
from training.data import sources
from training.terms.labelled import Labelled

DATA = dots(count=30)


def places(labelled) -> list[int]:
    """Which of the images some are; each has a shade of its own."""
    return [int((DATA.images[:, 0, 0, 0] == image[0, 0, 0]).nonzero()) for image in labelled.images]


def test_there_are_as_many_of_each_class_and_the_seed_says_which() -> None:
    first, again, other = (Labelled(count=6).beside(DATA, seed) for seed in (0, 0, 1))
    assert first.labels.bincount().tolist() == [2, 2, 2]
    assert torch.equal(DATA.labels[places(first)], first.labels)
    assert len(set(places(first))) == 6
    assert places(again) == places(first)
    assert places(other) != places(first)


def test_more_labels_are_those_of_fewer_and_others() -> None:
    assert set(places(Labelled(count=3).beside(DATA, 0))) < set(places(Labelled(count=9).beside(DATA, 0)))


@pytest.mark.parametrize("count", [2, 7, 33])
def test_counts_that_cannot_be_shared_out_are_refused(count: int) -> None:
    with pytest.raises(ConfigError) as caught:
        Labelled(count=count).beside(DATA, 0)
    assert str(caught.value) == (
        f"--set terms.labelled.count={count}: for dots it must be a multiple of its 3 classes, with at most 10 of each"
    )


def test_data_without_classes_are_refused(monkeypatch) -> None:
    monkeypatch.setitem(sources.DATASETS, "dots", lambda split, _: dots(classes=0))
    with pytest.raises(ConfigError, match="--data dots has no classes, which dcgan needs"):
        class_gan().load("test")


def test_every_epoch_of_its_own_shows_all_of_them_and_no_others() -> None:
    model, data = build(class_gan(batch=4, terms__labelled__count=6), DATA), Labelled(count=6).beside(DATA, 0)
    shown = [batches_of(model, step)[0].draws for step in range(3)]
    images = torch.cat([draws["labelled/images"] for draws in shown])
    labels = torch.cat([draws["labelled/labels"] for draws in shown])
    expected = set(zip(data.images.float().sum((1, 2, 3)).tolist(), data.labels.tolist(), strict=True))
    sums = (images.add(1) * 127.5).round().sum((1, 2, 3)).tolist()
    found = list(zip(sums, labels.tolist(), strict=True))
    assert len(found) == 12
    assert set(found) == expected
    assert all(found.count(one) == 2 for one in expected)
    again = batches_of(build(class_gan(batch=4), DATA), 1)[0].draws
    assert torch.equal(again["labelled/images"], shown[1]["labelled/images"])


def test_other_labels_change_nothing() -> None:
    known = places(Labelled(count=6).beside(DATA, 0))
    labels = DATA.labels.clone()
    others = [place for place in range(len(DATA)) if place not in known]
    for place in others[:8]:
        labels[place] = (labels[place] + 1) % 3
    changed = dataclasses.replace(DATA, labels=labels)
    assert places(Labelled(count=6).beside(changed, 0)) == known
    reports = [take_step(build(class_gan(), data)) for data in (DATA, changed)]
    assert reports[0] == reports[1]


def test_it_is_the_cross_entropy_of_the_outputs_on_the_labelled_images() -> None:
    model = build(class_gan(discriminator__norm="none"))
    batch, discriminator = batches_of(model)[0], model.phases[0].module
    loss = model.phases[0].loss(batch)
    outputs = discriminator(batch.draws["labelled/images"])[0]
    assert outputs.shape == (6, 3)
    expected = -outputs.log_softmax(1)[torch.arange(6), batch.draws["labelled/labels"]].mean()
    torch.testing.assert_close(loss.statistics["labelled"], expected)
    real, fake = (discriminator(images)[0].logsumexp(1) for images in (batch.images, model.generator(batch.latents)))
    torch.testing.assert_close(loss.statistics["real"], real.mean())
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(loss.value, expected + softplus(-real).mean() + softplus(fake).mean())


def test_the_generator_may_learn_from_features_alone() -> None:
    model = build(class_gan(adversarial_weight=0, terms__feature_matching__weight=1, discriminator__norm="none"))
    batch = batches_of(model)[1]
    loss = model.phases[1].loss(batch)
    features = [model.phases[0].module(images)[1].mean(0) for images in (batch.images, model.generator(batch.latents))]
    torch.testing.assert_close(loss.value, (features[0] - features[1]).square().sum())
    assert all(value.isfinite() for step in range(3) for value in take_step(model, step).values())


def test_the_discriminator_learns_the_classes_of_images_that_it_was_not_told() -> None:
    data = dots(count=12)
    images = torch.full((90, 1, 8, 8), 20, dtype=torch.uint8)
    labels = torch.arange(90) % 3
    images[torch.arange(90), 0, 2 * labels + torch.arange(90) % 2] = 220  # one of two rows for each class
    data = dataclasses.replace(data, images=images, labels=labels)
    model = build(class_gan(batch=12, optimizer__discriminator_lr=2e-3), data)
    for step in range(60):
        take_step(model, step)
    guesses = model.phases[0].module(images / 127.5 - 1)[0].argmax(1)
    assert (guesses == labels).float().mean() > 0.9
