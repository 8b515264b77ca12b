"""Serves shuffled batches: from bytes on the training device where they fit, else decoded ahead in threads.

MNIST-size nets train faster than a loader of Python processes can feed them; 60,000 images of 28x28 are 47 MB,
so they stay on the device and a batch is one gather there.
"""

import torch
from torch import Tensor

from training.data.dataset import ImageDataset
from training.data.permutations import Permutations
from training.data.streams import Ahead


class Batches:
    """An endless stream of batches, in which the batch of a step is a function of (seed, step) alone."""

    def __init__(self, dataset: ImageDataset, batch: int, seed: int, device: torch.device) -> None:
        """Moves the labels to the device, and the images where they are in memory.

        Args:
            dataset: What to serve.
            batch: Images in a batch, at least 1.
            seed: Decides the permutations.
            device: Where the batches are made.
        """
        self._images = dataset.images.to(device) if isinstance(dataset.images, Tensor) else dataset.images
        self._labels = None if dataset.labels is None else dataset.labels.to(device)
        self._batch = batch
        self._device = device
        self._order = Permutations(len(dataset), seed)
        self._ahead = Ahead(self._indices, self._decoded)

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """The batch of a step.

        Args:
            step: Counted from 0.

        Returns:
            float32 images [B, C, H, W] in [-1, 1] and int64 labels [B], on the device; None without classes.

        Raises:
            DataError: If a picture that is decoded now cannot be read.
        """
        indices = self._indices(step).to(self._device)
        resident = isinstance(self._images, Tensor)
        pixels = self._images[indices] if resident else self._ahead.get(step).to(self._device, non_blocking=True)
        images = pixels.to(torch.float32).div_(127.5).sub_(1)
        return images, None if self._labels is None else self._labels[indices]

    def _indices(self, step: int) -> Tensor:
        return self._order.indices(step * self._batch, self._batch)

    def _decoded(self, indices: Tensor) -> Tensor:
        pixels = self._images[indices]
        return pixels.pin_memory() if self._device.type == "cuda" else pixels
