"""Residual nets (Gulrajani et al., 2017, arXiv:1704.00028), with what made them the nets of later GANs.

Under spectral normalisation they are SNGAN's (Miyato et al., 2018, arXiv:1802.05957), with self-attention SAGAN's
(Zhang et al., 2018, arXiv:1805.08318). BigGAN's (Brock et al., 2018, arXiv:1809.11096) are those, where the condition
and a part of the latent for each block set the gains and biases of the generator's normalisations.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from training.config import ConfigError
from training.nets.attention import SelfAttention
from training.nets.batch_norm import BatchNorm2d
from training.nets.discriminator import NormName, Trunk, TrunkConfig, held, norm_of
from training.nets.first_weights import drawn
from training.nets.generator import GeneratorConfig, Given
from training.nets.resolutions import channels_at, resolutions

_Width = Annotated[int, Field(ge=1, le=2048)]
_Resolution = Annotated[int, Field(ge=0, le=128)]


class ResidualGeneratorConfig(GeneratorConfig):
    """The shape of a residual generator."""

    kind: Literal["residual"] = "residual"

    width: _Width = 64
    """Channels at the image's resolution; each lower one has twice as many, ..."""

    max_width: _Width = 1024
    """... but no more than these."""

    attention: _Resolution = 0
    """The resolution at which self-attention stands; 0 for none. SAGAN's is 32, of images of 128 pixels."""

    spectral: bool = False
    """Whether spectral normalisation holds every weight but the embedding's, as SAGAN's and BigGAN's."""

    modulation: bool = False
    """Whether the condition sets the gains and biases of every normalisation, linearly, instead of standing beside the
    latent."""

    skip_latent: bool = False
    """Whether the latent is cut into equal parts: the first is projected to maps, each other sets the gains and biases
    of a block together with the condition."""

    @model_validator(mode="after")
    def _parts_of_the_latent_have_a_use(self) -> Self:
        if self.skip_latent and not self.modulation:
            raise ValueError(
                "--set generator.skip_latent=true: parts of the latent set gains and biases; that needs "
                "generator.modulation=true"
            )
        return self

    def build(self, *, latent_size: int, condition_size: int, channels: int, size: int) -> nn.Module:  # noqa: D102
        if self.modulation and not condition_size and not self.skip_latent:
            raise ConfigError(
                "--set generator.modulation=true: nothing is there to set gains by; that needs a condition, e.g. "
                "--set condition.kind=label, or generator.skip_latent=true"
            )
        given = Given(latent_size, condition_size, self.embedding)
        return drawn(ResidualGenerator(self, given, latent_size, channels, size), self.init)


class ResidualDiscriminatorConfig(TrunkConfig):
    """The shape of a residual discriminator, whose features are sums over all places."""

    kind: Literal["residual"] = "residual"

    width: _Width = 64
    """Channels at half the image's resolution; each lower one has twice as many, ..."""

    max_width: _Width = 1024
    """... but no more than these."""

    attention: _Resolution = 0
    """The resolution at which self-attention stands; 0 for none."""

    def trunk(self, *, condition_size: int, channels: int, size: int) -> Trunk:  # noqa: ARG002, D102
        return ResidualTrunk(self, channels, size)


