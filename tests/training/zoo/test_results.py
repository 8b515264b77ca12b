"""What a row says of its seeds, and when two rows are told apart."""

import json
from pathlib import Path

import pytest

from training.evaluation.evaluate import EVALUATION_FILE
from training.evaluation.result import Evaluation, Metric
from training.zoo.entries import Entry
from training.zoo.results import CURVE, DISTANCE, results_of
from training.zoo.runs import ZooRun


def trained(folder: Path, name: str, distances: list[float]) -> list[ZooRun]:
    """Runs as they lie on the disk, one a distance."""
    runs = []
    for seed, distance in enumerate(distances):
        run = ZooRun(Entry(name), seed, folder / f"{name}-{seed}")
        run.place.mkdir()
        metric = Metric(name=DISTANCE, value=distance, reference=0.5)
        Evaluation(metrics=(metric,), protocol={"data": "dots"}).save(run.place / EVALUATION_FILE)
        ticks = [{"images": count, "speed/images_per_second": 100, CURVE: 1 / count} for count in (200, 600)]
        (run.place / "stats.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in ticks))
        runs.append(run)
    return runs


def test_the_least_distance_stands_first(tmp_path: Path) -> None:
    results = results_of([*trained(tmp_path, "a", [3, 4]), *trained(tmp_path, "b", [1, 2])])
    assert [(result.entry.name, result.distance) for result in results] == [("b", 1.5), ("a", 3.5)]


@pytest.mark.parametrize(
    ("others", "are_told_apart"), [([1.1, 1.2, 1.3], False), ([5.0, 5.1, 5.2], True), ([5.0], False)]
)
def test_rows_are_told_apart_by_their_spread(tmp_path: Path, others: list[float], are_told_apart: bool) -> None:
    best, other = results_of([*trained(tmp_path, "a", [1.0, 1.2, 1.1]), *trained(tmp_path, "b", others)])
    assert best.is_told_apart(other) is are_told_apart


def test_seconds_are_those_of_all_ticks(tmp_path: Path) -> None:
    (result,) = results_of(trained(tmp_path, "a", [1.0]))
    assert result.seconds == [6.0]
    assert result.curves == [[(200, 1 / 200), (600, 1 / 600)]]


def test_a_seed_that_diverged_is_told_of_and_counts_in_no_mean(tmp_path: Path) -> None:
    failed = ZooRun(Entry("a"), 7, tmp_path / "a-7")
    failed.place.mkdir()
    (failed.place / "failed.txt").write_text("a loss is not finite")
    (result,) = results_of([*trained(tmp_path, "a", [1.0, 3.0]), failed])
    assert (result.distance, result.failures) == (2.0, {7: "a loss is not finite"})


def test_a_row_of_which_no_seed_came_to_its_end_stands_last(tmp_path: Path) -> None:
    failed = ZooRun(Entry("a"), 0, tmp_path / "a-0")
    failed.place.mkdir()
    (failed.place / "failed.txt").write_text("a loss is not finite")
    results = results_of([failed, *trained(tmp_path, "b", [1.0])])
    assert [result.entry.name for result in results] == ["b", "a"]
    assert not results[0].is_told_apart(results[1])
