"""Minibatch discrimination (Salimans et al., 2016, arXiv:1606.03498, section 3.2): a look at the batch as a whole.

A generator that makes one picture again and again is found out, since its pictures are too near each other.
"""

import torch
from torch import Tensor, nn

from training import distributed

_KERNEL = 5  # numbers in which two images are compared, for each number that comes of it
_STD = 0.05  # of the first weights


class MinibatchDiscrimination(nn.Module):
    """From the features of a batch to how near each image's are to all others'."""

    def __init__(self, features: int, kernels: int) -> None:
        """Draws the weights.

        Args:
            features: Of an image.
            kernels: Numbers that come of it.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, kernels * _KERNEL) * _STD)

    def forward(self, features: Tensor) -> Tensor:
        """Compares every image with every other, over all processes.

        Args:
            features: [B, F].

        Returns:
            [B, kernels]: Σ over the others of exp(−‖M_i − M_j‖₁), each in (0, B - 1].
        """
        own = (features @ self.weight.to(features.dtype)).float().unflatten(1, (-1, _KERNEL))
        distances = (own[:, None] - distributed.gathered(own)[None]).abs().sum(3)
        # An image is at distance 0 from itself, which says nothing of the others.
        return (torch.exp(-distances).sum(1) - 1).to(features.dtype)
