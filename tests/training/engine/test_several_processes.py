"""Runs of two real processes: they come to what one comes to, and they stop and fail together."""

import hashlib
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.engine.checkpoints import assert_equal_checkpoints, state_of
from tests.training.processes import End, together
from training.config import RunConfig
from training.engine import loop, train

ROUNDING = 1e-2
"""By what share of a tensor's norm two processes may differ from one after four steps, in weights, averages, statistics
of batch normalisation, Adam's means of gradients, and pools.

Over eight seeds of each configuration it was 5e-5 at most, but for one with 5e-3: where an activation or an L1 distance
is almost 0, rounding decides its gradient's sign, and then it may grow. Each of these faults makes 0.15 and more: batch
normalisation or the invariance of a share instead of the batch, a sum of gradients instead of their mean, pools that
are not gathered, dropout that each process draws for itself.
"""

STOP = 3
"""Steps after which something happens: one after the first tick, one before the last."""

Incident = Callable[[nn.Module], None]


@pytest.fixture(params=["cgan", "hinge", "infogan", "regularized", "biggan", "cyclegan", "residual", "pix2pix"])
def config_of_two(request: pytest.FixtureRequest) -> RunConfig:
    """Every family, and every part of its losses at least once; batches of an even number."""
    name = request.param
    changes: dict[str, Any] = {
        "hinge": {"objective": "hinge", "terms.classifier.weight": 0.2, "discriminator.concat": False},
        "regularized": {"terms.invariance.weight": 2, "terms.equivariance.weight": 4},
        "biggan": {
            "objective": "hinge",
            "generator": {"kind": "residual", "width": 4, "spectral": True, "modulation": True, "skip_latent": True},
            "discriminator": {"kind": "residual", "width": 4, "projection": True},
        },
        "residual": {"identity_weight": 0, "generator.residual": True, "generator.upsampling": "resize"},
    }
    families = {"config": ("cgan", "hinge", "biggan"), "infogan": ("infogan", "regularized")}
    family = next((family for family, names in families.items() if name in names), "cyclegan")
    return four_steps(request.getfixturevalue(family)).changed(changes.get(name, {}))


def four_steps(config: RunConfig) -> RunConfig:
    """The configuration for as many steps and two ticks, of batches that two can share."""
    batch = max(2, config.batch)
    return config.changed({"batch": batch, "total_images": 4 * batch, "tick": 2 * batch})


def run(config: RunConfig, run_dir: Path, data_dir: Path, step: int = 0, incident: Incident | None = None) -> str:
    """Trains, has something happen after a step, and gives a digest of what this process has come to."""
    nets: list[nn.Module] = []
    update = loop.Ema.update

    def watched(self: loop.Ema, net: nn.Module, images: int, batch: int) -> None:
        update(self, net, images, batch)
        nets[:] = [net, self.module]
        if incident and images == step * batch:
            incident(net)

    loop.Ema.update = watched  # in a process that ends with this
    train(config, run_dir, data_dir=data_dir)
    values = [value.numpy().tobytes() for net in nets for value in net.state_dict().values()]
    return hashlib.sha256(b"".join(values)).hexdigest()


def killed(_net: nn.Module) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def told_to_stop(_net: nn.Module) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def out_of_memory(_net: nn.Module) -> None:
    raise MemoryError("no room for another map")


def poisoned(net: nn.Module) -> None:
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))


@pytest.fixture
def two(tmp_path: Path) -> Callable[..., list[End]]:
    """Runs a configuration in two processes; something may happen to the second."""

    def trained(config: RunConfig, name: str, step: int = 0, incident: Incident | None = None) -> list[End]:
        place, data = tmp_path / name, tmp_path / "data"
        return together(partial(run, config, place, data), partial(run, config, place, data, step, incident))

    return trained


def test_two_processes_train_the_model_that_one_does(config_of_two: RunConfig, two, tmp_path: Path) -> None:
    train(config_of_two, tmp_path / "one")
    first, second = two(config_of_two, "two")
    assert (first.error, second.error) == ("", "")
    assert first.result == second.result, "bit for bit what the other has"
    assert_equal_checkpoints(tmp_path / "one", tmp_path / "two", within=ROUNDING)
    grids = [sorted(path.name for path in (tmp_path / name / "grids").iterdir()) for name in ("one", "two")]
    assert grids[0] == grids[1]


