"""What the tests of sections share: subjects made of a generator and data, without a run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from training.data import ImageDataset, load
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.sample import Sampler
from training.evaluation.subject import Subject

CLASSIFIER = ClassifierConfig(filters=8, features=16, images=12_000, batch=64, steps=1)


class NoCondition:
    """Nothing beside the latent."""

    kind = "none"

    def class_names(self, _info: object) -> tuple[str, ...]:
        return ()

    def draw(self, *_: object) -> dict[str, torch.Tensor]:
        return {}

    def vector(self, *_: object) -> None:
        return None


class Labelled:
    """The class, as a number in place of a one-hot: the generators of these tests look it up."""

    kind = "label"

    def class_names(self, info: Any) -> tuple[str, ...]:
        return info.class_names

    def draw(self, known: dict[str, torch.Tensor], *_: object) -> dict[str, torch.Tensor]:
        return {"labels": known["labels"]}

    def vector(self, draws: dict[str, torch.Tensor], _info: object) -> torch.Tensor:
        return draws["labels"]


@pytest.fixture(scope="session")
def digits() -> Callable[[str], ImageDataset]:
    """A split of the digits by name."""
    splits = {split: load("digits", split) for split in ("train", "validation", "test")}
    return splits.__getitem__


@pytest.fixture(scope="session")
def subject_of(digits, tmp_path_factory) -> Callable[..., Subject]:
    """Makes a subject of a generator (latents of 4, condition) → images, and of a function of splits."""
    cache = tmp_path_factory.mktemp("classifiers")

    def make(generator: Any, condition: Any = None, load: Any = None, **options: Any) -> Subject:
        splits = {split: (load or digits)(split) for split in ("train", "validation", "test")}
        latent_size, info = options.pop("latent_size", 4), splits["train"].info
        known = options.pop("known", {})
        sampler = Sampler(generator, condition or Labelled(), latent_size, info, torch.device("cpu"), known)
        return Subject(sampler, splits, **{"count": 300, "settings": CLASSIFIER, "cache_dir": cache, **options})

    return make
