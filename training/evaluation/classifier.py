"""Trains a classifier on real images, once for each data set and configuration; evaluation measures in its features."""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from training import distributed, seeds
from training.data import Batches, ImageDataset
from training.engine.precision import autocast, resolve_precision
from training.nets.classifier import Classifier

_ROWS = 500  # images classified in one pass
_PIXELS = 28 * 28
_LEAST_BATCH = 32


class ClassifierConfig(BaseModel):
    """All that decides a classifier's weights besides its data, device and arithmetic; it is cached by all of them."""

    model_config = ConfigDict(frozen=True)

    revision: int = 3  # raised whenever a change of the code changes what is trained
    filters: int = 32  # of the first pair of convolutions
    features: int = 128  # size of the penultimate layer
    images: int = 120_000  # of 28x28 in all, repeats counted; of larger ones as many fewer as they have more pixels
    epochs: int = 30  # the most passes over the data
    steps: int = 300  # the fewest, whatever that makes of images and epochs
    batch: int = 256  # at most; it shrinks down to 32 where the steps would be too few
    learning_rate: float = 3e-3  # peak of the one-cycle schedule
    weight_decay: float = 0.02
    shift: float = 0.08  # images are shifted by up to this share of their side
    seed: int = 0  # decides initial weights, order and shifts


class Extracted(NamedTuple):
    """What a network sees in pictures: features, float32 [N, D], and the class of each, int64 [N]; on the CPU."""

    features: Tensor
    classes: Tensor


Loss = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""From a network's outputs and what is known of the images, as of `ImageDataset.known`, to a scalar."""


def classifier_for(train: ImageDataset, cache_dir: Path, config: ClassifierConfig, device: torch.device) -> Classifier:
    """The classifier of a data set, in evaluation mode: from the cache, or trained now and put there."""

    def loss(logits: Tensor, known: Mapping[str, Tensor]) -> Tensor:
        return functional.cross_entropy(logits, known["labels"])

    return network_for("classifier", len(train.class_names), loss, train, cache_dir, config, device)


def network_for(
    name: str,
    outputs: int,
    loss: Loss,
    train: ImageDataset,
    cache_dir: Path,
    config: ClassifierConfig,
    device: torch.device,
) -> Classifier:
    """A network that has learnt what is known of a data set, in evaluation mode: from the cache, or trained now.

    Other images have another one, whatever the data set's name; so has each kind of device and arithmetic.

    Args:
        name: What it is, e.g. "classifier".
        outputs: Numbers that it gives for an image.
        loss: What it learns.
        train: What it learns from.
        cache_dir: Where it is kept.
        config: How it learns.
        device: Where it lives.
    """
    arithmetic = f"{device.type} {resolve_precision('auto', device)}"
    decisive = f"{config.model_dump_json()} {arithmetic}{train.split} {len(train)} {train.info.fingerprint}"
    path = cache_dir / f"{name}-{train.name}-{hashlib.sha256(decisive.encode()).hexdigest()[:16]}.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive_seed(config.seed, name, "weights"))
        channels, height, width = train.images.shape[1:]
        network = Classifier(channels, height, width, outputs, config.filters, config.features)
    network.to(device)
    if path.exists():
        network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    else:
        _train(name, network, loss, train, config, device)
        cache_dir.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        torch.save(network.state_dict(), partial)
        partial.replace(path)  # at once, so that no reader meets half a file
    return network.eval()


def classify(classifier: Classifier, images: Tensor) -> Extracted:
    """Shows images, uint8 [N, C, H, W] on any device, to a classifier in evaluation mode."""
    features, logits = look(classifier, images)
    return Extracted(features, logits.argmax(1))


@torch.inference_mode()
def look(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features, float32 [N, D], and outputs, float32 [N, outputs], on the CPU, of images as of `classify`."""
    parts = []
    for part in images.split(_ROWS):
        scaled = part.to(network.head.weight.device, torch.float32).div_(127.5).sub_(1)
        parts.append(network.features(scaled.contiguous(memory_format=torch.channels_last)))
    features = torch.cat(parts)
    return features.cpu(), network.head(features).cpu()


def _train(
    name: str, network: Classifier, loss: Loss, data: ImageDataset, config: ClassifierConfig, device: torch.device
) -> None:
    """Learns under a one-cycle schedule (Smith & Topin 2019), images shifted at random."""
    wanted = int(min(config.images * min(1, _PIXELS / data.info.size**2), config.epochs * len(data)))
    batch = min(config.batch, max(_LEAST_BATCH, wanted // config.steps))
    steps = max(config.steps, wanted // batch)
    distributed.say(f"training a {name} of {data.name} ({steps * batch:,} images)…")
    batches = Batches(data, batch, config.seed, device)
    shifts = seeds.random_source(config.seed, name, "shifts")
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    precision = resolve_precision("auto", device)
    network.train()
    for step in track(range(steps), f"{name} of {data.name}", transient=True):
        images, known = batches.batch(step)
        shifted = _shifted(images, config.shift, shifts).contiguous(memory_format=torch.channels_last)
        with autocast(precision, device):
            outputs = network(shifted)
        loss(outputs.float(), known).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def _shifted(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Moves each image by its own whole number of pixels, its border repeated where it leaves a gap."""
    count, side = len(images), images.shape[-1]
    reach = round(share * side)
    pixels = torch.randint(-reach, reach + 1, (count, 2), generator=generator)
    moves = torch.eye(2, 3).repeat(count, 1, 1)
    moves[:, :, 2] = pixels * 2 / side
    grid = functional.affine_grid(moves.to(images.device), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="border", align_corners=False)