class ResidualGenerator(nn.Module):
    """Latents and conditions to images: a block for each time that the resolution doubles, then a 3x3 convolution."""

    def __init__(
        self, config: ResidualGeneratorConfig, given: Given, latent_size: int, channels: int, size: int
    ) -> None:
        """Makes the net; see `GeneratorConfig.build`."""
        super().__init__()
        norm: NormName = "spectral" if config.spectral else "none"
        self.resolution, *higher = resolutions(size)
        self.given, self.modulation = given, config.modulation
        self.parts = _parts(latent_size, 1 + len(higher)) if config.skip_latent else [latent_size] + [0] * len(higher)
        widths = channels_at(1 + len(higher), config.width, config.max_width)
        projected = self.parts[0] if config.modulation else given.size
        self.project = held(nn.Linear(projected, widths[0] * self.resolution**2), norm)
        condition = given.size - latent_size
        self.blocks = nn.ModuleList(
            [
                UpBlock(before, after, norm, modulated_by=condition + part if config.modulation else 0)
                for (before, after), part in zip(pairwise(widths), self.parts[1:], strict=True)
            ]
        )
        self.attentions = _attentions("generator", config.attention, dict(zip(higher, widths[1:], strict=True)), norm)
        self.last = nn.Sequential(
            BatchNorm2d(widths[-1]), nn.ReLU(), held(nn.Conv2d(widths[-1], channels, 3, padding=1), norm)
        )

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Makes one image for each latent; see `GeneratorConfig.build`."""
        first, *parts = z.split(self.parts, 1)
        maps = self.project(first if self.modulation else self.given(z, condition))
        maps = maps.unflatten(1, (-1, self.resolution, self.resolution)).contiguous(memory_format=torch.channels_last)
        for block, attention, part in zip(self.blocks, self.attentions, parts, strict=True):
            maps = attention(block(maps, self.given(part, condition)))
        return torch.tanh(self.last(maps).float())


class UpBlock(nn.Module):
    """Two 3x3 convolutions, between which the resolution has doubled, beside a 1x1 convolution."""

    def __init__(self, before: int, after: int, norm: NormName, *, modulated_by: int) -> None:
        """Makes the block.

        Args:
            before: Channels that come in.
            after: Channels that leave.
            norm: What holds its weights.
            modulated_by: Numbers that set the gains and biases of its normalisations; 0 where nothing does.
        """
        super().__init__()
        self.norms = nn.ModuleList([ModulatedNorm(width, modulated_by, norm) for width in (before, after)])
        # On every way a batch normalisation follows, so biases would have no effect.
        self.convolutions = nn.ModuleList(
            [held(nn.Conv2d(width, after, 3, padding=1, bias=False), norm) for width in (before, after)]
        )
        self.shortcut = held(nn.Conv2d(before, after, 1, bias=False), norm)

    def forward(self, maps: Tensor, given: Tensor) -> Tensor:
        """Maps [B, before, H, W], and what modulates them [B, modulated_by], to [B, after, 2H, 2W]."""
        first, second = self.convolutions
        change = first(_doubled(functional.relu(self.norms[0](maps, given))))
        change = second(functional.relu(self.norms[1](change, given)))
        # Enlarged after the 1x1 convolution, which then works on a quarter of the places and gives the same.
        enlarged: Tensor = change + _doubled(self.shortcut(maps))
        return enlarged


class ModulatedNorm(nn.Module):
    """Batch normalisation whose gains and biases are linear in what it is given (Brock et al., 2018, section 3)."""

    def __init__(self, channels: int, given: int, norm: NormName) -> None:
        """Makes the layer.

        Args:
            channels: Of the maps.
            given: Numbers that set gains and biases; 0 for gains and biases of its own.
            norm: What holds the weights.
        """
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=not given)
        self.modulation = None
        if given:
            self.modulation = held(nn.Linear(given, 2 * channels, bias=False), norm)

    def forward(self, maps: Tensor, given: Tensor) -> Tensor:
        """Normalises maps [B, channels, H, W]; a gain is 1 and what comes of `given` [B, F]."""
        normalised: Tensor = self.norm(maps)
        if self.modulation is None:
            return normalised
        gain, bias = self.modulation(given)[:, :, None, None].to(maps.dtype).chunk(2, 1)
        modulated: Tensor = normalised * (1 + gain) + bias
        return modulated


class ResidualTrunk(Trunk):
    """A block for each time that the resolution halves, one more at the lowest, and a sum over its places."""

    def __init__(self, config: ResidualDiscriminatorConfig, channels: int, size: int) -> None:
        """Makes the net; see `DiscriminatorConfig.build`."""
        super().__init__()
        lower = resolutions(size)[-2::-1]
        widths = channels_at(len(lower), config.width, config.max_width)[::-1]
        self.features = widths[-1]
        self.blocks = nn.ModuleList(
            [
                DownBlock(before, after, config.norm, is_first=index == 0)
                for index, (before, after) in enumerate(pairwise((channels, *widths)))
            ]
        )
        self.attentions = _attentions(
            "discriminator", config.attention, dict(zip(lower, widths, strict=True)), config.norm
        )
        self.last = DownBlock(self.features, self.features, config.norm, halves=False)

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:  # noqa: ARG002, D102
        maps = images
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            maps = attention(block(maps))
        features: Tensor = functional.relu(self.last(maps)).sum((2, 3))
        return features


class DownBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 convolution, and means over 2x2 places of their sum."""

    def __init__(self, before: int, after: int, norm: NormName, *, is_first: bool = False, halves: bool = True) -> None:
        """Makes the block.

        Args:
            before: Channels that come in.
            after: Channels that leave.
            norm: What holds its weights, or stands before its convolutions.
            is_first: Whether images come in, which neither a norm nor a ReLU changes.
            halves: Whether the resolution halves; else channels stay, and the input itself is added.
        """
        super().__init__()
        self.is_first, self.halves = is_first, halves
        self.norms = nn.ModuleList([norm_of("none" if is_first else norm, before), norm_of(norm, after)])
        self.convolutions = nn.ModuleList(
            [held(nn.Conv2d(width, after, 3, padding=1), norm) for width in (before, after)]
        )
        self.shortcut = held(nn.Conv2d(before, after, 1), norm) if halves else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, before, H, W] to [B, after, H / 2, W / 2], or to [B, after, H, W]."""
        first, second = self.convolutions
        change = first(maps if self.is_first else functional.relu(self.norms[0](maps)))
        change = second(functional.relu(self.norms[1](change)))
        both: Tensor = change + self.shortcut(maps)
        return functional.avg_pool2d(both, 2) if self.halves else both


def _parts(latent_size: int, count: int) -> list[int]:
    """Sizes of the latent's parts, of which earlier ones have what is left over."""
    if latent_size < count:
        raise ConfigError(
            f"--set latent_size={latent_size}: with generator.skip_latent=true it is cut into {count} parts, so "
            f"give at least {count}"
        )
    return [latent_size // count + (part < latent_size % count) for part in range(count)]


def _attentions(side: str, at: int, channels: dict[int, int], norm: NormName) -> nn.ModuleList:
    """What follows each block: attention where maps have that resolution, else nothing.

    Args:
        side: The setting's group.
        at: The resolution; 0 for none.
        channels: Of the maps after each block, by resolution.
        norm: What holds the weights.
    """
    if at and at not in channels:
        raise ConfigError(
            f"--set {side}.attention={at}: this net has maps of {', '.join(map(str, channels))} pixels; 0 is none"
        )
    return nn.ModuleList(
        [SelfAttention(width, norm) if resolution == at else nn.Identity() for resolution, width in channels.items()]
    )


def _doubled(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2.0, mode="nearest")
