"""Trains and evaluates the zoo's runs by the commands that anyone would give; what is done is not done again."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from training import distributed
from training.cli import DIVERGED
from training.evaluation.evaluate import EVALUATION_FILE
from training.zoo.entries import RECIPE, Entry

_GANTRY = (sys.executable, "-m", "training")
_FAILURE = "failed.txt"


class ZooError(RuntimeError):
    """A run of the zoo could not be trained or evaluated; the message is its own."""


@dataclass(frozen=True)
class Size:
    """How much is done for each run.

    Attributes:
        data: The data set.
        images: Images that the discriminator is shown for each time that it learns in a step.
        samples: That are measured.
    """

    data: str
    images: int
    samples: int


@dataclass(frozen=True)
class ZooRun:
    """One entry under one seed."""

    entry: Entry
    seed: int
    place: Path

    @property
    def is_done(self) -> bool:
        """Whether it was evaluated."""
        return (self.place / EVALUATION_FILE).exists()

    @property
    def failure(self) -> str | None:
        """Why its training ended before the end; None where it did not."""
        path = self.place / _FAILURE
        return path.read_text() if path.exists() else None

    def training(self, size: Size) -> list[str]:
        """The arguments of `gantry` that train it."""
        # As many steps of the generator for all: a critic that learns five times a step is shown five times as much.
        images = size.images * int(self.entry.settings.get("critic_steps", 1))
        flags = {"data": size.data, "seed": self.seed, "images": images, "tick": max(1_000, images // 10)}
        given = [f"--{name}={value}" for name, value in flags.items()]
        changed = [f"--set={name}={_text(value)}" for name, value in self.entry.all_settings.items()]
        return ["train", RECIPE, *given, *changed, f"--run-dir={self.place}"]

    def evaluation(self, size: Size) -> list[str]:
        """The arguments of `gantry` that evaluate it."""
        return ["evaluate", str(self.place), f"--samples={size.samples}", f"--cache-dir={self.place.parent / '.cache'}"]


def runs_of(entries: Mapping[str, Entry], seeds: int, folder: Path) -> list[ZooRun]:
    """All runs: the first seed of every entry, then the second, so that a zoo that is cut short is still even."""
    return [ZooRun(entry, seed, folder / f"{name}-{seed}") for seed in range(seeds) for name, entry in entries.items()]


def run_all(runs: Sequence[ZooRun], size: Size, options: Sequence[str], processes: int) -> Iterator[ZooRun]:
    """Trains and evaluates what is not done yet; what was begun goes on where it stopped.

    Args:
        runs: What is to be done.
        size: How much.
        options: Further arguments of each training, such as "--threads=1".
        processes: Runs at once.

    Yields:
        Each run when it is done, in order.

    Raises:
        ZooError: If a command failed for another reason than that the training diverged.
    """
    first = _do(runs[0], size, options)  # alone, since its evaluation trains the classifier that all others use
    with ThreadPoolExecutor(processes) as pool:
        for run in chain([first], pool.map(lambda run: _do(run, size, options), runs[1:])):
            distributed.say(f"{run.place}: {run.failure or 'done'}")
            yield run


def _do(run: ZooRun, size: Size, options: Sequence[str]) -> ZooRun:
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # of an evaluation; runs stand beside each other
    for arguments in ([*run.training(size), *options], run.evaluation(size)):
        if run.is_done or run.failure:
            break
        ended = subprocess.run([*_GANTRY, *arguments], capture_output=True, text=True, env=one_thread)
        last = ended.stderr.strip().rpartition("\n")[2]
        if ended.returncode == DIVERGED:
            (run.place / _FAILURE).write_text(last)
        elif ended.returncode:
            raise ZooError(f"{run.place}: {last}")
    return run


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
