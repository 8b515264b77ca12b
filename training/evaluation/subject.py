"""A model that makes pictures from noise, its data and its samples, each seen when a part of an evaluation asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from training import distributed, seeds
from training.data import ImageDataset, Split
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.features import FeatureExtractor, feature_extractor_for
from training.evaluation.findings import EvaluationError, share
from training.evaluation.sample import Inputs, Sampler
from training.nets.posterior import Reading

LEAST = 10
"""Pictures that a split must have: more than neighbours are counted."""

SHOWN = 10
"""Columns of a report's grids, and samples of a class that an evaluation needs."""


class Pictures(NamedTuple):
    """Pictures and what the feature extractor sees in them."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor | None  # the class that each is of, or that was asked for, int64 [N]; None where there is none
    features: Tensor  # float32 [N, D]
    classes: Tensor  # the class that the extractor takes each for, int64 [N]

    @property
    def right(self) -> Tensor:
        """Whether a classifier takes each for what it is, bool [N]; there must be labels."""
        assert self.labels is not None
        return torch.eq(self.classes, self.labels)


@dataclass(frozen=True)
class Subject:
    """What is evaluated; raises EvaluationError if there are too few pictures or samples."""

    sampler: Sampler
    splits: Mapping[Split, ImageDataset]
    count: int  # samples to draw at most
    cache_dir: Path  # where classifiers are kept
    classifier: ClassifierConfig
    posterior: Callable[[Tensor], Reading] | None = None  # Q, of float images [B, C, H, W]; None without codes

    def __post_init__(self) -> None:
        few = next((split for split in self.splits.values() if len(split) < LEAST), None)
        if few:
            counts = f"the {few.split} split has {len(few)} pictures; an evaluation needs at least {LEAST}"
            raise EvaluationError(f"{few.name}: {counts}")
        classes = len(self.train.class_names) if self.is_labelled else SHOWN
        if self.count < SHOWN * classes:
            why = f", {SHOWN} of each of {classes} classes" if self.is_labelled else ""
            raise EvaluationError(f"--samples {self.count}: at least {SHOWN * classes} are needed{why}")

    @property
    def is_labelled(self) -> bool:
        """Whether samples are of a class that is asked for."""
        return bool(self.sampler.condition.kind == "label")

    @property
    def train(self) -> ImageDataset:
        """The training split, without what is held out for validation."""
        return self.splits["train"]

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """What pictures are measured in."""
        return feature_extractor_for(self.train, self.cache_dir, self.sampler.device, self.classifier)

    @cached_property
    def can_judge(self) -> bool:
        """Whether the extractor is a classifier that has learnt, beyond a third of the way from chance to certainty."""
        labels = self.validation.labels
        if labels is None or not self.extractor.knows_classes:
            return False
        chance = float(labels.bincount().max()) / len(labels)
        return share(self.validation.right) > chance + (1 - chance) / 3

    @cached_property
    def validation(self) -> Pictures:
        """The split that choices are made on, of which neither the model nor the classifier was shown anything."""
        return self._of_split("validation")

    @cached_property
    def test(self) -> Pictures:
        """The split that figures are taken on."""
        return self._of_split("test")

    @cached_property
    def inputs(self) -> Inputs:
        """What the samples are made of."""
        return self.sampler.draw(min(self.count, self.extractor.most))

    @cached_property
    def samples(self) -> Pictures:
        """What the generator makes."""
        latents, labels, draws = self.inputs
        distributed.say(f"making {len(latents):,} samples…")
        return self._seen(self.sampler.make(latents, draws), labels)

    def _of_split(self, split: Split) -> Pictures:
        dataset = self.splits[split]
        some = chosen(len(dataset), self.extractor.most)
        return self._seen(dataset.images[some], None if dataset.labels is None else dataset.labels[some])

    def _seen(self, images: Tensor, labels: Tensor | None) -> Pictures:
        return Pictures(images, labels, *self.extractor.extract(images))


def chosen(count: int, most: int, purpose: str = "subset") -> Tensor:
    """Which of a number of pictures are looked at: all in order, or as many as allowed, always the same."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=seeds.random_source(0, "evaluation", purpose))[:most]
