"""A class-conditional convolutional generator and discriminator for small square images.

The convolutional design follows DCGAN (Radford et al., 2015, arXiv:1511.06434); each net's layer at full resolution
works on 2x2 patches instead of pixels, which costs a quarter and serves 28x28 images as well. Both nets are given the
label beside their input (Mirza & Osindero, 2014, arXiv:1411.1784); the discriminator may take it as a projection
besides (Miyato & Koyama, 2018, arXiv:1802.05637) and be spectrally normalised (Miyato et al., 2018, arXiv:1802.05957).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from training.nets.batch_norm import BatchNorm2d

PATCH = 2
"""Height and width of the patches that the layers at full resolution work on."""

_SMALLEST = 4  # resolution at which neither net halves any further


def _doublings(size: int) -> int:
    """How many times the resolution doubles between the first feature maps and the patches of an image."""
    if size % PATCH:
        raise ValueError(f"the image size must be even, got {size}")
    resolution, doublings = size // PATCH, 0
    while resolution % 2 == 0 and resolution > _SMALLEST:
        resolution, doublings = resolution // 2, doublings + 1
    return doublings


def unchanged(layer: nn.Module) -> nn.Module:
    """Stands in for a normalisation where there is none."""
    return layer


def trunk_convolutions(channels: int, size: int, width: int) -> tuple[list[nn.Conv2d], int]:
    """The convolutions of a discriminator, which work on an image's patches (see `PATCH`).

    Args:
        channels: Channels of the images.
        size: Height and width of the images; even.
        width: Channels of the first feature maps; each lower resolution has twice as many.

    Returns:
        The layers in order, and the number of values that the last one gives for an image.

    Raises:
        ValueError: If `size` is odd.
    """
    doublings = _doublings(size)
    top = width << doublings
    layers = [nn.Conv2d(channels * PATCH**2, width, kernel_size=3, padding=1)]
    for doubling in range(doublings):
        before = width << doubling
        layers.append(nn.Conv2d(before, 2 * before, kernel_size=4, stride=2, padding=1))
    layers.append(nn.Conv2d(top, top, kernel_size=3, padding=1))
    return layers, top * (size // PATCH >> doublings) ** 2


class Generator(nn.Module):
    """Latents and conditions to images; batch normalisation, transposed convolutions of kernel 4 and stride 2.

    The condition is a vector beside the latent: a class as one-hot, a mixture of classes, or an InfoGAN's codes.
    """

    def __init__(self, *, condition_size: int, channels: int, size: int, latent_size: int, width: int) -> None:
        """Makes the net.

        Args:
            condition_size: Numbers in a condition.
            channels: Channels of the images.
            size: Height and width of the images; even.
            latent_size: Numbers in a latent.
            width: Channels of the last feature maps; each lower resolution has twice as many.

        Raises:
            ValueError: If `size` is odd.
        """
        super().__init__()
        doublings = _doublings(size)
        self.resolution = size // PATCH >> doublings
        top = width << doublings
        # A batch normalisation follows every layer but the last, so biases would have no effect.
        self.project = nn.Linear(latent_size + condition_size, top * self.resolution**2, bias=False)
        layers: list[nn.Module] = [BatchNorm2d(top), nn.ReLU(inplace=True)]
        for doubling in reversed(range(doublings)):
            after = width << doubling
            layers += [
                nn.ConvTranspose2d(2 * after, after, kernel_size=4, stride=2, padding=1, bias=False),
                BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.Conv2d(width, channels * PATCH**2, kernel_size=3, padding=1), nn.PixelShuffle(PATCH)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """Makes one image for each latent.

        Args:
            z: float32 [B, latent_size], standard normal.
            condition: float32 [B, condition_size].

        Returns:
            float32 [B, C, H, W] in [-1, 1].
        """
        maps = self.project(torch.cat([z, condition], dim=1)).unflatten(1, (-1, self.resolution, self.resolution))
        return torch.tanh(self.layers(maps.contiguous(memory_format=torch.channels_last)).float())


class Discriminator(nn.Module):
    """Images and labels to one score each: higher means more likely real and of that class."""

    def __init__(
        self,
        *,
        classes: int,
        channels: int,
        size: int,
        width: int,
        concat: bool,
        projection: bool,
        classifier: bool,
        normalise: bool,
    ) -> None:
        """Makes the net.

        Args:
            classes: Number of classes.
            channels: Channels of the images.
            size: Height and width of the images; even.
            width: Channels of the first feature maps; each lower resolution has twice as many.
            concat: Whether the label stands beside the input of every convolution.
            projection: Whether the features are projected on the label's embedding.
            classifier: Whether it also guesses the class; without `concat` the features do not tell it.
            normalise: Whether every layer is spectrally normalised.

        Raises:
            ValueError: If `size` is odd.
        """
        super().__init__()
        norm = spectral_norm if normalise else unchanged
        convolutions, features = trunk_convolutions(channels, size, width)
        self.patches = nn.PixelUnshuffle(PATCH)
        self.convolutions = nn.ModuleList([norm(layer) for layer in convolutions])
        self.score = norm(nn.Linear(features, 1))
        # Planes that hold the label, put beside a convolution's input, add one number a class to each of its output
        # channels (the image's border apart). These embeddings are those numbers, without the planes' cost.
        self.concatenated = nn.ModuleList(
            [nn.Embedding(classes, layer.out_channels) for layer in convolutions] if concat else []
        )
        self.projection = norm(nn.Embedding(classes, features)) if projection else None
        self.classifier = nn.Linear(features, classes) if classifier else None

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores each image as one of its class.

        Args:
            images: float32 [B, C, H, W] in [-1, 1].
            labels: int64 [B], each in [0, classes).

        Returns:
            Scores, float32 [B], unbounded; and the classifier's logits, float32 [B, classes], if there is one.
        """
        maps = self.patches(images)
        for index, convolution in enumerate(self.convolutions):
            maps = convolution(maps)
            if self.concatenated:
                maps = maps + self.concatenated[index](labels)[:, :, None, None].to(maps.dtype)
            maps = functional.leaky_relu(maps, 0.2, inplace=True)
        features = maps.flatten(1)
        scores = self.score(features).squeeze(1).float()
        if self.projection is not None:
            scores = scores + (self.projection(labels).to(features.dtype) * features).sum(1).float()
        return scores, None if self.classifier is None else self.classifier(features).float()
