"""The classifier learns its data, once, and the same way each time."""

from dataclasses import replace

import pytest
import torch

from training.data import load
from training.evaluation import classifier as module
from training.evaluation.classifier import ClassifierConfig, classifier_for, classify

CPU = torch.device("cpu")
CONFIG = ClassifierConfig(filters=8, features=16, images=12_000, batch=64, steps=1)


@pytest.fixture(scope="module")
def train():
    return load("digits", "train")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("classifiers")


@pytest.fixture(scope="module")
def classifier(train, cache):
    return classifier_for(train, cache, CONFIG, CPU)


def test_it_learns_the_digits(classifier):
    test = load("digits", "test")
    seen = classify(classifier, test.images)
    assert seen.features.shape == (len(test), 16)
    assert seen.features.dtype == torch.float32
    assert (seen.classes == test.labels).float().mean() > 0.9


def test_few_pictures_are_shown_often_enough_to_learn(train, tmp_path, capsys):
    few = replace(train, images=train.images[:180], labels=train.labels[:180])
    config = ClassifierConfig(filters=8, features=16)
    test = load("digits", "test")
    seen = classify(classifier_for(few, tmp_path, config, CPU), test.images)
    assert (seen.classes == test.labels).float().mean() > 0.8
    assert capsys.readouterr().err == "training a classifier of digits (9,600 images)…\n"


def test_it_is_trained_once(classifier, train, cache, monkeypatch):
    def unwanted(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "_train", unwanted)

    again = classifier_for(train, cache, CONFIG, CPU)

    assert not again.training
    images = train.images[:32]
    assert torch.equal(classify(again, images).features, classify(classifier, images).features)


def test_other_data_or_settings_have_another_classifier(classifier, train, tmp_path):
    short = CONFIG.model_copy(update={"images": 64})
    other_images = replace(train, images=255 - train.images)
    other_labels = replace(train, labels=(train.labels + 1) % 10)

    for data, config in [(train, short), (other_images, short), (other_labels, short), (train, short)]:
        classifier_for(data, tmp_path, config, CPU)
    classifier_for(train, tmp_path, short.model_copy(update={"seed": 1}), CPU)

    assert len(list(tmp_path.iterdir())) == 4


def test_another_arithmetic_has_another_classifier(train, tmp_path, monkeypatch):
    short = CONFIG.model_copy(update={"images": 64})
    for precision in ("float32", "bfloat16", "float32"):
        monkeypatch.setattr(module, "resolve_precision", lambda _precision, _device, kept=precision: kept)
        classifier_for(train, tmp_path, short, CPU)
    assert len(list(tmp_path.iterdir())) == 2


def test_training_depends_on_its_seed_alone(train, tmp_path):
    short = CONFIG.model_copy(update={"images": 640})
    torch.manual_seed(1)
    one = classifier_for(train, tmp_path / "one", short, CPU)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    other = classifier_for(train, tmp_path / "other", short, CPU)

    assert torch.equal(torch.random.get_rng_state(), state)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_shifts_move_whole_images_by_at_most_their_share():
    images = torch.full((64, 1, 10, 10), -1.0)
    images[:, :, 5, 5] = 1

    shifted = module._shifted(images, 0.2, torch.Generator().manual_seed(0))

    assert shifted.shape == images.shape
    places = (shifted == 1).nonzero()
    assert len(places) == 64  # the dot is in each image, once
    assert places[:, 2:].amin(0).tolist() == [3, 3]
    assert places[:, 2:].amax(0).tolist() == [7, 7]


def test_without_shift_images_stay(train):
    images = train.images[:5].float()
    assert torch.equal(module._shifted(images, 0, torch.Generator()), images)
