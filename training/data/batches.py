"""Serves shuffled batches: from bytes on the training device where they fit, else decoded ahead in threads.

MNIST-size nets train faster than a loader of Python processes can feed them; 60,000 images of 28x28 are 47 MB,
so they stay on the device and a batch is one gather there.
"""

import torch
from torch import Tensor

from training.data.dataset import ImageDataset
from training.data.streams import ahead, shuffled


class Batches:
    """An endless stream of batches, in which the batch of a step is a function of (seed, step) alone."""

    def __init__(self, dataset: ImageDataset, batch: int, seed: int, device: torch.device) -> None:
        """Moves images and what is known of them to the device, where the images are in memory."""
        self._images, self._known = dataset.images, dataset.known
        self._size, self._batch, self._seed, self._device = len(dataset), batch, seed, device
        self._get = ahead(self._gathered)
        if isinstance(self._images, Tensor):
            self._images = self._images.to(device)
            self._known = {name: values.to(device) for name, values in self._known.items()}
            self._get = self._gathered

    def batch(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The batch of a step, counted from 0; a picture that is decoded now and cannot be read raises a DataError.

        Returns:
            float32 images [B, C, H, W] in [-1, 1], and what is known of them as of `ImageDataset.known`; on the device.
        """
        pixels, known = self._get(step)
        images = pixels.to(self._device, non_blocking=True).to(torch.float32).div_(127.5).sub_(1)
        return images, {name: values.to(self._device) for name, values in known.items()}

    def _gathered(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        indices = shuffled(self._size, self._seed, step * self._batch, self._batch)
        if isinstance(self._images, Tensor):
            indices = indices.to(self._device)
        pixels = self._images[indices]
        on_host = self._device.type == "cuda" and pixels.device.type == "cpu"
        known = {name: values[indices] for name, values in self._known.items()}
        return pixels.pin_memory() if on_host else pixels, known
