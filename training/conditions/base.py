"""What every condition answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.config import SettingsGroup

if TYPE_CHECKING:
    from gantry.v1 import models_pb2
    from training.data import DatasetInfo
    from training.evaluation.result import Codes

Draws = Mapping[str, Tensor]
"""What was drawn for each image, by name; every tensor has a row an image."""


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
