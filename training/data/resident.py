"""Serves shuffled batches of a small data set that lives on the training device as bytes.

MNIST-size nets train faster than a loader of Python processes can feed them; 60,000 images of 28x28 are 47 MB,
so they stay on the device and a batch is one gather there.
"""

import torch
from torch import Tensor

from training import seeds
from training.data.dataset import ImageDataset


class ResidentBatches:
    """An endless stream of batches, in which the batch of a step is a function of (seed, step) alone.

    The stream is one permutation of the data set after another, one an epoch; a batch may span two of them, so
    that no image is left out.
    """

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
        self._seed = seed
        self._device = device
        self._permutations: dict[int, Tensor] = {}

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step.

        Args:
            step: Counted from 0.

        Returns:
            float32 images [B, C, H, W] in [-1, 1] and int64 labels [B], on the device.
        """
        indices = self._indices(step * self._batch, self._batch)
        images = self._images[indices].to(torch.float32).div_(127.5).sub_(1)
        return images, self._labels[indices]

    def _indices(self, start: int, count: int) -> Tensor:
        size = len(self._labels)
        parts = []
        while count:
            epoch, offset = divmod(start, size)
            part = self._permutation(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._permutations:
            order = torch.randperm(len(self._labels), generator=seeds.random_source(self._seed, "epoch", epoch))
            # Only a batch that spans two epochs needs more than one.
            kept = {known: value for known, value in self._permutations.items() if known == epoch - 1}
            self._permutations = {**kept, epoch: order.to(self._device)}
        return self._permutations[epoch]
