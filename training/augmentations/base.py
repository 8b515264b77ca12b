"""What every augmentation is: a change of all images before the discriminator looks at them, real ones and samples."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from training.config import SettingsGroup
from training.data import DatasetInfo


class Augmentation(SettingsGroup, ABC):
    """A change of images; gradients find their way through it to the generator."""

    @property
    @abstractmethod
    def is_used(self) -> bool:
        """Whether its settings let it change anything."""

    @abstractmethod
    def draws(self, info: DatasetInfo) -> dict[str, Callable[[int, torch.Generator], Tensor]]:
        """What it needs drawn for some images, by name: from (count, source) to a tensor [count, ...].

        Args:
            info: The data set.
        """

    @abstractmethod
    def changed(self, images: Tensor, draws: Mapping[str, Tensor], images_seen: Tensor) -> Tensor:
        """Changes each image in its own way.

        Args:
            images: float32 [B, C, H, W] in [-1, 1].
            draws: As of `draws`, of these images.
            images_seen: How many real images training had shown before this step, float32 [B], all equal.

        Returns:
            Of the same shape.
        """
