"""What every condition answers, and what several have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gantry.v1 import models_pb2
from training.config import SettingsGroup

if TYPE_CHECKING:
    from training.data import DatasetInfo, ImageDataset
    from training.evaluation.result import Codes

Draws = Mapping[str, Tensor]
"""What was drawn for each image, by name; every tensor has a row an image."""

_FRAMES = 7  # of a sweep that a tick shows


@dataclass(frozen=True)
class Showcase:
    """What a tick shows of a generator, always the same.

    Attributes:
        latents: float32 [N, latent size].
        draws: The condition of each.
        columns: Images in a row.
    """

    latents: Tensor
    draws: Draws
    columns: int


class Condition(SettingsGroup, ABC):
    """What a generator is given beside its latent."""

    kind: str

    @property
    def provides(self) -> frozenset[str]:
        """What objectives, terms and nets may ask for; see `training.config.compatibility`."""
        return frozenset({self.kind})

    @property
    def needs(self) -> frozenset[str]:
        """What nets and terms must provide."""
        return frozenset()

    @property
    def needs_known(self) -> frozenset[str]:
        """What must be known of real images, by the names of `ImageDataset.known`."""
        return frozenset()

    def chosen(self, dataset: ImageDataset) -> ImageDataset:
        """What of a data set the condition takes, and so the model.

        Args:
            dataset: Has all of `needs_known`.

        Raises:
            ConfigError: If a setting names what the data do not have.
        """
        return dataset

    def class_names(self, info: DatasetInfo) -> tuple[str, ...]:  # noqa: ARG002
        """The classes whose one-hot the vector begins with; none where it has no class."""
        return ()

    @abstractmethod
    def size(self, info: DatasetInfo) -> int:
        """Numbers in the vector that the generator takes; 0 where it takes none.

        Args:
            info: The data set.
        """

    def draw(self, known: Draws, count: int, source: torch.Generator) -> Draws:  # noqa: ARG002
        """Draws conditions.

        Args:
            known: What is known of a batch of real images; see `ImageDataset.known`.
            count: How many.
            source: Where randomness comes from.
        """
        return {}

    def vector(self, draws: Draws, info: DatasetInfo) -> Tensor | None:  # noqa: ARG002
        """What the generator takes, float32 [B, size]; None where it takes nothing.

        Args:
            draws: As of `draw`.
            info: The data set.
        """
        return None

    def heads(self, features: int) -> dict[str, nn.Module]:  # noqa: ARG002
        """What the discriminator has besides its score, by name: modules from its features [B, features]."""
        return {}

    @abstractmethod
    def showcase(self, info: DatasetInfo, latent_size: int, source: torch.Generator) -> Showcase:
        """What a tick shows.

        Args:
            info: The data set.
            latent_size: Numbers in a latent.
            source: Where randomness comes from.
        """

    @abstractmethod
    def card(self, info: DatasetInfo, codes: Codes | None) -> models_pb2.ModelCard:
        """What a card says of the condition: a description of the model, and its inputs beside the latent.

        Args:
            info: The data set.
            codes: What an evaluation found the codes to mean, where it was done.
        """


def sweeps(rows: int, numbers: int) -> Tensor:
    """Sweeps of each number from -1 to 1 beside each other, the others held at 0; the same in each row.

    Returns:
        float32 [rows * columns, numbers]; a sweep has seven columns, and without numbers there is one of nothing.
    """
    values = torch.zeros(rows, max(1, numbers), _FRAMES, numbers)
    for number in range(numbers):
        values[:, number, :, number] = torch.linspace(-1, 1, _FRAMES)
    return values.flatten(0, 2)


def class_infos(names: tuple[str, ...]) -> list[models_pb2.ClassInfo]:
    """Classes as a card lists them, in the order of their labels."""
    return [models_pb2.ClassInfo(id=index, name=name) for index, name in enumerate(names)]
