"""Fully connected nets, those of the first GAN (Goodfellow et al., 2014, arXiv:1406.2661).

With noise on what each layer of the discriminator is given they are those of semi-supervised learning (Salimans et al.,
2016, arXiv:1606.03498).
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from training.config.lists import split
from training.nets.batch_norm import BatchNorm1d
from training.nets.discriminator import ConcatenatingConfig, NormName, Trunk
from training.nets.first_weights import drawn
from training.nets.generator import GeneratorConfig, Given
from training.nets.layered import LayeredTrunk

_Hidden = Annotated[
    tuple[Annotated[int, Field(ge=1, le=8192)], ...], BeforeValidator(split), Field(min_length=1, max_length=16)
]

_ON_IMAGES = 0.6  # of the noise between layers: the paper's 0.3 and 0.5


class PerceptronGeneratorConfig(GeneratorConfig):
    """The shape of a fully connected generator."""

    kind: Literal["perceptron"] = "perceptron"

    hidden: _Hidden = (256, 512, 1024)
    """Features of each hidden layer, from the latent to the image. As a text: "256,512,1024"."""

    batch_norm: bool = True
    """Whether hidden layers are normalised over the batch; those of the paper are not."""

    def build(self, *, latent_size: int, condition_size: int, channels: int, size: int) -> nn.Module:  # noqa: D102
        given = Given(latent_size, condition_size, self.embedding)
        return drawn(PerceptronGenerator(self, given, channels, size), self.init)


class PerceptronDiscriminatorConfig(ConcatenatingConfig):
    """The shape of a fully connected discriminator."""

    kind: Literal["perceptron"] = "perceptron"

    norm: NormName = "none"

    hidden: _Hidden = (512, 256)
    """Features of each hidden layer, from the image to the score."""

    noise: Annotated[float, Field(ge=0, le=10)] = 0
    """Standard deviation of the normal noise that is added between layers while the net learns, and 0.6 times as much
    to images; 0.5 is that of Salimans et al."""

    def trunk(self, *, condition_size: int, channels: int, size: int) -> Trunk:  # noqa: D102
        return PerceptronTrunk(self, condition_size, channels * size**2)


class PerceptronGenerator(nn.Module):
    """Latents and conditions to images: ReLUs, with batch normalisation where it is asked for, and a tanh."""

    def __init__(self, config: PerceptronGeneratorConfig, given: Given, channels: int, size: int) -> None:
        """Makes the net; see `GeneratorConfig.build`."""
        super().__init__()
        self.given = given
        self.shape = (channels, size, size)
        layers: list[nn.Module] = []
        for before, after in pairwise((given.size, *config.hidden)):
            layers.append(nn.Linear(before, after, bias=not config.batch_norm))  # which would undo a bias
            if config.batch_norm:
                layers.append(BatchNorm1d(after))
            layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers, nn.Linear(config.hidden[-1], channels * size**2))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Makes one image for each latent; see `GeneratorConfig.build`."""
        images: Tensor = torch.tanh(self.layers(self.given(z, condition)).float())
        return images.view(-1, *self.shape)


class PerceptronTrunk(LayeredTrunk):
    """Images as rows of numbers, fully connected layers, and leaky ReLUs of slope 0.2."""

    def __init__(self, config: PerceptronDiscriminatorConfig, condition_size: int, numbers: int) -> None:
        """Makes the net; see `DiscriminatorConfig.build`.

        Args:
            config: Its shape.
            condition_size: Numbers in a condition.
            numbers: Of an image.
        """
        layers = [
            NoisyLinear(before, after, config.noise if index else _ON_IMAGES * config.noise)
            for index, (before, after) in enumerate(pairwise((numbers, *config.hidden)))
        ]
        super().__init__(layers, config, condition_size=condition_size, features=config.hidden[-1])

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:  # noqa: D102
        return super().forward(images.flatten(1), condition)


class NoisyLinear(nn.Linear):
    """A layer that adds noise, from torch's global random source, to what it is given while it learns."""

    def __init__(self, before: int, after: int, noise: float) -> None:
        """Makes the layer.

        Args:
            before: Features that it takes.
            after: Features that it gives.
            noise: Standard deviation.
        """
        super().__init__(before, after)
        self.noise = noise

    def forward(self, features: Tensor) -> Tensor:
        """From [B, before] to [B, after]."""
        if self.noise and self.training:
            features = features + self.noise * torch.randn_like(features)
        return super().forward(features)
