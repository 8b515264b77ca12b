"""What the runs of an entry came to: figures with their spread over seeds, seconds, and curves."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import ttest_ind

from training.evaluation.evaluate import EVALUATION_FILE
from training.evaluation.result import Evaluation
from training.zoo.entries import Entry
from training.zoo.runs import ZooRun

DISTANCE = "frechet_distance"
CURVE = "validation/kernel_distance_random_convolutions"
LEVEL = 0.05
"""Two rows are told apart where Welch's test of their distances gives less than this."""


@dataclass(frozen=True)
class Result:
    """One row.

    Attributes:
        entry: What was trained.
        evaluations: Of the seeds that were trained to the end.
        seconds: That training took, of each of these.
        curves: (images, validation figure) at each tick, of each of these.
        failures: Why the others ended, by seed.
        places: Folders of those that were trained to the end.
    """

    entry: Entry
    evaluations: Sequence[Evaluation]
    seconds: Sequence[float]
    curves: Sequence[Sequence[tuple[float, float]]]
    failures: dict[int, str]
    places: Sequence[Path]

    def values(self, metric: str) -> list[float]:
        """A figure under each seed; empty where it was not taken."""
        found = [{each.name: each.value for each in one.metrics} for one in self.evaluations]
        return [each[metric] for each in found if metric in each]

    @property
    def distance(self) -> float:
        """The mean distance; infinite where no seed came to an end."""
        return statistics.fmean(self.values(DISTANCE)) if self.evaluations else float("inf")

    def is_told_apart(self, other: "Result") -> bool:
        """Whether its distances differ from another's by more than their spread over the seeds (Welch's t-test)."""
        mine, others = self.values(DISTANCE), other.values(DISTANCE)
        if min(len(mine), len(others)) < 2:
            return False
        return bool(ttest_ind(mine, others, equal_var=False).pvalue < LEVEL)


def results_of(runs: Sequence[ZooRun]) -> list[Result]:
    """The rows of some runs, the least distance first."""
    by_entry: dict[str, list[ZooRun]] = {}
    for run in runs:
        by_entry.setdefault(run.entry.name, []).append(run)
    return sorted(map(_result, by_entry.values()), key=lambda result: result.distance)


def _result(runs: Sequence[ZooRun]) -> Result:
    whole = [run for run in runs if run.is_done]
    lines = [[json.loads(line) for line in (run.place / "stats.jsonl").read_text().splitlines()] for run in whole]
    return Result(
        entry=runs[0].entry,
        evaluations=[Evaluation.read(run.place / EVALUATION_FILE) for run in whole],
        seconds=[_seconds(of_run) for of_run in lines],
        curves=[[(line["images"], line[CURVE]) for line in of_run if CURVE in line] for of_run in lines],
        failures={run.seed: run.failure for run in runs if run.failure},
        places=[run.place for run in whole],
    )


def _seconds(lines: Sequence[dict[str, float]]) -> float:
    """What the ticks took; by their speeds, since a run may have been stopped between two of them."""
    before = [0.0, *(line["images"] for line in lines)]
    return sum(
        (line["images"] - images) / line["speed/images_per_second"] for line, images in zip(lines, before, strict=False)
    )
