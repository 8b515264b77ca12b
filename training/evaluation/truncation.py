"""Latents without their tails, which make fewer kinds of pictures, each more typical (BigGAN).

Brock et al., 2018, arXiv:1809.11096, section 3.1: values beyond a threshold are drawn again until they lie within.
Serving's truncation ψ is another map: it multiplies every value by ψ, so that a seed gives a more typical picture
of the same kind, and latents stay normal, with the deviation ψ.
"""

import torch
from torch import Tensor


def truncated_normal(count: int, size: int, threshold: float, source: torch.Generator) -> Tensor:
    """Draws latents from the standard normal distribution within a threshold.

    Args:
        count: How many.
        size: Numbers in each.
        threshold: The largest absolute value, more than 0; 2 and more change little.
        source: Where randomness comes from.

    Returns:
        float32 [count, size], each value in [-threshold, threshold].
    """
    latents = torch.randn(count, size, generator=source)
    while len(beyond := (latents.abs() > threshold).nonzero()):
        latents[tuple(beyond.T)] = torch.randn(len(beyond), generator=source)
    return latents
