"""A model that makes pictures from noise: its data and its samples, and what the network that measures sees in them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from training import distributed, seeds
from training.data import EVALUABLE, ImageDataset, Split
from training.evaluation.classifier import ClassifierConfig, classifier_for, classify
from training.evaluation.features import extract_features
from training.evaluation.findings import EvaluationError, share
from training.evaluation.sample import Sampler
from training.nets.posterior import Reading

SHOWN = 10  # columns of a report's grids, and samples of a class that an evaluation needs


class MeasuredPictures(NamedTuple):
    """Pictures and what the network that measures sees in them."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor | None  # the class that each is of, or that was asked for, int64 [N]; None where there is none
    features: Tensor  # float32 [N, D]
    classes: Tensor  # the class that the network takes each for, int64 [N]
    attributes: Tensor | None = None  # what is known of each, or was asked for, float32 [N, attributes]

    @property
    def right(self) -> Tensor:
        """Whether the classifier takes each for what it is, bool [N]."""
        return self.are(self.classes)

    def are(self, classes: Tensor) -> Tensor:
        """Whether each is of a class, bool [N]; there must be labels."""
        assert self.labels is not None
        return torch.eq(classes, self.labels)


class Subject:
    """What is evaluated.

    Attributes:
        train: The training split, without what is held out for validation.
        validation: The split that choices are made on; neither the model nor the classifier was shown any of it.
        test: The split that figures are taken on.
        inputs: What the samples are made of.
        samples: What the generator makes.
        classifier: The network that measures, where the data have classes; else it is the fixed one.
        can_judge: Whether there is a classifier that is right more than a third of the way from chance to always.
        most: Pictures of a set that are looked at.
        cache_dir: Where networks that measure are kept.
    """

    def __init__(
        self,
        sampler: Sampler,
        splits: Mapping[Split, ImageDataset],
        count: int,
        cache_dir: Path,
        settings: ClassifierConfig,
        posterior: Callable[[Tensor], Reading] | None = None,
        class_logits: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Trains the classifier where there is none yet, makes `count` samples, and looks at all pictures.

        A model with codes has a posterior, Q, which reads them from float images [B, C, H, W]. One whose discriminator
        is a classifier has its logits of the classes, from such images to [B, classes].

        Raises:
            EvaluationError: If there are too few pictures or samples.
        """
        self.sampler, self.settings, self.posterior, self.train = sampler, settings, posterior, splits["train"]
        self.class_logits = class_logits
        self.is_labelled = bool(sampler.condition.class_names(sampler.info))
        self.cache_dir = cache_dir
        self._refuse_few(splits, count)
        has_classes = len(self.train.class_names) > 1
        self.classifier = classifier_for(self.train, cache_dir, settings, sampler.device) if has_classes else None
        self.most = 100_000 if has_classes else 2_000
        self.validation, self.test = (self._looked_at(splits[split]) for split in ("validation", "test"))
        self.can_judge = False
        if has_classes and self.validation.labels is not None:
            chance = float(self.validation.labels.bincount().max()) / len(self.validation.labels)
            self.can_judge = share(self.validation.right) > chance + (1 - chance) / 3
        self.inputs = sampler.draw(min(count, self.most))
        distributed.say(f"making {len(self.inputs.latents):,} samples…")
        draws = self.inputs.draws
        self.samples = self.pictures(
            sampler.make(self.inputs.latents, draws), self.inputs.labels, draws.get("attributes")
        )

    def pictures(
        self, images: Tensor, labels: Tensor | None = None, attributes: Tensor | None = None
    ) -> MeasuredPictures:
        """What the network sees in pictures, uint8 [N, C, H, W]."""
        device = self.sampler.device
        seen = classify(self.classifier, images) if self.classifier else extract_features(images, device)
        return MeasuredPictures(images, labels, *seen, attributes)

    def _looked_at(self, dataset: ImageDataset) -> MeasuredPictures:
        some = chosen(len(dataset), self.most)
        labels, attributes = (None if known is None else known[some] for known in (dataset.labels, dataset.attributes))
        return self.pictures(dataset.images[some], labels, attributes)

    def _refuse_few(self, splits: Mapping[Split, ImageDataset], count: int) -> None:
        for name, split in splits.items():
            if len(split) < EVALUABLE:
                counts = f"the {name} split has {len(split)} pictures; an evaluation needs at least {EVALUABLE}"
                raise EvaluationError(f"{split.name}: {counts}")
        classes = len(self.train.class_names) if self.is_labelled else SHOWN
        if count < SHOWN * classes:
            why = f", {SHOWN} of each of {classes} classes" if self.is_labelled else ""
            raise EvaluationError(f"--samples {count}: at least {SHOWN * classes} are needed{why}")


def chosen(count: int, most: int, purpose: str = "subset") -> Tensor:
    """Which of a number of pictures are looked at: all in order, or as many as allowed, always the same."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=seeds.random_source(0, "evaluation", purpose))[:most]
