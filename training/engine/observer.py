"""What a person sees of a run: the progress bar; at every tick a line, stats.jsonl, TensorBoard's curves and a grid."""

import json
import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from training.engine.runs import RunDir

WALL_CLOCK = frozenset({"time", "speed/images_per_second"})
"""What a line of stats.jsonl has that differs between equal runs."""


class Observer:
    """Shows a run's progress; a context manager."""

    def __init__(
        self, place: RunDir, total_images: int, sample_grid: Callable[[nn.Module], Image.Image], images: int
    ) -> None:
        """Opens the bar, which only a terminal has, and the files.

        Args:
            place: The run's folder.
            total_images: The run's length.
            sample_grid: Draws what a tick shows of an averaged generator.
            images: Images seen already.
        """
        self._place = place
        self._sample_grid = sample_grid
        self._writer = SummaryWriter(str(place.tensorboard), purge_step=images + 1)
        self._lines = place.statistics.open("a")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"))
        console = Console(stderr=True)
        self._bar = Progress(
            *columns, TimeRemainingColumn(), console=console, refresh_per_second=2, disable=not console.is_terminal
        )
        self._task = self._bar.add_task("training", total=total_images, completed=images)
        self._last_tick = (images, time.monotonic())

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._lines.close()
        self._writer.close()

    def advance(self, batch: int) -> None:
        """Moves the bar on by a step's images."""
        self._bar.advance(self._task, batch)

    def tick(self, images: int, step: int, statistics: Mapping[str, float], generator: nn.Module) -> None:
        """Reports the means since the last tick, draws the sample grid, and leaves both on the disk.

        Args:
            images: Images seen so far.
            step: Steps done.
            statistics: Means since the last tick, and figures of this one.
            generator: The averaged generator.
        """
        before, then = self._last_tick
        self._last_tick = (images, time.monotonic())
        rate = (images - before) / (self._last_tick[1] - then)
        figures = {**statistics, "speed/images_per_second": rate}
        for name, value in figures.items():
            self._writer.add_scalar(name, value, images)
        shown = [f"{name} {value:.3g}" for name, value in statistics.items() if "loss" in name or "validation" in name]
        line = f"{images:,} images, {rate:,.0f}/s: {', '.join(shown)}"
        self._bar.console.print(line, highlight=False, soft_wrap=True)
        picture = self._sample_grid(generator)
        picture.save(self._place.grid(images))
        self._writer.add_image("samples", _channels_first(picture), images)
        self._writer.flush()
        self._lines.write(json.dumps({"images": images, "step": step, "time": time.time(), **figures}) + "\n")
        self._lines.flush()
        os.fsync(self._lines.fileno())  # a checkpoint must not outlive the lines before it


def _channels_first(picture: Image.Image) -> torch.Tensor:
    """uint8 [3, H, W], as TensorBoard takes it."""
    width, height = picture.size
    pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, 3).permute(2, 0, 1)
