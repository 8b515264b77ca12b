"""Noise over every image, which lets real ones and samples overlap from the beginning.

Instance noise (Sønderby et al., 2016, arXiv:1610.04490; Arjovsky & Bottou, 2017, arXiv:1701.04862): where two
distributions share nothing, a discriminator tells them apart without error and teaches the generator nothing.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from training.augmentations.base import Augmentation
from training.data import DatasetInfo


class InstanceNoise(Augmentation):
    """Adds normal noise, whose standard deviation falls linearly to nothing."""

    sigma: Annotated[float, Field(ge=0, le=2)] = 0.1
    """Its standard deviation at the beginning; 0 leaves it out."""

    until: Annotated[int, Field(ge=1)] = 500_000
    """Images after which there is none any more."""

    @property
    def is_used(self) -> bool:  # noqa: D102
        return self.sigma > 0

    def draws(self, info: DatasetInfo) -> dict[str, Callable[[int, torch.Generator], Tensor]]:
        """The noise itself, of deviation 1."""
        shape = (info.channels, info.size, info.size)
        return {"noise": lambda count, source: torch.randn(count, *shape, generator=source)}

    def changed(self, images: Tensor, draws: Mapping[str, Tensor], images_seen: Tensor) -> Tensor:  # noqa: D102
        left = (1 - images_seen / self.until).clamp_min(0)[:, None, None, None]
        return images + self.sigma * left * draws["noise"]
