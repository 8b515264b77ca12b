"""What a person sees of a run: the progress bar, TensorBoard's curves, and a grid of samples at each tick."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from PIL import Image
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training import seeds
from training.config import TrainConfig
from training.data import DatasetInfo
from training.engine.runs import RunDir
from training.evaluation.grids import grid, to_uint8

SAMPLES_PER_CLASS = 10
"""Columns of a grid."""

_SMALLEST_VIEW = 56  # pixels; smaller images are enlarged by a whole factor, so that one can judge them by eye


class Observer:
    """Shows a run's progress; a context manager."""

    def __init__(self, place: RunDir, config: TrainConfig, data: DatasetInfo, images: int) -> None:
        """Opens the bar and TensorBoard's file.

        Args:
            place: The run's directory.
            config: The run's configuration.
            data: The classes, which are the grid's rows, and the images' size.
            images: Images seen already.
        """
        self._place = place
        self._enlarge = max(1, _SMALLEST_VIEW // data.size)
        classes = len(data.class_names)
        source = seeds.random_source(config.seed, "grid")
        self._latents = torch.randn(classes * SAMPLES_PER_CLASS, config.generator.latent_size, generator=source)
        self._labels = torch.arange(classes).repeat_interleave(SAMPLES_PER_CLASS)
        self._writer = SummaryWriter(str(place.tensorboard), purge_step=images + 1)
        self._bar = tqdm(total=config.images, initial=images, unit=" images", unit_scale=True, smoothing=0.05)
        self._last_tick = (images, time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._writer.close()

    def advance(self, batch: int) -> None:
        """Moves the bar on by a step's images."""
        self._bar.update(batch)

    def tick(self, images: int, statistics: dict[str, float], generator: nn.Module) -> Path:
        """Reports the time since the last tick and draws the fixed samples, one row a class.

        Args:
            images: Images seen so far.
            statistics: Means since the last tick.
            generator: The averaged generator.

        Returns:
            The grid's file.
        """
        before, then = self._last_tick
        self._last_tick = (images, time.monotonic())
        rate = (images - before) / (self._last_tick[1] - then)
        for name, value in {**statistics, "speed/images_per_second": rate}.items():
            self._writer.add_scalar(name, value, images)
        self._bar.set_postfix({name: f"{value:.3f}" for name, value in statistics.items() if "loss" in name})
        picture = self._draw(generator)
        path = self._place.grid(images)
        picture.save(path)
        self._writer.add_image("samples", _channels_first(picture), images)
        self._writer.flush()
        return path

    @torch.no_grad()
    def _draw(self, generator: nn.Module) -> Image.Image:
        device = next(generator.parameters()).device
        samples = to_uint8(generator(self._latents.to(device), self._labels.to(device)))
        enlarged = samples.repeat_interleave(self._enlarge, dim=2).repeat_interleave(self._enlarge, dim=3)
        return grid(enlarged, columns=SAMPLES_PER_CLASS)


def _channels_first(picture: Image.Image) -> torch.Tensor:
    """uint8 [3, H, W], as TensorBoard takes it."""
    width, height = picture.size
    pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, 3).permute(2, 0, 1)
