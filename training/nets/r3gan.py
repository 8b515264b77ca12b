"""The nets of R3GAN (Huang et al., 2024, arXiv:2501.05441), to be trained by `relativistic` with `r1` and `r2`.

Both are stages of residual blocks, each an inverted bottleneck around a grouped 3x3 convolution; resolutions double and
halve bilinearly. Nothing is normalised: first weights are such that a block begins as the identity and its depth does
not blow up gradients (fix-up initialisation; Zhang et al., 2019, arXiv:1901.09321).
"""

import math
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from training.nets.discriminator import Trunk, TrunkConfig
from training.nets.first_weights import drawn
from training.nets.generator import GeneratorConfig, Given
from training.nets.resolutions import channels_at, resolutions

_SLOPE = 0.2  # of leaky ReLUs
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))  # of weights before them, which keeps variances (He et al., 2015)
_EXPANSION = 2  # times more channels within a block than outside
_GROUP = 16  # channels that a grouped convolution looks at together, at most
_CONVOLUTIONS = 3  # in a block

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)
_Width = Annotated[int, Field(ge=1, le=2048)]
_Blocks = Annotated[int, Field(ge=1, le=16)]


class R3ganGeneratorConfig(GeneratorConfig):
    """The shape of an R3GAN's generator."""

    kind: Literal["r3gan"] = "r3gan"

    width: _Width = 96
    """Channels at the image's resolution; each lower one has twice as many, ..."""

    max_width: _Width = 768
    """... but no more than these."""

    blocks: _Blocks = 2
    """Residual blocks at each resolution."""

    def build(self, *, latent_size: int, condition_size: int, channels: int, size: int) -> nn.Module:  # noqa: D102
        given = Given(latent_size, condition_size, self.embedding)
        return drawn(R3ganGenerator(self, given, channels, size), self.init)


class R3ganDiscriminatorConfig(TrunkConfig):
    """The shape of an R3GAN's discriminator, that of its generator turned round."""

    kind: Literal["r3gan"] = "r3gan"

    norm: Literal["none"] = "none"

    width: _Width = 96
    """Channels at the image's resolution; each lower one has twice as many, ..."""

    max_width: _Width = 768
    """... but no more than these."""

    blocks: _Blocks = 2
    """Residual blocks at each resolution."""

    def trunk(self, *, condition_size: int, channels: int, size: int) -> Trunk:  # noqa: ARG002, D102
        return R3ganTrunk(self, channels, size)


class R3ganGenerator(nn.Module):
    """Latents and conditions to images: a learnt basis of small maps, then a stage for each resolution.

    Images are not bounded while the net learns, as in the paper; in evaluation they are clamped to [-1, 1].
    """

    def __init__(self, config: R3ganGeneratorConfig, given: Given, channels: int, size: int) -> None:
        """Makes the net; see `GeneratorConfig.build`."""
        super().__init__()
        lowest, *higher = resolutions(size)
        widths = channels_at(1 + len(higher), config.width, config.max_width)
        self.given = given
        self.basis = nn.Parameter(torch.randn(widths[0], lowest, lowest))
        self.coefficients = _fixed_up(nn.Linear(given.size, widths[0], bias=False), 1)
        depth = len(widths) * config.blocks
        layers: list[nn.Module] = [Block(widths[0], depth) for _ in range(config.blocks)]
        for before, after in pairwise(widths):
            layers += [*_transition(before, after), nn.Upsample(scale_factor=2, mode="bilinear")]
            layers += [Block(after, depth) for _ in range(config.blocks)]
        self.layers = nn.Sequential(*layers, _fixed_up(nn.Conv2d(widths[-1], channels, 1, bias=False), 1))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Makes one image for each latent; see `GeneratorConfig.build`."""
        maps = self.coefficients(self.given(z, condition))[:, :, None, None] * self.basis
        images: Tensor = self.layers(maps.contiguous(memory_format=torch.channels_last)).float()
        return images if self.training else images.clamp(-1, 1)


class R3ganTrunk(Trunk):
    """A stage for each resolution, then each channel's product with a map of its own."""

    def __init__(self, config: R3ganDiscriminatorConfig, channels: int, size: int) -> None:
        """Makes the net; see `DiscriminatorConfig.build`."""
        super().__init__()
        found = resolutions(size)
        widths = channels_at(len(found), config.width, config.max_width)[::-1]
        self.features = widths[-1]
        depth = len(widths) * config.blocks
        layers: list[nn.Module] = [_fixed_up(nn.Conv2d(channels, widths[0], 1, bias=False), 1)]
        for before, after in pairwise(widths):
            layers += [Block(before, depth) for _ in range(config.blocks)]
            layers += [nn.AvgPool2d(2), *_transition(before, after)]  # which is bilinear, at half the resolution
        layers += [Block(widths[-1], depth) for _ in range(config.blocks)]
        basis = nn.Conv2d(self.features, self.features, found[0], groups=self.features, bias=False)
        self.layers = nn.Sequential(*layers, _fixed_up(basis, 1))

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:  # noqa: ARG002, D102
        features: Tensor = self.layers(images).flatten(1)
        return features


class Block(nn.Module):
    """x + W₃ φ(W₂ φ(W₁ x)): 1x1, grouped 3x3 and 1x1 convolutions, of which the last begins at 0."""

    def __init__(self, channels: int, depth: int) -> None:
        """Makes the block.

        Args:
            channels: Of its input and output.
            depth: Blocks in the net.
        """
        super().__init__()
        inner = _EXPANSION * channels
        groups = inner // math.gcd(inner, _GROUP)
        gain = _GAIN * depth ** (-1 / (2 * _CONVOLUTIONS - 2))
        self.layers = nn.Sequential(
            _fixed_up(nn.Conv2d(channels, inner, 1), gain),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _fixed_up(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), gain),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _fixed_up(nn.Conv2d(inner, channels, 1, bias=False), 0),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, channels, H, W] to the same shape."""
        change: Tensor = self.layers(maps)
        return maps + change


def _transition(before: int, after: int) -> list[nn.Module]:
    """What changes the number of channels between two resolutions."""
    return [] if before == after else [_fixed_up(nn.Conv2d(before, after, 1, bias=False), 1)]


def _fixed_up(layer: _Layer, gain: float) -> _Layer:
    """Draws a layer's weights so that its output has gain² times its input's variance; biases are 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
