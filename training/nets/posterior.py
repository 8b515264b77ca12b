"""Q(c|x), which reads an InfoGAN's codes from what the discriminator sees (Chen et al., 2016, arXiv:1606.03657)."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from training.config import SettingsGroup
from training.nets.batch_norm import BatchNorm1d

_LOG_VARIANCES = (-6.0, 2.0)  # bounds that keep the likelihood's gradient finite


class PosteriorConfig(SettingsGroup):
    """Q, which reads the codes from an image; it shares the discriminator's trunk."""

    hidden: Annotated[int, Field(ge=1, le=4096)] = 128
    """Features of Q's own layer between the trunk and the codes."""

    learned_variance: bool = False
    """Whether Q also gives the variance of a continuous code; else it is 1, and the bound a squared error."""


class Reading(NamedTuple):
    """What Q reads from images.

    Attributes:
        categorical: For each categorical code its logits, float32 [B, values].
        mean: Of all continuous codes in order, float32 [B, numbers].
        log_variance: Theirs, float32 [B, numbers]; zeros where the variance is not learnt.
    """

    categorical: list[Tensor]
    mean: Tensor
    log_variance: Tensor


class Posterior(nn.Module):
    """Q(c|x): what the codes of images are, from the discriminator's features."""

    def __init__(self, features: int, config: PosteriorConfig, categorical: Sequence[int], continuous: int) -> None:
        """Makes the net.

        Args:
            features: Size of what it reads from.
            config: Its shape.
            categorical: Number of values of each categorical code.
            continuous: Numbers in all continuous codes together.
        """
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(features, config.hidden, bias=False), BatchNorm1d(config.hidden), nn.LeakyReLU(0.2, inplace=True)
        )
        self.categorical = nn.ModuleList([nn.Linear(config.hidden, values) for values in categorical])
        self.mean = nn.Linear(config.hidden, continuous)
        self.log_variance = nn.Linear(config.hidden, continuous) if config.learned_variance else None

    def forward(self, features: Tensor) -> Reading:
        """Reads codes from features [B, F]."""
        hidden = self.hidden(features)
        mean = self.mean(hidden).float()
        log_variance = torch.zeros_like(mean) if self.log_variance is None else _bounded(self.log_variance(hidden))
        return Reading([layer(hidden).float() for layer in self.categorical], mean, log_variance)


def _bounded(log_variance: Tensor) -> Tensor:
    low, high = _LOG_VARIANCES
    return low + (high - low) * functional.sigmoid(log_variance.float())
