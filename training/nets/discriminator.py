"""What every discriminator has in common, and those that are a trunk with a score.

A trunk takes images to features. The score, the projection on the condition, the comparison of a batch's images, and
what terms and conditions guess from the features are the same for all trunks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from training.config import SettingsGroup
from training.nets.batch_norm import BatchNorm1d, BatchNorm2d
from training.nets.first_weights import Init, drawn
from training.nets.minibatch import MinibatchDiscrimination

NormName = Literal["none", "spectral", "batch", "layer", "weight"]

HeadsOf = Callable[[int], Mapping[str, nn.Module]]
"""From the number of features to what is guessed from them besides the score, by name."""


class Discriminator(nn.Module, ABC):
    """Images, and conditions where it is given any, to a score each: higher means more likely real and of that kind.

    Attributes:
        heads: What it guesses from its features besides, by name.
    """

    heads: nn.ModuleDict

    @abstractmethod
    def forward(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores each image, as one of its condition where that is given.

        Args:
            images: float32 [B, C, H, W] in [-1, 1].
            condition: float32 [B, condition size]; not looked at by a net without one.

        Returns:
            Scores, float32 [B], unbounded, or [B, outcomes] where there are several; and the features that the heads
            take, [B, F].
        """


class DiscriminatorConfig(SettingsGroup, ABC):
    """The discriminator's shape; each kind of net has a configuration of this type."""

    kind: str

    norm: NormName = "spectral"
    """What holds the layers: "spectral" bounds the largest singular value of every weight that features pass through at
    one (Miyato et al., 2018, arXiv:1802.05957; biases and concatenated conditions only shift); "batch" and "layer"
    normalise what comes of every layer but the first; "weight" learns a weight's length apart from its direction
    (Salimans & Kingma, 2016, arXiv:1602.07868)."""

    clip: Annotated[float, Field(ge=0, le=1)] = 0
    """The largest absolute value that a weight may have: all are clipped to it whenever they have learnt (Arjovsky et
    al., 2017, arXiv:1701.07875, algorithm 1); 0 leaves them as they are."""

    init: Init = "torch"
    """The first weights, as of the generator."""

    @property
    def provides(self) -> frozenset[str]:
        """What objectives and terms may ask for, or not bear; see `training.config.compatibility`."""
        return _names(
            {
                "batch norm": self.norm == "batch",
                "lipschitz": self.norm == "spectral" or self.clip > 0,
                "clipped weights": self.clip > 0,
                "spectral norm": self.norm == "spectral",
                "normal weights": self.init == "normal",
            }
        )

    @property
    def sees_the_batch(self) -> bool:
        """Whether a score depends on the other images of a batch."""
        return self.norm == "batch"

    @property
    def clipping(self) -> Callable[[nn.Module], None] | None:
        """What clips a net's weights, those of normalisations too; None where they may be of any size."""
        return partial(_clip, self.clip) if self.clip else None

    @abstractmethod
    def build(
        self, *, condition_size: int, channels: int, size: int, heads: HeadsOf, outcomes: int = 1
    ) -> Discriminator:
        """Makes the net, on the CPU.

        Args:
            condition_size: Numbers in a condition, if the net looks at it.
            channels: Channels of the images.
            size: Height and width of the images.
            heads: What it guesses besides the score.
            outcomes: Numbers in a score.

        Raises:
            ValueError: If the net cannot take images of this size; the message names the flag.
        """


