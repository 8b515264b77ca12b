"""What every data set looks like to the rest of training."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from training import seeds

if TYPE_CHECKING:
    from training.data.streams import Squares

Item = TypeVar("Item")
Split = Literal["train", "validation", "test"]

MEMORY_BUDGET = 2 << 30
"""Bytes of decoded pictures that are held in memory and on the training device; larger sets are streamed."""


class DataError(ValueError):
    """A data set cannot be used; the message names the file or folder and what is expected there."""


class MissingDataError(DataError):
    """A data set is nowhere to be found; the message says where it was looked for and what brings it."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a trained model must remember of its data, so that it can be rebuilt and described without them.

    Attributes:
        name: The name the data set is loaded by.
        channels: 1 for grey, 3 for colour.
        size: Height and width in pixels.
        class_names: The name of each class, in the order of the labels; empty where there are none.
        licence: One line on where the data comes from and under what terms.
        images: Number of images in the split it was trained on.
        fingerprint: Digest of that split: other pictures or labels have another.
    """

    name: str
    channels: int
    size: int
    class_names: tuple[str, ...]
    licence: str
    images: int
    fingerprint: str = ""


@dataclass(frozen=True)
class ImageDataset:
    """One split of an image data set.

    Attributes:
        name: The name it is loaded by, e.g. "mnist".
        split: "train", "validation" or "test".
        images: uint8 [N, C, S, S], square; in memory, or decoded when they are asked for.
        labels: int64 [N], each in [0, len(class_names)); None where there are no classes.
        class_names: The name of each class, in the order of the labels; empty where there are none.
        licence: One line on where the data comes from and under what terms; it goes into the model card.
        counts: Pictures of each split, as far as known.
        resized: Whether the pictures were cropped and resized to their size.

    Raises:
        DataError: If the images are not square bytes, or the labels do not fit them or the class names.
    """

    name: str
    split: Split
    images: "Tensor | Squares"
    labels: Tensor | None
    class_names: tuple[str, ...]
    licence: str
    counts: Mapping[Split, int] = field(default_factory=dict)
    resized: bool = False

    def __post_init__(self) -> None:
        what, shape = f"{self.name} ({self.split})", self.images.shape
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[2] != shape[3] or not shape[0]:
            raise DataError(f"{what}: images must be uint8 [N, C, S, S], at least one, got {list(shape)}")
        if (self.labels is None) != (not self.class_names):
            raise DataError(f"{what}: labels and class names come together")
        if self.labels is None:
            return
        if self.labels.shape != shape[:1]:
            raise DataError(f"{what}: there are {len(self.labels)} labels for {len(self)} images")
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            raise DataError(f"{what}: labels must lie in [0, {len(self.class_names)})")

    def __len__(self) -> int:
        return self.images.shape[0]

    @cached_property
    def info(self) -> DatasetInfo:
        """What a trained model must remember of this data set."""
        _, channels, _, size = self.images.shape
        pixels = self.images if isinstance(self.images, Tensor) else self.images.fingerprint
        digest = fingerprint(self.class_names, self.labels, pixels)
        return DatasetInfo(self.name, channels, size, self.class_names, self.licence, len(self), digest)


def environment_dir() -> Path | None:
    """The folder that GANTRY_DATA_DIR names, where --data-dir names none."""
    named = os.environ.get("GANTRY_DATA_DIR")
    return Path(named) if named else None


def fingerprint(*parts: object) -> str:
    """A digest of tensors' bytes and shapes, and of anything else's text."""
    digest = hashlib.sha256()
    for part in parts:
        text = f"{tuple(part.shape)} {part.dtype}" if isinstance(part, Tensor) else str(part)
        digest.update(f"{len(text)} {text}".encode("utf-8", "surrogateescape"))
        if isinstance(part, Tensor):
            # By numpy, since torch's threads would fight over many small tensors.
            digest.update(np.ascontiguousarray(part.numpy()).reshape(-1).data)
    return digest.hexdigest()[:32]


def hold_out(count: int, *names: str) -> tuple[Tensor, Tensor]:
    """Chooses the tenth of some pictures that is held out: by one seed, the same for every run.

    Args:
        count: Pictures there are, at least 2.
        names: What they are held out for.

    Returns:
        Indices of those that stay and of those held out, int64, each in rising order; at least one is held out.
    """
    order = torch.randperm(count, generator=seeds.random_source(0, *names))
    few = max(1, count // 10)
    return order[few:].sort().values, order[:few].sort().values


def divide(what: str, given: Mapping[Split, Sequence[Item]], fewest: int, *names: str) -> dict[Split, Sequence[Item]]:
    """Holds out of the training split what is given for no other: a tenth to test, then a tenth of the rest.

    Args:
        what: Whose splits they are, for the error.
        given: Those that are there.
        fewest: What the training split must have.
        names: What the seed depends on, beside the splits.

    Returns:
        All three splits.

    Raises:
        DataError: If there is too little to train on.
    """
    splits: dict[Split, Sequence[Item]] = {"train": [], **given}
    fewest = max(fewest, 4 - len(splits))  # one for each split that comes out of it
    if (count := len(splits["train"])) < fewest:
        raise DataError(f"{what}: {count} pictures are too few to train on, at least {fewest} are needed")
    held: tuple[Split, ...] = ("test", "validation")
    for split in (each for each in held if each not in given):
        parts = hold_out(len(splits["train"]), split, *names)
        splits["train"], splits[split] = ([splits["train"][each] for each in part.tolist()] for part in parts)
    return splits
