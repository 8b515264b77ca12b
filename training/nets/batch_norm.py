"""Batch normalisation whose batch is that of all processes that train together.

A process that normalised its share by that share alone would train another net than one process does, and a noisier one
the more processes there are. Torch's own `SyncBatchNorm` does this on GPUs only.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training import distributed


class _WholeBatchNorm(_BatchNorm):
    """Torch's own in evaluation and where one process trains alone; names and shapes of its state are torch's."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, maps: Tensor) -> Tensor:
        """Normalises [B, C, ...] for each channel; the statistics are taken in float32, whatever the input's type."""
        if not self.training or distributed.count() == 1:
            normalised: Tensor = super().forward(maps)
            return normalised
        exact = maps.float()
        over = [axis for axis in range(maps.ndim) if axis != 1]
        moments = torch.var_mean(exact, dim=over, correction=0)
        variances, means = distributed.gathered(torch.stack(moments)[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._remember(mean.detach(), variance.detach(), distributed.count() * maps.numel() // maps.shape[1])
        beside = (-1, *[1] * (maps.ndim - 2))  # the shape that stretches over [B, C, ...]
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return ((exact - mean.view(beside)) * scale.view(beside)).to(maps.dtype)
        scale = self.weight * scale
        return ((exact - mean.view(beside)) * scale.view(beside) + self.bias.view(beside)).to(maps.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, values: int) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (values / (values - 1)), self.momentum)


class BatchNorm1d(_WholeBatchNorm, nn.BatchNorm1d):
    """Of features [B, C]."""


class BatchNorm2d(_WholeBatchNorm, nn.BatchNorm2d):
    """Of maps [B, C, H, W]."""
