"""The discriminator of the energy-based GAN (Zhao et al., 2016, arXiv:1609.03126): an autoencoder.

An image's energy is the error of its reconstruction. The net learns to reconstruct real images and not samples, so that
its errors on the way teach the generator, where a score alone would give it one bit.
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from training.config import ConfigError
from training.nets.discriminator import Discriminator, DiscriminatorConfig, HeadsOf, NormName, held, norm_of
from training.nets.first_weights import drawn
from training.nets.resolutions import resolutions


class AutoencoderConfig(DiscriminatorConfig):
    """The shape of an autoencoder; it does not look at conditions."""

    kind: Literal["autoencoder"] = "autoencoder"

    norm: NormName = "batch"

    width: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels at half the image's resolution; each lower one has twice as many."""

    margin: Annotated[float, Field(gt=0, le=100)] = 0.25
    """The energy up to which samples are pushed away, in squared differences of pixels, which lie in [-1, 1]. It should
    be like that of a coarse reconstruction: with 1 a net came to reconstruct samples as well as digits."""

    @property
    def provides(self) -> frozenset[str]:  # noqa: D102
        return super().provides | {"energy"}

    def build(  # noqa: D102
        self,
        *,
        condition_size: int,  # noqa: ARG002
        channels: int,
        size: int,
        heads: HeadsOf,
        outcomes: int = 1,
    ) -> "Autoencoder":
        if outcomes > 1:
            raise ConfigError("--set discriminator.kind=autoencoder: an energy is one number; take another objective")
        return drawn(Autoencoder(self, channels, size, heads), self.init)


class Autoencoder(Discriminator):
    """Convolutions of kernel 4 and stride 2 down to 4 to 7 pixels, and transposed ones back."""

    def __init__(self, config: AutoencoderConfig, channels: int, size: int, heads: HeadsOf) -> None:
        """Makes the net; see `DiscriminatorConfig.build`."""
        super().__init__()
        self.margin = config.margin
        lowest, *higher = resolutions(size)
        widths = [config.width << level for level in range(len(higher))]
        encoder: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            norm = norm_of(config.norm if encoder else "none", after)
            encoder += [held(nn.Conv2d(before, after, 4, stride=2, padding=1), config.norm), norm, nn.LeakyReLU(0.2)]
        decoder: list[nn.Module] = []
        for before, after in pairwise(widths[::-1]):
            norm = norm_of(config.norm, after)
            layer = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
            decoder += [held(layer, config.norm), norm, nn.LeakyReLU(0.2)]
        decoder += [held(nn.ConvTranspose2d(widths[0], channels, 4, stride=2, padding=1), config.norm), nn.Tanh()]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        self.heads = nn.ModuleDict(heads(widths[-1] * lowest**2))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Scores each image by −energy / margin, at most 0; the features are its code."""
        code = self.encoder(images)
        return -energy(images, self.decoder(code)) / self.margin, code.flatten(1)


def energy(images: Tensor, reconstructions: Tensor) -> Tensor:
    """The mean squared error of each image, float32 [B].

    Args:
        images: [B, C, H, W].
        reconstructions: Of the same shape.
    """
    errors: Tensor = torch.square(reconstructions.float() - images.float()).mean((1, 2, 3))
    return errors