class Trunk(nn.Module, ABC):
    """From images, and the condition where it looks at it, to features.

    Attributes:
        features: How many it gives for an image.
    """

    features: int

    @abstractmethod
    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Looks at images.

        Args:
            images: float32 [B, C, H, W] in [-1, 1].
            condition: float32 [B, condition size]; None where there is none.

        Returns:
            Features [B, `features`].
        """


class TrunkConfig(DiscriminatorConfig, ABC):
    """The shape of a discriminator that is a trunk with a score; each kind of trunk has one of this type."""

    projection: bool = False
    """Whether the features are projected on the embedding of the label, or of attributes, at the end (Miyato & Koyama,
    2018, arXiv:1802.05637)."""

    minibatch: Annotated[int, Field(ge=0, le=1024)] = 0
    """Numbers that say how near an image's features are to those of the rest of the batch (minibatch discrimination;
    Salimans et al., 2016, arXiv:1606.03498, section 3.2); 0 judges each image alone."""

    @property
    def provides(self) -> frozenset[str]:  # noqa: D102
        given = {
            "condition input": self.projection,
            "projection": self.projection,
            "minibatch discrimination": self.minibatch > 0,
        }
        return super().provides | _names(given)

    @property
    def sees_the_batch(self) -> bool:  # noqa: D102
        return super().sees_the_batch or self.minibatch > 0

    @abstractmethod
    def trunk(self, *, condition_size: int, channels: int, size: int) -> Trunk:
        """Makes the trunk; as of `build`."""

    def build(  # noqa: D102
        self, *, condition_size: int, channels: int, size: int, heads: HeadsOf, outcomes: int = 1
    ) -> "TrunkDiscriminator":
        trunk = self.trunk(condition_size=condition_size, channels=channels, size=size)
        return drawn(TrunkDiscriminator(self, trunk, condition_size, heads, outcomes), self.init)


class ConcatenatingConfig(TrunkConfig, ABC):
    """The shape of a trunk that can look at the condition itself."""

    concat: bool = False
    """Whether the label, or attributes, stand beside the input of every layer (Mirza & Osindero, 2014,
    arXiv:1411.1784)."""

    @property
    def provides(self) -> frozenset[str]:  # noqa: D102
        return super().provides | _names({"condition input": self.concat, "concatenated condition": self.concat})


class TrunkDiscriminator(Discriminator):
    """A trunk, and what is made of its features."""

    def __init__(self, config: TrunkConfig, trunk: Trunk, condition_size: int, heads: HeadsOf, outcomes: int) -> None:
        """Makes the net; see `DiscriminatorConfig.build`."""
        super().__init__()
        self.trunk = trunk
        self.minibatch = MinibatchDiscrimination(trunk.features, config.minibatch) if config.minibatch else None
        self.score = held(nn.Linear(trunk.features + config.minibatch, outcomes), config.norm)
        self.projection = None
        if config.projection:
            self.projection = held(ConditionEmbedding(condition_size, trunk.features), config.norm)
        self.heads = nn.ModuleDict(heads(trunk.features))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        features = self.trunk(images, condition)
        compared = features if self.minibatch is None else torch.cat([features, self.minibatch(features)], 1)
        scores = self.score(compared).squeeze(1).float()
        if self.projection is not None:
            scores = scores + (self.projection(condition).to(features.dtype) * features).sum(1).float()
        return scores, features


class ConditionEmbedding(nn.Module):
    """From a condition to some numbers: of a one-hot class its row of the weights, of a mixture their mixture."""

    def __init__(self, condition_size: int, size: int) -> None:
        """Draws the weights from a standard normal distribution, as `nn.Embedding` does."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(condition_size, size))

    def forward(self, condition: Tensor) -> Tensor:
        """Embeds conditions [B, condition size] as [B, size]."""
        return condition @ self.weight


def held(layer: nn.Module, norm: NormName) -> nn.Module:
    """The layer, its weight held where that is what the norm does."""
    match norm:
        case "spectral":
            return spectral_norm(layer)
        case "weight":
            normed: nn.Module = weight_norm(layer)
            return normed
        case _:
            return layer


def norm_of(name: NormName, channels: int, *, of_maps: bool = True) -> nn.Module:
    """The normalisation that follows a layer: of maps [B, channels, H, W], or of features [B, channels]."""
    match name:
        case "batch":
            return BatchNorm2d(channels) if of_maps else BatchNorm1d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)  # over all channels and places of an image, as WGAN-GP's
        case _:
            return nn.Identity()


def _names(given: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(name for name, is_given in given.items() if is_given)


def _clip(most: float, net: nn.Module) -> None:
    for weights in net.parameters():
        weights.clamp_(-most, most)
