"""The discriminator of an InfoGAN (Chen et al., 2016, arXiv:1606.03657), with Q, which guesses the codes of an image.

Both share all layers but their last. The generator is `training.nets.dcgan.Generator`, whose condition is the codes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from training.nets.batch_norm import BatchNorm1d
from training.nets.dcgan import PATCH, trunk_convolutions, unchanged

_LOG_VARIANCES = (-6.0, 2.0)  # bounds that keep the likelihood's gradient finite


class Guess(NamedTuple):
    """Q's guess of the codes.

    Attributes:
        categorical: For each categorical code its logits, float32 [B, values].
        mean: Of all continuous codes in order, float32 [B, numbers].
        log_variance: Theirs, float32 [B, numbers]; zeros where the variance is not learnt.
    """

    categorical: list[Tensor]
    mean: Tensor
    log_variance: Tensor


class InfoDiscriminator(nn.Module):
    """Images to one score each, and to a guess of their codes."""

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        width: int,
        normalise: bool,
        hidden: int,
        categorical: Sequence[int],
        continuous: int,
        learned_variance: bool,
    ) -> None:
        """Makes the net.

        Args:
            channels: Channels of the images.
            size: Height and width of the images; even.
            width: Channels of the first feature maps; each lower resolution has twice as many.
            normalise: Whether every layer of the trunk and the score is spectrally normalised.
            hidden: Features of Q's own layer.
            categorical: Number of values of each categorical code.
            continuous: Numbers in all continuous codes together.
            learned_variance: Whether Q gives their variance; else it is 1.

        Raises:
            ValueError: If `size` is odd.
        """
        super().__init__()
        norm = spectral_norm if normalise else unchanged
        convolutions, features = trunk_convolutions(channels, size, width)
        layers: list[nn.Module] = [nn.PixelUnshuffle(PATCH)]
        for convolution in convolutions:
            layers += [norm(convolution), nn.LeakyReLU(0.2, inplace=True)]
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.score = norm(nn.Linear(features, 1))
        self.hidden = nn.Sequential(
            nn.Linear(features, hidden, bias=False), BatchNorm1d(hidden), nn.LeakyReLU(0.2, inplace=True)
        )
        self.categorical = nn.ModuleList([nn.Linear(hidden, values) for values in categorical])
        self.mean = nn.Linear(hidden, continuous)
        self.log_variance = nn.Linear(hidden, continuous) if learned_variance else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores images.

        Args:
            images: float32 [B, C, H, W] in [-1, 1].

        Returns:
            Scores, float32 [B], unbounded; and the features that `guess` takes, [B, F].
        """
        features = self.trunk(images)
        return self.score(features).squeeze(1).float(), features

    def guess(self, features: Tensor) -> Guess:
        """Q: what the codes of images are.

        Args:
            features: [B, F], from `forward`.

        Returns:
            The guess.
        """
        hidden = self.hidden(features)
        mean = self.mean(hidden).float()
        log_variance = torch.zeros_like(mean) if self.log_variance is None else self._bounded(hidden)
        return Guess([layer(hidden).float() for layer in self.categorical], mean, log_variance)

    def _bounded(self, hidden: Tensor) -> Tensor:
        assert self.log_variance is not None
        low, high = _LOG_VARIANCES
        return low + (high - low) * functional.sigmoid(self.log_variance(hidden).float())
