"""Compares what two runs have come to: their checkpoints leaf by leaf, and their logs line by line."""

import json
from pathlib import Path
from typing import Any

import torch

from training.engine.checkpoint import Checkpoint, read_newest
from training.engine.observer import WALL_CLOCK


def last_checkpoint(run: Path) -> Checkpoint:
    """A run's newest checkpoint."""
    saved = read_newest(run / "checkpoints")
    assert saved is not None
    return saved


def state_of(run: Path) -> dict[str, Any]:
    """The state dicts in a run's newest checkpoint."""
    return last_checkpoint(run).state


def flat(state: object, prefix: str = "") -> dict[str, object]:
    """A checkpoint's leaves by path, so that a failing comparison names one."""
    if isinstance(state, dict | list | tuple):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {path: leaf for key, value in items for path, leaf in flat(value, f"{prefix}/{key}").items()}
    return {prefix: state}


def assert_equal_checkpoints(first: Path, second: Path, *, within: float = 0) -> None:
    """Asserts that two runs have come to the same.

    Args:
        first: A run's directory.
        second: Another's.
        within: By how much a tensor's difference from the other may exceed 0, as a share of its own Euclidean norm.
    """
    ours, theirs = flat(state_of(first)), flat(state_of(second))
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        other = theirs[path]
        if within and isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            if leaf.numel():
                assert (leaf - other).norm() <= within * leaf.norm(), path
        elif isinstance(leaf, torch.Tensor):
            assert torch.equal(leaf, other), path
            assert leaf.stride() == other.stride(), path
        else:
            assert leaf == other, path


def statistics_of(run: Path) -> list[dict[str, float]]:
    """The lines of stats.jsonl, without what the clock decides."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in WALL_CLOCK} for line in lines]


def scalars_of(run: Path) -> dict[str, list[tuple[int, float]]]:
    """TensorBoard's curves, without what the clock decides."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # It reads files by their names, which end in a counter of the process: within a second 10 would come before 9.
    for path in (run / "tensorboard").iterdir():
        path.rename(path.with_suffix(f".{int(path.suffix[1:]):09d}"))
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    names = set(events.Tags()["scalars"]) - WALL_CLOCK
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


def assert_equal_runs(first: Path, second: Path) -> None:
    """Asserts that two runs have left the same, bit for bit: state, statistics, curves and grids."""
    assert_equal_checkpoints(first, second)
    assert statistics_of(first) == statistics_of(second)
    assert scalars_of(first) == scalars_of(second)
    grids = [{path.name: path.read_bytes() for path in (run / "grids").iterdir()} for run in (first, second)]
    assert grids[0] == grids[1]
