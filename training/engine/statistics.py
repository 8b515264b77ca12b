"""Sums statistics on the device, so that the host waits for it only when someone reads them."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from training import distributed


class DivergedError(ArithmeticError):
    """A loss became infinite or NaN; the message names it and the images seen."""


class Statistics:
    """Means of named scalars between two readings, over all processes that train together."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds scalars, each to the mean of its name; the device is not waited for.

        Args:
            values: Scalar tensors, all on one device.
        """
        for name, value in values.items():
            known = self._sums.get(name)
            self._sums[name] = value.detach() if known is None else known + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self, images: int) -> dict[str, float]:
        """Gives the means since the last reading and starts anew.

        Args:
            images: Images seen so far, for the message of an error.

        Returns:
            Each name's mean.

        Raises:
            DivergedError: If one is not finite.
        """
        sums, counts = self._sums, self._counts
        self._sums, self._counts = {}, {}
        if not sums:
            return {}
        totals = distributed.mean(torch.stack([total.float() for total in sums.values()])).tolist()  # waits, once
        means = {name: total / counts[name] for name, total in zip(sums, totals, strict=True)}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise DivergedError(
                    f"{name} is {mean} after {images:,} images: training has diverged. The last checkpoint is from "
                    "before; lower --set optimizer.generator_lr and optimizer.discriminator_lr and start --fresh."
                )
        return means
