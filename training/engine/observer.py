"""What a person sees of a run: the progress bar, TensorBoard's curves, and a grid of samples at each tick."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from PIL import Image
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.config import TrainConfig
from training.engine.runs import RunDir


class Observer:
    """Shows a run's progress; a context manager."""

    def __init__(
        self, place: RunDir, config: TrainConfig, view: Callable[[nn.Module], Image.Image], images: int
    ) -> None:
        """Opens the bar and TensorBoard's file.

        Args:
            place: The run's directory.
            config: The run's configuration.
            view: Draws what a tick shows of an averaged generator.
            images: Images seen already.
        """
        self._place = place
        self._view = view
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
        """Reports the time since the last tick and draws what the family shows.

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
        picture = self._view(generator)
        path = self._place.grid(images)
        picture.save(path)
        self._writer.add_image("samples", _channels_first(picture), images)
        self._writer.flush()
        return path


def _channels_first(picture: Image.Image) -> torch.Tensor:
    """uint8 [3, H, W], as TensorBoard takes it."""
    width, height = picture.size
    pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, 3).permute(2, 0, 1)
