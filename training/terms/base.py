"""What every term is: something added to one side's loss, or to both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from training.config import SettingsGroup
from training.data import DatasetInfo, ImageDataset

Side = Literal["discriminator", "generator"]
BOTH: frozenset[Side] = frozenset({"discriminator", "generator"})


class Heads:
    """What a discriminator guesses of some images besides the score: each head runs when first asked for, once.

    So that a head with batch normalisation sees the images that it is asked about, and no others.
    """

    def __init__(self, modules: nn.ModuleDict, features: Tensor) -> None:
        """Keeps what the heads would take.

        Args:
            modules: The discriminator's heads.
            features: Of the images, [B, F].
        """
        self._modules, self._features = modules, features
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """What the head of a name gives."""
        if name not in self._known:
            self._known[name] = self._modules[name](self._features)
        return self._known[name]


class Verdict(NamedTuple):
    """What a discriminator makes of some images.

    Attributes:
        score: float32 [B], higher means more likely real; [B, outcomes] under an objective of several.
        features: What the score is taken from, [B, F].
        heads: What else it guesses.
    """

    score: Tensor
    features: Tensor
    heads: Heads


@dataclass(frozen=True)
class Seen:
    """What a term may look at, in the phase of one side.

    Attributes:
        side: Whose loss it is.
        net: That side's net.
        discriminate: From images to a verdict, under the condition of the batch.
        real: The batch's real images as the discriminator is shown them, float32 [B, C, H, W].
        fake: Samples as it is shown them; without gradient in the discriminator's phase.
        of_real: The verdict on the real images; None in the generator's phase, unless something asks for it.
        of_fake: The verdict on the samples.
        views: Verdicts on all that was shown, by name, so on what terms wanted shown besides too.
        latents: What the samples are made of, float32 [B, latent size].
        draws: What was drawn for the batch: the condition's draws and the terms' own.
    """

    side: Side
    net: nn.Module
    discriminate: Callable[[Tensor], Verdict]
    real: Tensor
    fake: Tensor
    of_real: Verdict | None
    of_fake: Verdict
    views: Mapping[str, Verdict]
    latents: Tensor
    draws: Mapping[str, Tensor]

    @property
    def of_known(self) -> Verdict:
        """The verdict on what a guess of the condition is learnt from, or asked of: real images, or samples."""
        verdict = self.of_real if self.side == "discriminator" else self.of_fake
        assert verdict is not None
        return verdict


class Term(SettingsGroup, ABC):
    """Something that is added to a loss."""

    sides: ClassVar[frozenset[Side]] = BOTH
    """Whose losses it is part of."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the condition or the nets must provide; see `training.config.compatibility`."""

    provides: ClassVar[frozenset[str]] = frozenset()
    """What objectives and conditions may need, or others not bear."""

    needs_known: ClassVar[frozenset[str]] = frozenset()
    """What must be known of real images, by the names of `ImageDataset.known`."""

    shows_real: ClassVar[bool] = False
    """Whether it looks at the verdict on real images in the generator's phase too."""

    weight: Annotated[float, Field(ge=0, le=100)]
    """What its value is multiplied by; 0 leaves the term out."""

    def draws(self) -> dict[str, Callable[[int, torch.Generator], Tensor]]:
        """What it needs drawn for a batch, by name: from (count, source) to a tensor [count, ...].

        What several terms name is drawn once.
        """
        return {}

    def views(self) -> dict[str, Callable[[Tensor, Mapping[str, Tensor]], Tensor]]:
        """What it wants the discriminator to be shown besides in its phase, by name: from (real images, draws)."""
        return {}

    def beside(self, dataset: ImageDataset, seed: int) -> ImageDataset | None:  # noqa: ARG002
        """Real images that it wants drawn besides, in batches of their own; None where it wants none.

        The draws have them as "<term>/images", float32 [B, C, H, W] in [-1, 1], and what is known of them as of
        `ImageDataset.known`, for example as "<term>/labels".

        Args:
            dataset: What is trained on.
            seed: The run's.

        Raises:
            ConfigError: If the data do not have what it wants.
        """
        return None

    def heads(self, features: int, info: DatasetInfo, latent_size: int) -> dict[str, nn.Module]:  # noqa: ARG002
        """What the discriminator needs besides its score, by name: modules from its features [B, features]."""
        return {}

    @abstractmethod
    def value(self, seen: Seen) -> Tensor:
        """The term, a float32 scalar, before its weight."""
