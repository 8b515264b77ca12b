"""A convolutional generator and discriminator for small square images, with or without a condition.

The convolutional design follows DCGAN (Radford et al., 2015, arXiv:1511.06434); each net's layer at full resolution
works on 2x2 patches instead of pixels, which costs a quarter and serves 28x28 images as well.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from training.nets.batch_norm import BatchNorm2d
from training.nets.discriminator import ConcatenatingConfig, Trunk
from training.nets.first_weights import drawn
from training.nets.generator import GeneratorConfig, Given
from training.nets.layered import LayeredTrunk

PATCH = 2
"""Height and width of the patches that the layers at full resolution work on."""

_SMALLEST = 4  # resolution at which neither net halves any further


class PatchGeneratorConfig(GeneratorConfig):
    """The shape of a generator whose last layer makes patches."""

    kind: Literal["patches"] = "patches"

    width: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 96
    """Channels of the last feature maps; each lower resolution has twice as many."""

    def build(self, *, latent_size: int, condition_size: int, channels: int, size: int) -> nn.Module:  # noqa: D102
        given = Given(latent_size, condition_size, self.embedding)
        return drawn(PatchGenerator(self, given, channels, size), self.init)


class PatchDiscriminatorConfig(ConcatenatingConfig):
    """The shape of a discriminator whose first layer takes patches."""

    kind: Literal["patches"] = "patches"

    width: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the first feature maps; each lower resolution has twice as many."""

    def trunk(self, *, condition_size: int, channels: int, size: int) -> Trunk:  # noqa: D102
        return PatchTrunk(self, condition_size, channels, size)


class PatchGenerator(nn.Module):
    """Latents and conditions to images; batch normalisation, transposed convolutions of kernel 4 and stride 2.

    The condition is a vector beside the latent: a class as one-hot, a mixture of classes, or an InfoGAN's codes.
    """

    def __init__(self, config: PatchGeneratorConfig, given: Given, channels: int, size: int) -> None:
        """Makes the net; see `GeneratorConfig.build`."""
        super().__init__()
        doublings = _doublings(size)
        self.given = given
        self.resolution = size // PATCH >> doublings
        top = config.width << doublings
        # A batch normalisation follows every layer but the last, so biases would have no effect.
        self.project = nn.Linear(given.size, top * self.resolution**2, bias=False)
        layers: list[nn.Module] = [BatchNorm2d(top), nn.ReLU(inplace=True)]
        for doubling in reversed(range(doublings)):
            after = config.width << doubling
            layers += [
                nn.ConvTranspose2d(2 * after, after, kernel_size=4, stride=2, padding=1, bias=False),
                BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.Conv2d(config.width, channels * PATCH**2, kernel_size=3, padding=1), nn.PixelShuffle(PATCH)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Makes one image for each latent; see `GeneratorConfig.build`."""
        maps = self.project(self.given(z, condition)).unflatten(1, (-1, self.resolution, self.resolution))
        return torch.tanh(self.layers(maps.contiguous(memory_format=torch.channels_last)).float())


class PatchTrunk(LayeredTrunk):
    """Patches, and convolutions of kernel 4 and stride 2."""

    def __init__(self, config: PatchDiscriminatorConfig, condition_size: int, channels: int, size: int) -> None:
        """Makes the net; see `DiscriminatorConfig.build`."""
        convolutions, features = _convolutions(channels, size, config.width)
        super().__init__(convolutions, config, condition_size=condition_size, features=features)

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:  # noqa: D102
        return super().forward(functional.pixel_unshuffle(images, PATCH), condition)


def _doublings(size: int) -> int:
    """How many times the resolution doubles between the first feature maps and the patches of an image."""
    if size % PATCH:
        raise ValueError(f"the image size must be even, got {size}")
    resolution, doublings = size // PATCH, 0
    while resolution % 2 == 0 and resolution > _SMALLEST:
        resolution, doublings = resolution // 2, doublings + 1
    return doublings


def _convolutions(channels: int, size: int, width: int) -> tuple[list[nn.Conv2d], int]:
    """A discriminator's convolutions in order, and the number of values that the last one gives for an image."""
    doublings = _doublings(size)
    top = width << doublings
    layers = [nn.Conv2d(channels * PATCH**2, width, kernel_size=3, padding=1)]
    for doubling in range(doublings):
        before = width << doubling
        layers.append(nn.Conv2d(before, 2 * before, kernel_size=4, stride=2, padding=1))
    layers.append(nn.Conv2d(top, top, kernel_size=3, padding=1))
    return layers, top * (size // PATCH >> doublings) ** 2