def test_a_stop_of_one_stops_both_and_they_go_on_bit_for_bit(config_of_two: RunConfig, two, tmp_path: Path) -> None:
    for end in two(config_of_two, "stopped", STOP, told_to_stop):
        assert end.error.startswith(f"Interrupted: stopped after {STOP * config_of_two.batch} images")
    assert state_of(tmp_path / "stopped")["progress"]["step"] == STOP
    ends = [*two(config_of_two, "stopped"), *two(config_of_two, "unbroken")]
    assert [end.error for end in ends] == [""] * 4
    assert len({end.result for end in ends}) == 1
    assert_equal_checkpoints(tmp_path / "stopped", tmp_path / "unbroken")


@pytest.mark.parametrize("family", ["infogan", "cyclegan"])
def test_a_run_may_go_on_in_another_number_of_processes(
    family: str, request: pytest.FixtureRequest, two, tmp_path: Path
) -> None:
    whole = four_steps(request.getfixturevalue(family)).changed({"optimizer.decay_start": 1})
    half = whole.changed({"total_images": whole.total_images // 2})
    train(whole, tmp_path / "one")
    train(half, tmp_path / "one-two")
    assert [end.code for end in (*two(whole, "one-two"), *two(half, "two-one"))] == [0] * 4
    train(whole, tmp_path / "two-one")
    for name in ("one-two", "two-one"):
        assert_equal_checkpoints(tmp_path / "one", tmp_path / name, within=ROUNDING)


def test_only_the_first_writes(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    ends = together(*[partial(run, config, tmp_path / name, tmp_path) for name in ("first", "second")])
    assert [end.error for end in ends] == ["", ""]
    assert {path.name for path in (tmp_path / "first").iterdir()} == {
        "checkpoints",
        "config.json",
        "grids",
        "lock",
        "stats.jsonl",
        "tensorboard",
    }
    assert list((tmp_path / "second").iterdir()) == []


def test_the_end_of_one_ends_the_other(config: RunConfig, two, tmp_path: Path) -> None:
    first, second = two(four_steps(config), "run", STOP, killed)
    assert second.code == -signal.SIGKILL
    assert first == (None, "PeerError: another process of this training has ended; its own message says why", 1)
    assert state_of(tmp_path / "run")["progress"]["step"] == 2, "the last tick's"


def test_a_fault_of_one_is_told_by_it_and_ends_the_other(config: RunConfig, two) -> None:
    first, second = two(four_steps(config), "run", STOP, out_of_memory)
    assert second == (None, "MemoryError: no room for another map", 1)
    assert first.error.startswith("PeerError: another process")


def test_a_net_that_diverges_in_one_diverges_in_both(config: RunConfig, two, tmp_path: Path) -> None:
    for end in two(four_steps(config), "run", STOP, poisoned):
        assert end.error.startswith("DivergedError: discriminator/loss is nan after 64 images")
    assert state_of(tmp_path / "run")["progress"]["step"] == 2


def test_a_refusal_of_the_first_is_no_riddle_to_the_other(config: RunConfig, two, tmp_path: Path) -> None:
    train(config, tmp_path / "run")
    first, second = two(config.changed({"seed": 1}), "run")
    assert "ConfigError" in first.error
    assert "seed was 0 and is 1" in first.error
    assert second == (None, "PeerError: the first process has failed; its own message says why", 1)


def test_processes_that_do_not_begin_alike_do_not_begin(config: RunConfig, tmp_path: Path) -> None:
    """The second cannot see the checkpoint that the first goes on from."""
    train(config.changed({"total_images": 64}), tmp_path / "first")
    for end in together(*[partial(run, config, tmp_path / name, tmp_path) for name in ("first", "second")]):
        assert end.error.startswith("PeerError: the processes begin with different settings, progress or weights")


def test_a_batch_that_cannot_be_shared_is_refused(config: RunConfig, two, tmp_path: Path) -> None:
    for end in two(config.changed({"batch": 15}), "run"):
        assert end.error == "ConfigError: --batch 15: 2 processes cannot share it equally; give a multiple of 2"
    assert not (tmp_path / "run").exists()
