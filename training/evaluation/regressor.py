"""Trains a network that reads the attributes of real images, where no function measures them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from training.data import ImageDataset
from training.evaluation.classifier import ClassifierConfig, look, network_for


def regressor_for(
    train: ImageDataset, cache_dir: Path, config: ClassifierConfig, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """From images, uint8 [N, C, H, W], to their attributes as they are read, float32 [N, attributes]; on the CPU.

    Images are shown to it where they are, since an attribute may be a place.
    """

    def loss(read: Tensor, known: Mapping[str, Tensor]) -> Tensor:
        return functional.mse_loss(read, known["attributes"])

    settings = config.model_copy(update={"shift": 0})
    network = network_for("regressor", len(train.attribute_meanings), loss, train, cache_dir, settings, device)
    return lambda images: look(network, images)[1]
