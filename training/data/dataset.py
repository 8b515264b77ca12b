"""What every data set looks like to the rest of training."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Split = Literal["train", "test"]


class MissingDataError(FileNotFoundError):
    """A data set is nowhere to be found; the message says where it was looked for and what brings it."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a trained model must remember of its data, so that it can be rebuilt and described without them.

    Attributes:
        name: The name the data set is loaded by.
        channels: 1 for grey, 3 for colour.
        size: Height and width in pixels.
        class_names: The name of each class, in the order of the labels.
        licence: One line on where the data comes from and under what terms.
        images: Number of images in the split it was trained on.
    """

    name: str
    channels: int
    size: int
    class_names: tuple[str, ...]
    licence: str
    images: int


@dataclass(frozen=True)
class ImageDataset:
    """One split of a labelled image data set, wholly in memory.

    Attributes:
        name: The name it is loaded by, e.g. "mnist".
        split: "train" or "test".
        images: uint8 [N, C, H, W], square.
        labels: int64 [N], each in [0, len(class_names)).
        class_names: The name of each class, in the order of the labels.
        licence: One line on where the data comes from and under what terms; it goes into the model card.

    Raises:
        ValueError: If the tensors have other types or disagree in number, or a label has no name.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    licence: str

    def __post_init__(self) -> None:
        what = f"{self.name} ({self.split})"
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"{what}: images must be uint8 [N, C, H, W]")
        if self.images.shape[2] != self.images.shape[3]:
            raise ValueError(f"{what}: images must be square, got {list(self.images.shape[2:])}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{what}: labels must be int64 [N], one for each of {len(self.images)} images")
        if len(self) == 0:
            raise ValueError(f"{what}: there are no images")
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            raise ValueError(f"{what}: labels must lie in [0, {len(self.class_names)})")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def info(self) -> DatasetInfo:
        """What a trained model must remember of this data set."""
        _, channels, _, size = self.images.shape
        return DatasetInfo(self.name, channels, size, self.class_names, self.licence, len(self))
