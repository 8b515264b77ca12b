"""Trains a classifier on real images, once for each data set and configuration; evaluation measures in its features."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from training import seeds
from training.data import Batches, ImageDataset
from training.engine.precision import autocast, resolve_precision
from training.nets.classifier import Classifier

_ROWS = 500
"""Images classified in one pass."""

_PIXELS = 28 * 28


class ClassifierConfig(BaseModel):
    """All that decides a classifier's weights besides its data, device and arithmetic; it is cached by all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: int = 2
    """Raised whenever a change of the code changes what is trained."""

    filters: Annotated[int, Field(ge=1)] = 32
    """Filters of the first pair of convolutions."""

    features: Annotated[int, Field(ge=1)] = 128
    """Size of the penultimate layer."""

    images: Annotated[int, Field(ge=1)] = 540_000
    """Images of 28x28 to train on in all, repeats counted; of larger ones as many fewer as they have more pixels."""

    epochs: Annotated[int, Field(ge=1)] = 30
    """The most passes over the data."""

    batch: Annotated[int, Field(ge=2)] = 256
    """Images in a batch."""

    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Peak of the one-cycle schedule."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    """AdamW's."""

    shift: Annotated[float, Field(ge=0, lt=0.5)] = 0.08
    """Images are shifted by up to this share of their side."""

    seed: int = 0
    """Decides initial weights, order and shifts."""


class Extracted(NamedTuple):
    """What a network sees in pictures; both on the CPU.

    Attributes:
        features: float32 [N, D].
        classes: The class it takes each picture for, int64 [N].
    """

    features: Tensor
    classes: Tensor


def classifier_for(
    train: ImageDataset, cache_dir: Path, config: ClassifierConfig, device: torch.device | None = None
) -> Classifier:
    """The classifier of a data set: from the cache, or trained now and put there.

    Args:
        train: The real images to train on; other images have another classifier, whatever the name.
        cache_dir: Where classifiers are kept; made if absent.
        config: How to train.
        device: Where to train, the CPU where None; each kind of device and arithmetic has its own classifier.

    Returns:
        A classifier in evaluation mode, on the device.
    """
    device = device or torch.device("cpu")
    path = cache_dir / f"classifier-{train.name}-{_key(train, config, device)}.pt"
    classifier = _untrained(train, config).to(device)
    if path.exists():
        classifier.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        return classifier.eval()
    _train(classifier, train, config, device)
    cache_dir.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    torch.save(classifier.state_dict(), partial)
    partial.replace(path)  # at once, so that no reader meets half a file
    return classifier.eval()


@torch.inference_mode()
def classify(classifier: Classifier, images: Tensor) -> Extracted:
    """Shows images to a classifier, in float32.

    Args:
        classifier: In evaluation mode.
        images: uint8 [N, C, H, W], on any device.

    Returns:
        Its penultimate features, none negative, and its classes.
    """
    device = classifier.head.weight.device
    features = torch.cat([classifier.features(_scaled(part.to(device))) for part in images.split(_ROWS)])
    return Extracted(features.cpu(), classifier.logits(features).argmax(1).cpu())


def _train(classifier: Classifier, data: ImageDataset, config: ClassifierConfig, device: torch.device) -> None:
    """Cross-entropy under a one-cycle schedule (Smith & Topin 2019), images shifted at random."""
    batches = Batches(data, config.batch, config.seed, device)
    shifts = seeds.random_source(config.seed, "classifier", "shifts")
    wanted = config.images * min(1, _PIXELS / data.info.size**2)
    steps = max(1, int(min(wanted, config.epochs * len(data))) // config.batch)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    precision = resolve_precision("auto", device)
    classifier.train()
    for step in track(range(steps), f"classifier of {data.name}", transient=True):
        images, labels = batches.batch(step)
        assert labels is not None
        shifted = _shifted(images, config.shift, shifts).contiguous(memory_format=torch.channels_last)
        with autocast(precision, device):
            logits = classifier(shifted)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def _shifted(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Moves each image by its own whole number of pixels, its border repeated where it leaves a gap."""
    count, _, height, width = images.shape
    reach_y, reach_x = round(share * height), round(share * width)
    padded = functional.pad(images, (reach_x, reach_x, reach_y, reach_y), mode="replicate")
    top = torch.randint(2 * reach_y + 1, (count, 1), generator=generator)
    left = torch.randint(2 * reach_x + 1, (count, 1), generator=generator)
    rows = (top + torch.arange(height)).to(images.device)
    columns = (left + torch.arange(width)).to(images.device)
    which = torch.arange(count, device=images.device)
    # Indexing puts the indexed dimensions first: [B, H, W, C].
    return padded[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _untrained(data: ImageDataset, config: ClassifierConfig) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive_seed(config.seed, "classifier", "weights"))
        channels, height, width = data.images.shape[1:]
        return Classifier(channels, height, width, len(data.class_names), config.filters, config.features)


def _key(data: ImageDataset, config: ClassifierConfig, device: torch.device) -> str:
    arithmetic = f"{device.type} {resolve_precision('auto', device)}"
    digest = hashlib.sha256(f"{config.model_dump_json()} {arithmetic}".encode())
    digest.update(f"{data.split} {len(data)} {data.info.fingerprint}".encode())
    return digest.hexdigest()[:16]


def _scaled(images: Tensor) -> Tensor:
    """Bytes to float32 in [-1, 1], as the classifier was trained."""
    scaled = images.to(torch.float32).div_(127.5).sub_(1)
    return scaled.contiguous(memory_format=torch.channels_last)
