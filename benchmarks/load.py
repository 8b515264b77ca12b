"""Closed-loop load: a number of callers, each of which sends its next request when the last one is answered."""

import asyncio
import itertools
import statistics
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.targets import Target


@dataclass(frozen=True)
class Load:
    """How hard a target is pressed.

    Attributes:
        concurrency: Callers at once.
        images: Images per request.
    """

    concurrency: int
    images: int


@dataclass(frozen=True)
class Figures:
    """What one measurement gave.

    Attributes:
        images_per_second: Images of finished requests over the time they took.
        p50_ms: Median latency of a request, in milliseconds.
        p99_ms: 99th percentile of it, in milliseconds.
    """

    images_per_second: float
    p50_ms: float
    p99_ms: float


async def press(target: Target, load: Load, seconds: float) -> Figures:
    """Press a target for a while.

    Args:
        target: What to press.
        load: How hard.
        seconds: How long; requests begun by then are finished and counted.

    Returns:
        The figures.
    """
    seeds = itertools.count(step=load.images)
    latencies: list[float] = []
    started = time.perf_counter()

    async def call() -> None:
        while (begun := time.perf_counter()) < started + seconds:
            await target.request(load.images, next(seeds))
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(call() for _ in range(load.concurrency)))
    elapsed = time.perf_counter() - started
    p50, p99 = np.percentile(latencies, (50, 99)) * 1000
    return Figures(len(latencies) * load.images / elapsed, float(p50), float(p99))


def median(rounds: list[Figures]) -> Figures:
    """Return the median of each figure over several rounds."""
    return Figures(
        statistics.median(figures.images_per_second for figures in rounds),
        statistics.median(figures.p50_ms for figures in rounds),
        statistics.median(figures.p99_ms for figures in rounds),
    )
