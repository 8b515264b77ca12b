"""The nets of the DCGAN, as in its paper (Radford et al., 2015, arXiv:1511.06434).

Both are convolutional throughout, of kernel 4 and stride 2; batch normalisation follows every layer but the generator's
last and the discriminator's first.
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from training.nets.batch_norm import BatchNorm2d
from training.nets.discriminator import ConcatenatingConfig, NormName, Trunk
from training.nets.first_weights import Init, drawn
from training.nets.generator import GeneratorConfig, Given
from training.nets.layered import LayeredTrunk
from training.nets.resolutions import resolutions
from training.nets.upsampling import Upsampling, resized


class DcganGeneratorConfig(GeneratorConfig):
    """The shape of a DCGAN's generator."""

    kind: Literal["dcgan"] = "dcgan"

    width: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels at half the image's resolution; each lower one has twice as many. The paper's has 128."""

    upsampling: Upsampling = "transposed"
    """How resolution doubles: a transposed convolution (the paper's), or nearest-neighbour enlargement and a
    convolution, which leaves no checkerboard (Odena et al., 2016)."""

    init: Init = "normal"

    def build(self, *, latent_size: int, condition_size: int, channels: int, size: int) -> nn.Module:  # noqa: D102
        given = Given(latent_size, condition_size, self.embedding)
        return drawn(DcganGenerator(self, given, channels, size), self.init)


class DcganDiscriminatorConfig(ConcatenatingConfig):
    """The shape of a DCGAN's discriminator."""

    kind: Literal["dcgan"] = "dcgan"

    norm: NormName = "batch"

    width: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels at half the image's resolution; each lower one has twice as many."""

    init: Init = "normal"

    def trunk(self, *, condition_size: int, channels: int, size: int) -> Trunk:  # noqa: D102
        return DcganTrunk(self, condition_size, channels, size)


class DcganGenerator(nn.Module):
    """Latents and conditions to images: a projection to maps of 4 to 7 pixels, ReLUs, and a tanh."""

    def __init__(self, config: DcganGeneratorConfig, given: Given, channels: int, size: int) -> None:
        """Makes the net; see `GeneratorConfig.build`."""
        super().__init__()
        self.given = given
        self.resolution, *higher = resolutions(size)
        widths = [config.width << level for level in reversed(range(len(higher)))]
        # A batch normalisation follows every layer but the last, so biases would have no effect.
        self.project = nn.Linear(given.size, widths[0] * self.resolution**2, bias=False)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += _doubling(before, after, config.upsampling, bias=False)
        layers += [BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
        layers += _doubling(widths[-1], channels, config.upsampling, bias=True)
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Makes one image for each latent; see `GeneratorConfig.build`."""
        maps = self.project(self.given(z, condition)).unflatten(1, (-1, self.resolution, self.resolution))
        return torch.tanh(self.layers(maps.contiguous(memory_format=torch.channels_last)).float())


class DcganTrunk(LayeredTrunk):
    """Convolutions of kernel 4 and stride 2 down to 4 to 7 pixels, and leaky ReLUs of slope 0.2."""

    def __init__(self, config: DcganDiscriminatorConfig, condition_size: int, channels: int, size: int) -> None:
        """Makes the net; see `DiscriminatorConfig.build`."""
        lowest, *higher = resolutions(size)
        widths = [config.width << level for level in range(len(higher))]
        layers = [nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise((channels, *widths))]
        super().__init__(layers, config, condition_size=condition_size, features=widths[-1] * lowest**2)


def _doubling(before: int, after: int, upsampling: Upsampling, *, bias: bool) -> list[nn.Module]:
    if upsampling == "resize":
        return resized(before, after, bias=bias)
    return [nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=bias)]
