"""What every data set looks like to the rest of training."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from training.data.streams import Squares

Split = Literal["train", "validation", "test"]

MEMORY_BUDGET = 2 << 30
"""Bytes of decoded pictures that are held in memory and on the training device; larger sets are streamed."""

EVALUABLE = 10
"""Pictures that the validation and the test split must have for an evaluation: more than neighbours are counted."""


class DataError(ValueError):
    """A data set is nowhere or cannot be used; the message names the file or folder and what is expected there."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a trained model must remember of its data, so that it can be rebuilt and described without them.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: Height and width in pixels.
        images: Number of images in the split it was trained on.
        fingerprint: Digest of that split: other pictures, labels or attributes have another.
        attribute_meanings: As of `ImageDataset`.
    """

    name: str
    channels: int
    size: int
    class_names: tuple[str, ...]
    licence: str
    images: int
    fingerprint: str = ""
    attribute_meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageDataset:
    """One split of an image data set.

    Attributes:
        name: The name it is loaded by, e.g. "mnist".
        images: uint8 [N, C, S, S], at least one; in memory, or decoded when they are asked for.
        labels: int64 [N], each in [0, len(class_names)); None where there are no classes.
        class_names: The name of each class, in the order of the labels; empty where there are none.
        licence: One line on where the data comes from and under what terms; it goes into the model card.
        counts: Pictures of each split, as far as known.
        resized: Whether the pictures were cropped and resized to their size.
        attributes: What is known of each image in numbers, float32 [N, len(attribute_meanings)], each in [-1, 1]; None
            where nothing is.
        attribute_meanings: What each of these numbers says, by its name, in their order; empty where there are none.
        measure: Measures the attributes of any pictures as of `attributes`, but for the limits: from uint8 [B, C, S, S]
            and their labels, where there are classes, to float32 [B, attributes]; None where they cannot be measured.
    """

    name: str
    split: Split
    images: "Tensor | Squares"
    labels: Tensor | None
    class_names: tuple[str, ...]
    licence: str
    counts: Mapping[Split, int] = field(default_factory=dict)
    resized: bool = False
    attributes: Tensor | None = None
    attribute_meanings: Mapping[str, str] = field(default_factory=dict)
    measure: Callable[[Tensor, Tensor | None], Tensor] | None = None

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def known(self) -> dict[str, Tensor]:
        """What is known of each image, by name, a row an image: its label and its attributes, where there are any."""
        given = {"labels": self.labels, "attributes": self.attributes}
        return {name: values for name, values in given.items() if values is not None}

    def with_attributes(self, names: Sequence[str]) -> "ImageDataset":
        """The same pictures, of which only some attributes are known; in the order that they had."""
        columns = [number for number, name in enumerate(self.attribute_meanings) if name in names]
        meanings = {name: meaning for name, meaning in self.attribute_meanings.items() if name in names}
        measure = self.measure
        return replace(
            self,
            attributes=None if self.attributes is None else self.attributes[:, columns],
            attribute_meanings=meanings,
            measure=None if measure is None else lambda images, labels: measure(images, labels)[:, columns],
        )

    @cached_property
    def info(self) -> DatasetInfo:
        """What a trained model must remember of this data set."""
        _, channels, _, size = self.images.shape
        pixels = self.images if isinstance(self.images, Tensor) else self.images.fingerprint
        known = [] if self.attributes is None else [*self.attribute_meanings, self.attributes]
        digest = fingerprint(self.class_names, self.labels, pixels, *known)
        return DatasetInfo(
            self.name, channels, size, self.class_names, self.licence, len(self), digest, dict(self.attribute_meanings)
        )


def environment_dir() -> Path | None:
    """The folder that GANTRY_DATA_DIR names, where --data-dir names none."""
    named = os.environ.get("GANTRY_DATA_DIR")
    return Path(named) if named else None


def cache_dir() -> Path:
    """The folder that data sets are downloaded into."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantry" / "data"


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
