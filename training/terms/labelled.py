"""A few labelled images that teach a discriminator the classes (Salimans et al., 2016, arXiv:1606.03498, section 5)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from training import seeds
from training.config import ConfigError
from training.data import ImageDataset
from training.terms.base import Seen, Side, Term

_NAME = "labelled"


class Labelled(Term):
    """The cross-entropy of the classes of some images, in nats; all other labels are never looked at."""

    sides: ClassVar[frozenset[Side]] = frozenset({"discriminator"})
    needs: ClassVar[frozenset[str]] = frozenset({"class logits"})
    needs_known: ClassVar[frozenset[str]] = frozenset({"labels"})
    provides: ClassVar[frozenset[str]] = frozenset({"labelled images"})

    weight: Annotated[float, Field(ge=0, le=100)] = 1

    count: Annotated[int, Field(ge=1)] = 100
    """Images whose labels are known, as many of each class; which they are is decided by the run's seed."""

    def beside(self, dataset: ImageDataset, seed: int) -> ImageDataset:
        """The labelled images."""
        assert dataset.labels is not None
        each, rest = divmod(self.count, len(dataset.class_names))
        fewest = int(dataset.labels.bincount(minlength=len(dataset.class_names)).min())
        if rest or not 1 <= each <= fewest:
            multiple = f"a multiple of its {len(dataset.class_names)} classes, with at most {fewest} of each"
            raise ConfigError(f"--set terms.{_NAME}.count={self.count}: for {dataset.name} it must be {multiple}")
        order = torch.randperm(len(dataset), generator=seeds.random_source(seed, _NAME))
        labels = dataset.labels[order]
        chosen = torch.cat([order[labels == label][:each] for label in range(len(dataset.class_names))])
        return replace(dataset, images=dataset.images[chosen], labels=dataset.labels[chosen], attributes=None)

    def views(self) -> dict[str, Callable[[Tensor, Mapping[str, Tensor]], Tensor]]:
        """The labelled images."""
        return {_NAME: lambda _, draws: draws[f"{_NAME}/images"]}

    def value(self, seen: Seen) -> Tensor:  # noqa: D102
        return functional.cross_entropy(seen.views[_NAME].score.float(), seen.draws[f"{_NAME}/labels"])
