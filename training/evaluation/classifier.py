"""Trains a classifier on real images, once for each data set and configuration; evaluation measures in its features."""

import hashlib
import os
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


def classifier_for(train: ImageDataset, cache_dir: Path, config: ClassifierConfig, device: torch.device) -> Classifier:
    """The classifier of a data set, in evaluation mode: from the cache, or trained now and put there.

    Other images have another classifier, whatever the data set's name; so has each kind of device and arithmetic.
    """
    arithmetic = f"{device.type} {resolve_precision('auto', device)}"
    decisive = f"{config.model_dump_json()} {arithmetic}{train.split} {len(train)} {train.info.fingerprint}"
    path = cache_dir / f"classifier-{train.name}-{hashlib.sha256(decisive.encode()).hexdigest()[:16]}.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive_seed(config.seed, "classifier", "weights"))
        channels, height, width = train.images.shape[1:]
        classifier = Classifier(channels, height, width, len(train.class_names), config.filters, config.features)
    classifier.to(device)
    if path.exists():
        classifier.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    else:
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
    """
    parts = []
    for part in images.split(_ROWS):
        scaled = part.to(classifier.head.weight.device, torch.float32).div_(127.5).sub_(1)
        parts.append(classifier.features(scaled.contiguous(memory_format=torch.channels_last)))
    features = torch.cat(parts)
    return Extracted(features.cpu(), classifier.head(features).argmax(1).cpu())


def _train(classifier: Classifier, data: ImageDataset, config: ClassifierConfig, device: torch.device) -> None:
    """Cross-entropy under a one-cycle schedule (Smith & Topin 2019), images shifted at random."""
    wanted = int(min(config.images * min(1, _PIXELS / data.info.size**2), config.epochs * len(data)))
    batch = min(config.batch, max(_LEAST_BATCH, wanted // config.steps))
    steps = max(config.steps, wanted // batch)
    distributed.say(f"training a classifier of {data.name} ({steps * batch:,} images)…")
    batches = Batches(data, batch, config.seed, device)
    shifts = seeds.random_source(config.seed, "classifier", "shifts")
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    precision = resolve_precision("auto", device)
    classifier.train()
    for step in track(range(steps), f"classifier of {data.name}", transient=True):
        images, known = batches.batch(step)
        shifted = _shifted(images, config.shift, shifts).contiguous(memory_format=torch.channels_last)
        with autocast(precision, device):
            logits = classifier(shifted)
        functional.cross_entropy(logits.float(), known["labels"]).backward()
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
