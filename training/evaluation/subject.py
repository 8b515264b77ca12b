"""What is evaluated: a model, its data and its samples, each loaded or made when a section asks for it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from training import seeds
from training.data import EVALUABLE, ImageDataset
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.features import FeatureExtractor, feature_extractor_for
from training.evaluation.result import Codes, Metric
from training.evaluation.sample import Inputs, Sampler

SHOWN = 10
"""Columns of a report's grids, and samples of a class that an evaluation needs."""

_TRAINING_BYTES = 1 << 28
"""Bytes of training pictures that samples are compared with at most; larger sets are drawn from."""


class EvaluationError(ValueError):
    """A model cannot be evaluated as was asked; the message says what is allowed."""


class Section(NamedTuple):
    """What one part of an evaluation comes to.

    Attributes:
        metrics: Its figures.
        protocol: How they were taken.
        panels: Parts of the report.
        codes: What the model's codes mean.
        figures: Pictures for the model card, by the names of their files.
    """

    metrics: Sequence[Metric]
    protocol: Mapping[str, str]
    panels: Sequence[Image.Image] = ()
    codes: Codes | None = None
    figures: Mapping[str, Image.Image] = {}


class Pictures(NamedTuple):
    """Pictures and what the feature extractor sees in them.

    Attributes:
        images: uint8 [N, C, H, W].
        labels: The class that each is of, or that was asked for, int64 [N]; None where there is none.
        features: float32 [N, D].
        classes: The class that the classifier takes each for, int64 [N]; None without a classifier.
    """

    images: Tensor
    labels: Tensor | None
    features: Tensor
    classes: Tensor | None

    @property
    def right(self) -> Tensor:
        """Whether the classifier takes each for what it is, bool [N]; there must be a classifier and labels."""
        assert self.labels is not None
        assert self.classes is not None
        return torch.eq(self.classes, self.labels)


@dataclass(frozen=True)
class Subject:
    """What is evaluated; of a model that translates pictures only the first three are read.

    Attributes:
        generator: The averaged generator, in evaluation mode, on `device`.
        config: The run's configuration.
        load: Loads a split of the run's data.
        sampler: Draws from the generator; None of a model that translates.
        posterior: Q: float images [B, C, H, W] → its reading of the codes; None without codes.
        count: Samples to draw at most.
        cache_dir: Where classifiers are kept.
        classifier: How a classifier is trained.
        device: Where nets run.
        inception_weights: torch-fidelity's file of Inception-v3 weights, where the user has it.
    """

    generator: Any
    config: Any
    load: Callable[[Any], Any]
    sampler: Sampler | None = None
    posterior: Callable[[Tensor], Any] | None = None
    count: int = 10_000
    cache_dir: Path = Path(".cache")
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    inception_weights: Path | None = None

    @cached_property
    def train(self) -> ImageDataset:
        """The training split, without what is held out for validation."""
        return self._loaded("train", 2)

    @cached_property
    def shown(self) -> Tensor:
        """The training pictures that samples are compared with, uint8 [N, C, H, W]."""
        most = _TRAINING_BYTES // math.prod(self.train.images.shape[1:])
        return self.train.images[chosen(len(self.train), most)]

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """What pictures are measured in."""
        return feature_extractor_for(self.train, self.cache_dir, self.device, self.classifier)

    @cached_property
    def validation(self) -> Pictures:
        """The split that choices are made on, of which neither the model nor the classifier was shown anything."""
        return self._of_split("validation")

    @cached_property
    def test(self) -> Pictures:
        """The split that figures are taken on."""
        return self._of_split("test")

    @cached_property
    def samples(self) -> Pictures:
        """What the generator makes."""
        images = self.source.make(self.inputs.latents, self.inputs.draws)
        made, real = list(images.shape[1:]), list(self.train.images.shape[1:])
        if made != real:
            raise EvaluationError(f"the generator makes images of {made}, {self.train.name} has {real}: give its data")
        return self._seen(images, self.inputs.labels)

    @property
    def source(self) -> Sampler:
        """The sampler, of a model that makes pictures from noise."""
        assert self.sampler is not None
        return self.sampler

    @cached_property
    def inputs(self) -> Inputs:
        """What the samples are made of."""
        is_label = self.source.condition.kind == "label"
        needed = SHOWN * len(self.train.class_names) if is_label else SHOWN * SHOWN
        if self.count < needed:
            why = f", {SHOWN} of each of {len(self.train.class_names)} classes" if is_label else ""
            raise EvaluationError(f"--samples {self.count}: at least {needed} are needed{why}")
        return self.source.draw(min(self.count, self.extractor.most))

    def _loaded(self, split: str, least: int) -> ImageDataset:
        dataset: ImageDataset = self.load(split)
        if len(dataset) < least:
            raise EvaluationError(
                f"{dataset.name}: the {split} split has {len(dataset)} pictures; an evaluation needs at least {least}"
            )
        return dataset

    def _of_split(self, split: str) -> Pictures:
        dataset = self._loaded(split, EVALUABLE)
        some = chosen(len(dataset), self.extractor.most)
        return self._seen(dataset.images[some], None if dataset.labels is None else dataset.labels[some])

    def _seen(self, images: Tensor, labels: Tensor | None) -> Pictures:
        features, classes = self.extractor.extract(images)
        return Pictures(images, labels, features, classes if self.extractor.knows_classes else None)


def chosen(count: int, most: int, purpose: str = "subset") -> Tensor:
    """Which of a number of pictures are looked at: all in order, or as many as allowed, always the same."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=seeds.random_source(0, "evaluation", purpose))[:most]


def share(right: Tensor) -> float:
    """The share of True."""
    return float(right.double().mean())
