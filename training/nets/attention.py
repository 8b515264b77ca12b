"""Self-attention between the places of a map (SAGAN; Zhang et al., 2018, arXiv:1805.08318, section 3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.nets.discriminator import NormName, held

_NARROWER = 8  # times fewer channels within than outside


class SelfAttention(nn.Module):
    """Adds to each place what it finds at all others: γ·o + x, where γ is learnt and begins at 0."""

    def __init__(self, channels: int, norm: NormName) -> None:
        """Makes the layer.

        Args:
            channels: Of its input and output.
            norm: What holds its weights.
        """
        super().__init__()
        inner = max(1, channels // _NARROWER)
        self.query, self.key, self.value = (
            held(nn.Conv2d(channels, inner, 1, bias=False), norm) for _ in ("g", "f", "h")
        )
        self.output = held(nn.Conv2d(inner, channels, 1, bias=False), norm)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, channels, H, W] to the same shape."""
        query, key, value = (layer(maps).flatten(2) for layer in (self.query, self.key, self.value))
        # Written out, since the fused kernel has no second derivative, which penalties on slopes need.
        shares = functional.softmax(query.transpose(1, 2) @ key, dim=2)  # of each place, of all places
        found: Tensor = self.output((value @ shares.transpose(1, 2)).unflatten(2, maps.shape[2:]))
        return maps + self.gain * found
