"""Sums statistics on the device, so that the host waits for it only when someone reads them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training import distributed


class DivergedError(ArithmeticError):
    """A loss became infinite or NaN; the message names it and the images seen."""


class Statistics:
    """Means of named scalars between two readings, over all processes that train together."""

    def __init__(self, device: torch.device | None = None) -> None:
        """Begins with no sums.

        Args:
            device: Where the scalars are; the CPU if None.
        """
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds scalars, each to the mean of its name; the device is not waited for.

        Args:
            values: float32 scalars, all on one device.
        """
        for name, value in values.items():
            known = self._sums.get(name)
            self._sums[name] = value.detach() if known is None else known + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self, images: int) -> dict[str, float]:
        """The means since the sums began; every process must ask.

        Args:
            images: Images seen so far, for the message of an error.

        Returns:
            Each name's mean.

        Raises:
            DivergedError: If one is not finite.
        """
        totals = distributed.mean(self._stacked()).tolist()  # waits, once
        means = {name: total / self._counts[name] for name, total in zip(self._sums, totals, strict=True)}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise DivergedError(
                    f"{name} is {mean} after {images:,} images: training has diverged. The last checkpoint is from "
                    "before; lower --set optimizer.generator_lr and optimizer.discriminator_lr and start --fresh."
                )
        return means

    def read(self, images: int) -> dict[str, float]:
        """Gives the means since the last reading and starts anew; see `means`."""
        means = self.means(images)
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """The sums of every process, [processes, names], and their counts; every process must ask."""
        return {"sums": distributed.gathered(self._stacked()[None]), "counts": self._counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave; among another number of processes, the means over those before."""
        sums = state_dict["sums"].to(self._device)
        own = sums[distributed.rank()] if len(sums) == distributed.count() else sums.mean(0)
        self._counts = state_dict["counts"]
        self._sums = dict(zip(self._counts, own, strict=True))

    def _stacked(self) -> Tensor:
        """float32 [names]."""
        if not self._sums:
            return torch.empty(0, device=self._device)
        return torch.stack([total.float() for total in self._sums.values()])
