"""What every data set looks like to the rest of training."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from training import seeds

Split = Literal["train", "validation", "test"]

MEMORY_BUDGET = 2 << 30
"""Bytes of decoded pictures that are held in memory and on the training device; larger sets are streamed."""


class DataError(ValueError):
    """A data set cannot be used; the message names the file or folder and what is expected there."""


class MissingDataError(DataError):
    """A data set is nowhere to be found; the message says where it was looked for and what brings it."""


class LazyImages(Protocol):
    """Pictures of one size that are decoded when they are asked for, indexed like a tensor.

    Attributes:
        shape: [N, C, S, S].
        dtype: torch.uint8.
    """

    shape: torch.Size
    dtype: torch.dtype

    @property
    def fingerprint(self) -> str:
        """Digest of the files that they come from."""

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        """The pictures of some indices, uint8 [B, C, S, S]."""


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
        ValueError: If the tensors have other types or disagree in number, or a label has no name.
    """

    name: str
    split: Split
    images: Tensor | LazyImages
    labels: Tensor | None
    class_names: tuple[str, ...]
    licence: str
    counts: Mapping[Split, int] = field(default_factory=dict)
    resized: bool = False

    def __post_init__(self) -> None:
        what = f"{self.name} ({self.split})"
        shape = self.images.shape
        if self.images.dtype != torch.uint8 or len(shape) != 4:
            raise ValueError(f"{what}: images must be uint8 [N, C, H, W]")
        if shape[2] != shape[3]:
            raise ValueError(f"{what}: images must be square, got {list(shape[2:])}")
        if len(self) == 0:
            raise ValueError(f"{what}: there are no images")
        if (self.labels is None) != (not self.class_names):
            raise ValueError(f"{what}: labels and class names come together")
        if self.labels is None:
            return
        if self.labels.dtype != torch.int64 or self.labels.shape != shape[:1]:
            raise ValueError(f"{what}: labels must be int64 [N], one for each of {len(self)} images")
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            raise ValueError(f"{what}: labels must lie in [0, {len(self.class_names)})")

    def __len__(self) -> int:
        return self.images.shape[0]

    @cached_property
    def info(self) -> DatasetInfo:
        """What a trained model must remember of this data set."""
        _, channels, _, size = self.images.shape
        return DatasetInfo(self.name, channels, size, self.class_names, self.licence, len(self), self._fingerprint())

    def _fingerprint(self) -> str:
        images = self.images if isinstance(self.images, Tensor) else self.images.fingerprint
        return fingerprint(self.class_names, self.labels, images)


def fingerprint(*parts: object) -> str:
    """A digest of tensors' bytes and shapes, and of anything else's text."""
    digest = hashlib.sha256()
    for part in parts:
        tensor = part if isinstance(part, Tensor) else None
        text = f"{tuple(tensor.shape)} {tensor.dtype}" if tensor is not None else str(part)
        digest.update(f"{len(text)} {text}".encode("utf-8", "surrogateescape"))
        if tensor is not None:
            # By numpy, since torch's threads would fight over many small tensors.
            digest.update(np.ascontiguousarray(tensor.numpy()).reshape(-1).data)
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
