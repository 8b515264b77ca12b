"""Serves shuffled batches of a small data set that lives on the training device as bytes.

MNIST-size nets train faster than a loader of Python processes can feed them; 60,000 images of 28x28 are 47 MB,
so they stay on the device and a batch is one gather there.
"""

import torch
from torch import Tensor

from training.data.dataset import ImageDataset
from training.data.permutations import Permutations


class ResidentBatches:
    """An endless stream of batches, in which the batch of a step is a function of (seed, step) alone."""

    def __init__(self, dataset: ImageDataset, batch: int, seed: int, device: torch.device) -> None:
        """Moves the data set to the device.

        Args:
            dataset: What to serve.
            batch: Images in a batch, at least 1.
            seed: Decides the permutations.
            device: Where the bytes live and the batches are made.
        """
        self._images = dataset.images.to(device)
        self._labels = dataset.labels.to(device)
        self._batch = batch
        self._order = Permutations(len(dataset), seed)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step.

        Args:
            step: Counted from 0.

        Returns:
            float32 images [B, C, H, W] in [-1, 1] and int64 labels [B], on the device.
        """
        indices = self._order.indices(step * self._batch, self._batch).to(self._labels.device)
        images = self._images[indices].to(torch.float32).div_(127.5).sub_(1)
        return images, self._labels[indices]
