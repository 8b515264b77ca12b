"""RealnessGAN's losses (Xiangli et al., 2020, arXiv:2002.05512): an image is real to a distribution of degrees.

The discriminator gives logits of outcomes, the least real first. Two anchors are what it is to answer: one for real
images, one for samples. Divergences are KL(anchor ‖ answer), so with two outcomes and each anchor wholly on one of them
the discriminator's loss is the original GAN's cross-entropy, where the difference of the two logits is the score.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_SHAPE = 5.0  # of the skewed normal distributions
_RANGE = 3.0  # standard deviations, either way, that the outcomes stand for


def divergence(wanted: Tensor, outputs: Tensor) -> Tensor:
    """KL(wanted ‖ D(x)) in nats, mean over the images, a float32 scalar.

    Args:
        wanted: A distribution over the outcomes, [outcomes], or one for each image, [B, outcomes].
        outputs: Logits, [B, outcomes].
    """
    given = outputs.float().log_softmax(1)
    excess: Tensor = torch.special.xlogy(wanted, wanted) - wanted * given
    return excess.sum(1).mean()


class Realness(NamedTuple):
    """The losses for a pair of anchors.

    Attributes:
        real: The paper's A₁, what the discriminator is to answer of real images; float32 [outcomes], sums to one.
        fake: A₀, what it is to answer of samples.
    """

    real: Tensor
    fake: Tensor

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """KL(A₁ ‖ D(x)) + KL(A₀ ‖ D(G(z))), eq. 3, a float32 scalar."""
        return divergence(self.real.to(real.device), real) + divergence(self.fake.to(fake.device), fake)

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """KL(D(x) ‖ D(G(z))) − KL(A₀ ‖ D(G(z))) of pairs, the relativistic one of the paper's, a float32 scalar."""
        assert real is not None
        return divergence(real.float().softmax(1), fake) - divergence(self.fake.to(fake.device), fake)


def skewed_anchors(outcomes: int) -> Realness:
    """Anchors shaped like normal distributions that are skewed to either end, one the other's mirror image.

    Their shape, ±5, is that of the authors' code, which draws them at random; here they are the density itself, so that
    all runs have the same.

    Args:
        outcomes: How many, 2 or more; for 2 each anchor is wholly on one.
    """
    places = torch.linspace(-_RANGE, _RANGE, outcomes, dtype=torch.float64)
    density = torch.exp(-places.square() / 2) * torch.special.ndtr(_SHAPE * places)
    real = (density / density.sum()).float()
    return Realness(real, real.flip(0))


def expected_realness(outputs: Tensor) -> Tensor:
    """The mean of the answer where outcomes stand for numbers evenly from −1 to 1.

    Args:
        outputs: Logits, [B, outcomes].

    Returns:
        float32 [B] in [−1, 1].
    """
    values = torch.linspace(-1, 1, outputs.shape[1], device=outputs.device)
    return (outputs.float().softmax(1) * values).sum(1)
