"""A convolutional generator and discriminator for small square images, with or without a condition.

The convolutional design follows DCGAN (Radford et al., 2015, arXiv:1511.06434); each net's layer at full resolution
works on 2x2 patches instead of pixels, which costs a quarter and serves 28x28 images as well. The discriminator may be
given the label beside its input (Mirza & Osindero, 2014, arXiv:1411.1784), as a projection (Miyato & Koyama, 2018,
arXiv:1802.05637), or both.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from training.config import SettingsGroup
from training.nets.batch_norm import BatchNorm2d

Init = Literal["torch", "normal"]
_Net = TypeVar("_Net", bound=nn.Module)

PATCH = 2
"""Height and width of the patches that the layers at full resolution work on."""

_SMALLEST = 4  # resolution at which neither net halves any further
_STD = 0.02  # of DCGAN's first weights


def _doublings(size: int) -> int:
    """How many times the resolution doubles between the first feature maps and the patches of an image."""
    if size % PATCH:
        raise ValueError(f"the image size must be even, got {size}")
    resolution, doublings = size // PATCH, 0
    while resolution % 2 == 0 and resolution > _SMALLEST:
        resolution, doublings = resolution // 2, doublings + 1
    return doublings


class GeneratorConfig(SettingsGroup):
    """The generator's shape."""

    width: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 96
    """Channels of the last feature maps; each lower resolution has twice as many."""

    init: Init = "torch"
    """The first weights: torch's own, or DCGAN's, normal with a standard deviation of 0.02."""

    def build(self, *, latent_size: int, condition_size: int, channels: int, size: int) -> "Generator":
        """Makes the net.

        Args:
            latent_size: Numbers in a latent.
            condition_size: Numbers in a condition; 0 for none.
            channels: Channels of the images.
            size: Height and width of the images; even.

        Raises:
            ValueError: If `size` is odd.
        """
        return _drawn(Generator(self, latent_size, condition_size, channels, size), self.init)


class DiscriminatorConfig(SettingsGroup):
    """The discriminator's shape."""

    width: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the first feature maps; each lower resolution has twice as many."""

    norm: Literal["none", "spectral", "batch", "layer"] = "spectral"
    """What holds the layers: "spectral" bounds the largest singular value of every weight that features pass through at
    one (Miyato et al., 2018, arXiv:1802.05957; biases and concatenated labels only shift); "batch" and "layer"
    normalise the maps of every convolution but the first."""

    concat: bool = False
    """Whether the label stands beside the input of every convolution (Mirza & Osindero)."""

    projection: bool = False
    """Whether the features are projected on the label's embedding at the end (Miyato & Koyama)."""

    clip: Annotated[float, Field(ge=0, le=1)] = 0
    """The largest absolute value that a weight may have: all are clipped to it whenever they have learnt (Arjovsky et
    al., 2017, arXiv:1701.07875, algorithm 1); 0 leaves them as they are."""

    init: Init = "torch"
    """The first weights, as of the generator."""

    @property
    def provides(self) -> frozenset[str]:
        """What objectives and terms may ask for, or not bear; see `training.config.compatibility`."""
        given = {
            "label input": self.concat or self.projection,
            "concatenated label": self.concat,
            "batch norm": self.norm == "batch",
            "lipschitz": self.norm == "spectral" or self.clip > 0,
            "clipped weights": self.clip > 0,
            "spectral norm": self.norm == "spectral",
            "normal init": self.init == "normal",
        }
        return frozenset(name for name, is_given in given.items() if is_given)

    @property
    def clipping(self) -> Callable[[nn.Module], None] | None:
        """What clips a net's weights, those of normalisations too; None where they may be of any size."""
        return partial(_clip, self.clip) if self.clip else None

    def build(
        self, *, classes: int, channels: int, size: int, heads: Callable[[int], Mapping[str, nn.Module]]
    ) -> "Discriminator":
        """Makes the net.

        Args:
            classes: Number of classes; not needed without a label.
            channels: Channels of the images.
            size: Height and width of the images; even.
            heads: From the number of its features to what it guesses besides the score, by name.

        Raises:
            ValueError: If `size` is odd.
        """
        return _drawn(Discriminator(self, classes, channels, size, heads), self.init)


