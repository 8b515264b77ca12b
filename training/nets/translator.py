"""The two nets of a CycleGAN (Zhu et al., 2017, arXiv:1703.10593): a ResNet generator and a PatchGAN discriminator.

Both are fully convolutional. The instance normalisation is written out as a mean and a variance, which keeps the memory
format that convolutions in bfloat16 are fastest in; torch's own module does not.
"""

import itertools
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from training.config import SettingsGroup
from training.nets.upsampling import Upsampling, resized

MULTIPLE = 4
"""Height and width of a generator's input must be divisible by it."""

_EPSILON = 1e-5
_WITHIN = 0.97  # keeps white and black off the infinite ends of atanh


class TranslatorConfig(SettingsGroup):
    """The shape of both generators (Johnson et al., 2016; Zhu et al., 2017)."""

    width: Annotated[int, Field(ge=1, le=512)] = 64
    """Channels at full resolution; a half and a quarter of it have twice and four times as many."""

    blocks: Annotated[int, Field(ge=1, le=32)] = 9
    """Residual blocks at a quarter of the resolution; the paper has 6 at 128 pixels and 9 at 256."""

    upsampling: Upsampling = "transposed"
    """How resolution doubles: a transposed convolution (the paper's), or nearest-neighbour enlargement and a
    convolution, which leaves no checkerboard (Odena et al., 2016) and costs four times as much in those layers."""

    residual: bool = False
    """Whether the net gives a change of the picture, at first none, instead of the picture. Colours and outlines are
    then kept from the first step on, which short runs gain by; the paper's net does not."""

    def build(self) -> "Translator":
        """Makes the net of one direction."""
        return Translator(self)


class PatchConfig(SettingsGroup):
    """The shape of a discriminator of patches."""

    width: Annotated[int, Field(ge=1, le=512)] = 64
    """Channels of the first feature maps."""

    halvings: Annotated[int, Field(ge=1, le=5)] = 3
    """How often resolution halves; it decides the side of a patch: 16 pixels with 1, 34 with 2, and the papers' 70
    with 3."""

    def build(self, channels: int = 3) -> "PatchDiscriminator":
        """Makes the net.

        Args:
            channels: Of what it is shown; 6 for two pictures, one of which is the condition of the other.
        """
        return PatchDiscriminator(self, channels)


class InstanceNorm(nn.Module):
    """Brings every map of every picture to mean 0 and variance 1 (Ulyanov et al., 2016); nothing is learnt."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalises maps [B, C, H, W]; the statistics are taken in float32, whatever the input's type."""
        exact = maps.float()
        variance, mean = torch.var_mean(exact, dim=(2, 3), correction=0, keepdim=True)
        return ((exact - mean) * torch.rsqrt(variance + _EPSILON)).to(maps.dtype)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input."""

    def __init__(self, channels: int) -> None:
        """Makes the block.

        Args:
            channels: Of its input and output.
        """
        super().__init__()
        self.layers = nn.Sequential(_convolution(channels, channels, 3), nn.ReLU(), _convolution(channels, channels, 3))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, channels, H, W] to the same shape."""
        change: Tensor = self.layers(maps)
        return maps + change


class Translator(nn.Module):
    """A picture of one domain to one of the other, of the same size."""

    def __init__(self, config: TranslatorConfig) -> None:
        """Makes the net of a configuration."""
        super().__init__()
        self.residual, width = config.residual, config.width
        double = _transposed if config.upsampling == "transposed" else _resized
        last = nn.Conv2d(width, 3, kernel_size=7, padding=3, padding_mode="reflect")
        self.layers = nn.Sequential(
            _convolution(3, width, 7),
            nn.ReLU(),
            _halving(width, 2 * width),
            nn.ReLU(),
            _halving(2 * width, 4 * width),
            nn.ReLU(),
            *[ResidualBlock(4 * width) for _ in range(config.blocks)],
            double(4 * width, 2 * width),
            nn.ReLU(),
            double(2 * width, width),
            nn.ReLU(),
            last,
        )
        self.apply(draw_weights)
        if config.residual:
            nn.init.zeros_(last.weight)

    def forward(self, pictures: Tensor) -> Tensor:
        """Translates pictures.

        Args:
            pictures: float32 [B, 3, H, W] in [-1, 1]; H and W at least 16 and divisible by `MULTIPLE`.

        Returns:
            float32 [B, 3, H, W] in [-1, 1].
        """
        change = self.layers(pictures.contiguous(memory_format=torch.channels_last))
        return bounded(change, pictures if self.residual else None)


def bounded(change: Tensor, pictures: Tensor | None) -> Tensor:
    """What a net's last layer gave as a picture: by itself, or as a change of a picture, of which 0 is none.

    Args:
        change: [B, 3, H, W], unbounded.
        pictures: float32 [B, 3, H, W] in [-1, 1]; None where nothing is changed.

    Returns:
        float32 [B, 3, H, W] in [-1, 1].
    """
    return torch.tanh(change.float() if pictures is None else change.float() + torch.atanh(_WITHIN * pictures.float()))


class TranslatorPair(nn.Module):
    """The generators of both directions, which learn, are averaged and are shipped together."""

    def __init__(self, a_to_b: Translator, b_to_a: Translator) -> None:
        """Holds the two nets.

        Args:
            a_to_b: Makes pictures of domain B from pictures of domain A.
            b_to_a: The other way.
        """
        super().__init__()
        self.a_to_b = a_to_b
        self.b_to_a = b_to_a


class PatchDiscriminator(nn.Module):
    """Scores overlapping patches: higher means more likely real (Isola et al., 2017, arXiv:1611.07004).

    The first layer and the last are not normalised. Where the papers have batch normalisation their batch is of one
    picture, so that it normalises as this does.
    """

    def __init__(self, config: PatchConfig, channels: int = 3) -> None:
        """Makes the net.

        Args:
            config: Its shape.
            channels: Of what it is shown.
        """
        super().__init__()
        widths = [config.width * min(2**halving, 8) for halving in range(config.halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, config.width, kernel_size=4, stride=2, padding=1)]
        for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
            stride = 2 if number < config.halvings else 1
            layers += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(before, after, kernel_size=4, stride=stride, padding=1, bias=False),
                InstanceNorm(),
            ]
        layers += [nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, kernel_size=4, stride=1, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.apply(draw_weights)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores patches.

        Args:
            pictures: float32 [B, channels, H, W] in [-1, 1], H and W at least 32.

        Returns:
            float32 [B, 1, H / 2^halvings - 2, W / 2^halvings - 2], unbounded.
        """
        scores: Tensor = self.layers(pictures.contiguous(memory_format=torch.channels_last))
        return scores.float()


def draw_weights(module: nn.Module) -> None:
    """The paper's first weights: normal with a standard deviation of 0.02; biases of zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# A normalisation follows each of these, so biases would have no effect.


def _convolution(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="reflect", bias=False), InstanceNorm()
    )


def _halving(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), InstanceNorm())


def _transposed(before: int, after: int) -> nn.Sequential:
    layer = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=False)
    return nn.Sequential(layer, InstanceNorm())


def _resized(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*resized(before, after, bias=False), InstanceNorm())
