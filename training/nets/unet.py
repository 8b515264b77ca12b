"""The generator of pix2pix (Isola et al., 2017, arXiv:1611.07004): a U-Net, whose decoder sees what the encoder saw.

Each layer of the encoder halves the resolution and each of the decoder doubles it; what an encoder's layer gave stands
beside what the decoder has come to at the same resolution (Ronneberger et al., 2015, arXiv:1505.04597).

Dropout is the paper's noise in training alone. The paper leaves it on when it translates, so that a picture has many
translations that differ little; a generator that is kept is a function, which gives a picture one.
"""

import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from training.config import SettingsGroup
from training.nets.batch_norm import BatchNorm2d
from training.nets.translator import InstanceNorm, bounded, draw_weights

_DROPPED = 3  # of the decoder's layers, those next to the middle
_WIDEST = 8  # times the width

_NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class UNetConfig(SettingsGroup):
    """The shape of the generator."""

    width: Annotated[int, Field(ge=1, le=512)] = 64
    """Channels at half of the resolution; each further halving doubles them, up to eight times as many."""

    depth: Annotated[int, Field(ge=2, le=8)] = 8
    """How often resolution halves. Sides of pictures are padded to a multiple of 2^depth; the paper has 8, so that a
    picture of 256 pixels comes to one point."""

    norm: Literal["instance", "batch"] = "instance"
    """Instance normalisation, as which the paper's acts, since its batch is of one picture; or batch normalisation,
    whose running means a translation then uses."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the values that training drops in the three decoder's layers next to the middle."""

    upsampling: Literal["transposed", "resize"] = "transposed"
    """How resolution doubles: a transposed convolution (the paper's), or nearest-neighbour enlargement and a
    convolution, which leaves no grid on even areas (Odena et al., 2016) and costs twice as much in those layers."""

    residual: bool = False
    """Whether the net gives a change of the picture, at first none, instead of the picture, which the paper's does."""

    @property
    def multiple(self) -> int:
        """What height and width of the net's input must be divisible by, in pixels."""
        return 1 << self.depth

    def build(self) -> "UNet":
        """Makes the net."""
        return UNet(self)


class UNet(nn.Module):
    """A picture to another of the same size."""

    def __init__(self, config: UNetConfig) -> None:
        """Makes the net of a configuration."""
        super().__init__()
        self._dropout, self._residual = config.dropout, config.residual
        self._widths = widths = [config.width * min(2**level, _WIDEST) for level in range(config.depth)]
        self.encoder = nn.ModuleList([nn.Sequential(_halving(3, widths[0]), nn.LeakyReLU(0.2))])
        for before, after in itertools.pairwise(widths):
            norm = [] if len(self.encoder) == config.depth - 1 else [_norm(config, after)]  # a point has no variance
            self.encoder.append(nn.Sequential(_halving(before, after, bias=not norm), *norm, nn.LeakyReLU(0.2)))
        self.decoder = nn.ModuleList()
        for before, after in itertools.pairwise(reversed(widths)):
            doubling = _doubling(config, 2 * before if len(self.decoder) else before, after, bias=False)
            self.decoder.append(nn.Sequential(doubling, _norm(config, after), nn.ReLU()))
        self.decoder.append(_doubling(config, 2 * widths[0], 3))
        self.apply(draw_weights)
        if config.residual:
            for weight in self.decoder[-1].parameters():
                nn.init.zeros_(weight)

    def draw_dropout(self, count: int, side: int, source: torch.Generator) -> dict[str, Tensor]:
        """What training multiplies the maps of some layers by: 0 where a value is dropped, else 1 / (1 - rate).

        It is drawn for a whole batch before the batch is shared out, so that any number of processes drops the same.

        Args:
            count: Pictures, B.
            side: Their height and width.
            source: Decides it; on the CPU.

        Returns:
            float32 [B, C, H, W] by the number of the decoder's layer; empty without dropout.
        """
        levels = [len(self._widths) - 2 - number for number in range(min(_DROPPED, len(self._widths) - 1))]
        shapes = [(count, self._widths[level], side >> (level + 1), side >> (level + 1)) for level in levels]
        if not self._dropout:
            return {}
        kept = [torch.rand(shape, generator=source) >= self._dropout for shape in shapes]
        return {str(number): each / (1 - self._dropout) for number, each in enumerate(kept)}

    def forward(self, pictures: Tensor, dropout: Mapping[str, Tensor] = _NOTHING) -> Tensor:
        """Translates pictures.

        Args:
            pictures: float32 [B, 3, H, W] in [-1, 1]; H and W divisible by the configuration's `multiple`.
            dropout: As `draw_dropout` gives it; without it nothing is dropped.

        Returns:
            float32 [B, 3, H, W] in [-1, 1].
        """
        maps, passed = pictures.contiguous(memory_format=torch.channels_last), []
        for layer in self.encoder:
            maps = layer(maps)
            passed.append(maps)
        maps = passed.pop()
        for number, layer in enumerate(self.decoder):
            maps = layer(maps)
            if (kept := dropout.get(str(number))) is not None:
                maps = maps * kept
            if passed:
                maps = torch.cat([maps, passed.pop()], dim=1)
        return bounded(maps, pictures if self._residual else None)


def _norm(config: UNetConfig, channels: int) -> nn.Module:
    return InstanceNorm() if config.norm == "instance" else BatchNorm2d(channels)


def _halving(before: int, after: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=bias)


def _doubling(config: UNetConfig, before: int, after: int, *, bias: bool = True) -> nn.Module:
    if config.upsampling == "transposed":
        return nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=bias)
    enlargement = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(enlargement, nn.Conv2d(before, after, kernel_size=3, padding=1, bias=bias))