class Generator(nn.Module):
    """Latents and conditions to images; batch normalisation, transposed convolutions of kernel 4 and stride 2.

    The condition is a vector beside the latent: a class as one-hot, a mixture of classes, or an InfoGAN's codes.
    """

    def __init__(
        self, config: GeneratorConfig, latent_size: int, condition_size: int, channels: int, size: int
    ) -> None:
        """Makes the net; see `GeneratorConfig.build`."""
        super().__init__()
        doublings = _doublings(size)
        self.resolution = size // PATCH >> doublings
        top = config.width << doublings
        # A batch normalisation follows every layer but the last, so biases would have no effect.
        self.project = nn.Linear(latent_size + condition_size, top * self.resolution**2, bias=False)
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
        """Makes one image for each latent.

        Args:
            z: float32 [B, latent_size], standard normal.
            condition: float32 [B, condition_size]; None where there is none.

        Returns:
            float32 [B, C, H, W] in [-1, 1].
        """
        given = z if condition is None else torch.cat([z, condition], dim=1)
        maps = self.project(given).unflatten(1, (-1, self.resolution, self.resolution))
        return torch.tanh(self.layers(maps.contiguous(memory_format=torch.channels_last)).float())


class Discriminator(nn.Module):
    """Images, and labels where it is given any, to one score each: higher means more likely real and of that class."""

    def __init__(
        self,
        config: DiscriminatorConfig,
        classes: int,
        channels: int,
        size: int,
        heads: Callable[[int], Mapping[str, nn.Module]],
    ) -> None:
        """Makes the net; see `DiscriminatorConfig.build`."""
        super().__init__()
        held = spectral_norm if config.norm == "spectral" else _unchanged
        convolutions, features = _convolutions(channels, size, config.width)
        self.patches = nn.PixelUnshuffle(PATCH)
        self.convolutions = nn.ModuleList([held(layer) for layer in convolutions])
        self.norms = nn.ModuleList(
            [_norm(config.norm if index else "none", layer.out_channels) for index, layer in enumerate(convolutions)]
        )
        self.score = held(nn.Linear(features, 1))
        # Planes that hold the label, put beside a convolution's input, add one number a class to each of its output
        # channels (the image's border apart). These embeddings are those numbers, without the planes' cost.
        self.concatenated = nn.ModuleList(
            [nn.Embedding(classes, layer.out_channels) for layer in convolutions] if config.concat else []
        )
        self.projection = held(nn.Embedding(classes, features)) if config.projection else None
        self.heads = nn.ModuleDict(heads(features))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores each image, as one of its class where the labels are given.

        Args:
            images: float32 [B, C, H, W] in [-1, 1].
            labels: int64 [B], each in [0, classes); not looked at by a net without a label.

        Returns:
            Scores, float32 [B], unbounded; and the features that the heads take, [B, F].
        """
        maps = self.patches(images)
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            maps = norm(convolution(maps))
            if self.concatenated:
                maps = maps + self.concatenated[index](labels)[:, :, None, None].to(maps.dtype)
            maps = functional.leaky_relu(maps, 0.2, inplace=True)
        features = maps.flatten(1)
        scores = self.score(features).squeeze(1).float()
        if self.projection is not None:
            scores = scores + (self.projection(labels).to(features.dtype) * features).sum(1).float()
        return scores, features


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


def _clip(most: float, net: nn.Module) -> None:
    for weights in net.parameters():
        weights.clamp_(-most, most)


def _unchanged(layer: nn.Module) -> nn.Module:
    return layer


def _norm(name: str, channels: int) -> nn.Module:
    match name:
        case "batch":
            return BatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)  # over all channels and places of an image, as WGAN-GP's
        case _:
            return nn.Identity()


def _drawn(net: _Net, init: Init) -> _Net:
    """Draws the net's weights anew where the configuration says so; heads too."""
    if init == "normal":
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, std=_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, BatchNorm2d):
                nn.init.normal_(module.weight, mean=1, std=_STD)
    return net
