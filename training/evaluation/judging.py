"""Trains the judge on real images, once for each data set and configuration, and has it look at images."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional
from tqdm import trange

from training import seeds
from training.data import ImageDataset, ResidentBatches
from training.engine.precision import autocast, resolve_precision
from training.nets.judge import Judge

_ROWS = 500
"""Images looked at in one pass."""


class JudgeConfig(BaseModel):
    """All that decides a judge's weights besides its data; part of the key it is cached by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: int = 1
    """Raised whenever a change of the code changes what is trained."""

    filters: Annotated[int, Field(ge=1)] = 32
    """Filters of the first pair of convolutions."""

    features: Annotated[int, Field(ge=1)] = 128
    """Size of the penultimate layer."""

    images: Annotated[int, Field(ge=1)] = 540_000
    """Images to train on in all, repeats counted ..."""

    epochs: Annotated[int, Field(ge=1)] = 30
    """... unless that is more than this many passes over the data."""

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


class Judgement(NamedTuple):
    """What the judge makes of some images.

    Attributes:
        features: Penultimate features, float32 [N, D].
        labels: The class it takes each image for, int64 [N].
    """

    features: Tensor
    labels: Tensor


def judge_for(
    training_split: ImageDataset, cache_dir: Path, config: JudgeConfig, device: torch.device | None = None
) -> Judge:
    """The judge of a data set: from the cache, or trained now and put there.

    Args:
        training_split: The real images to train on; other images have another judge, whatever the name.
        cache_dir: Where judges are kept; made if absent.
        config: How to train.
        device: Where to train, the CPU where None.

    Returns:
        A judge in evaluation mode, on the device.
    """
    device = device or torch.device("cpu")
    path = cache_dir / f"judge-{training_split.name}-{_key(training_split, config)}.pt"
    judge = _untrained(training_split, config).to(device)
    if path.exists():
        judge.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        return judge.eval()
    _train(judge, training_split, config, device)
    cache_dir.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    torch.save(judge.state_dict(), partial)
    partial.replace(path)  # at once, so that no reader meets half a file
    return judge.eval()


@torch.inference_mode()
def judged(judge: Judge, images: Tensor) -> Judgement:
    """Shows images to the judge, in float32.

    Args:
        judge: In evaluation mode.
        images: uint8 [N, C, H, W], on any device.

    Returns:
        Features and classes, on the CPU.
    """
    device = judge.head.weight.device
    features = torch.cat([judge.features(_scaled(part.to(device))) for part in images.split(_ROWS)])
    return Judgement(features.cpu(), judge.logits(features).argmax(1).cpu())


def _train(judge: Judge, data: ImageDataset, config: JudgeConfig, device: torch.device) -> None:
    """Cross-entropy under a one-cycle schedule (Smith & Topin 2019), images shifted at random."""
    batches = ResidentBatches(data, config.batch, config.seed, device)
    shifts = seeds.random_source(config.seed, "judge", "shifts")
    steps = max(1, min(config.images, config.epochs * len(data)) // config.batch)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    precision = resolve_precision("auto", device)
    judge.train()
    for step in trange(steps, desc=f"judge of {data.name}", unit="step", leave=False):
        images, labels = batches.batch(step)
        shifted = _shifted(images, config.shift, shifts).contiguous(memory_format=torch.channels_last)
        with autocast(precision, device):
            logits = judge(shifted)
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


def _untrained(data: ImageDataset, config: JudgeConfig) -> Judge:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive_seed(config.seed, "judge", "weights"))
        channels, height, width = data.images.shape[1:]
        return Judge(channels, height, width, len(data.class_names), config.filters, config.features)


def _key(data: ImageDataset, config: JudgeConfig) -> str:
    digest = hashlib.sha256(config.model_dump_json().encode())
    for tensor in (data.images, data.labels):
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _scaled(images: Tensor) -> Tensor:
    """Bytes to float32 in [-1, 1], as the judge was trained."""
    scaled = images.to(torch.float32).div_(127.5).sub_(1)
    return scaled.contiguous(memory_format=torch.channels_last)
