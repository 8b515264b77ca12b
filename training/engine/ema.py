"""The exponential moving average of the generator's weights: the generator that is kept and served."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from training.config import EmaConfig

_SINGULAR_VECTORS = ("parametrizations.weight.0._u", "parametrizations.weight.0._v")  # as torch names them


class Ema:
    """An averaged copy of a net, always in evaluation mode.

    The running statistics of batch normalisation are averaged with the weights, so that they belong to each other;
    whole numbers (batch counters) are copied, and so are the singular vectors of spectral normalisation, of which a
    mean would be too short.
    """

    def __init__(self, net: nn.Module, config: EmaConfig) -> None:
        """Copies the net as it is now.

        Args:
            net: The net that learns.
            config: The half-life and its ramp-up.
        """
        self.module = copy.deepcopy(net).eval().requires_grad_(False)
        self._config = config

    @torch.no_grad()
    def update(self, net: nn.Module, images: int, batch: int) -> None:
        """Moves the average towards the net.

        Args:
            net: The net that learns.
            images: Images seen so far, this batch included.
            batch: Images since the last update.
        """
        half_life = min(self._config.half_life, images * self._config.rampup)
        share = 1 - 0.5 ** (batch / half_life)
        averages: list[Tensor] = []
        values: list[Tensor] = []
        now = net.state_dict()
        for name, average in self.module.state_dict().items():
            if average.is_floating_point() and not name.endswith(_SINGULAR_VECTORS):
                averages.append(average)
                values.append(now[name])
            else:
                average.copy_(now[name])
        torch._foreach_lerp_(averages, values, share)

    def state_dict(self) -> dict[str, Any]:
        """The averaged net's state."""
        return self.module.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.module.load_state_dict(state_dict)
