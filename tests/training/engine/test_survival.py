"""Runs that are killed at random moments end as if nothing had happened: state, statistics, curves and grids.

A moment is a step, or a change to a file in the run's folder, also amid the writing of a checkpoint. The process kills
itself there, so that the same moments are met every time.
"""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.training.engine.checkpoints import assert_equal_runs
from tests.training.processes import End, alone
from training.config import RunConfig
from training.engine import checkpoint, loop, train

_CHANGES = frozenset({"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"})


def run(
    config: RunConfig, place: Path, data: Path, moment: int | None, number: signal.Signals, fresh: bool = False
) -> int:
    """Trains in a process that gets a signal at a moment; gives the number of moments that there are."""
    passed = 0

    def come() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            os.kill(os.getpid(), number)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES and str(place) in str(arguments[0]) and "tensorboard" not in str(arguments[0]):
            come()

    update, save_file = loop.Ema.update, checkpoint.save_file

    def watched(self: loop.Ema, net: nn.Module, images: int, batch: int) -> None:
        come()
        update(self, net, images, batch)

    def in_two_halves(tensors: Any, path: Path, header: dict[str, str]) -> None:
        save_file(tensors, path, header)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        come()
        path.write_bytes(whole)

    loop.Ema.update, checkpoint.save_file = watched, in_two_halves  # in a process that ends with this
    sys.addaudithook(watch)
    train(config, place, data_dir=data, fresh=fresh)
    return passed


@pytest.fixture
def life(any_recipe: RunConfig, tmp_path: Path) -> Callable[..., End]:
    """Trains a run in a process of its own, to its end or to a moment."""

    def lived(
        moment: int | None,
        place: Path = tmp_path / "run",
        *,
        number: signal.Signals = signal.SIGKILL,
        fresh: bool = False,
        **changes: object,
    ) -> End:
        return alone(partial(run, any_recipe.changed(changes), place, tmp_path / "data", moment, number, fresh))

    return lived


def assert_survives(life: Callable[..., End], tmp_path: Path, kills: int, number: signal.Signals) -> None:
    whole = life(None, tmp_path / "unbroken")
    assert whole.error == ""
    source = random.Random(kills)
    ends = [life(source.randint(1, whole.result), number=number) for _ in range(kills)]
    assert any(end.code != 0 for end in ends)
    assert life(None).error == ""
    assert_equal_runs(tmp_path / "unbroken", tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_signals_at_random_moments_change_nothing(life, tmp_path: Path, number: signal.Signals) -> None:
    assert_survives(life, tmp_path, 3, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_many_signals_change_nothing(life, tmp_path: Path, number: signal.Signals) -> None:
    assert_survives(life, tmp_path, 25, number)


@pytest.mark.parametrize("moments", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_kill_amid_fresh_never_leads_into_the_wrong_run(life, tmp_path: Path, moments: int) -> None:
    """What is left is the old run, which the new settings are refused for, or nothing to go on from."""
    assert life(None, tmp_path / "old", seed=1).error == ""
    assert life(None, tmp_path / "new").error == ""
    for moment in random.Random(moments).sample(range(1, 41), moments):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "old", tmp_path / "run")
        life(moment, fresh=True)
        end = life(None)
        if end.code:
            assert "holds a run with other settings: seed was 1 and is 0" in end.error
        else:
            assert_equal_runs(tmp_path / "new", tmp_path / "run")
