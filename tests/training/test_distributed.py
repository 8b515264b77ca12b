"""What several processes agree on, alone and in two real ones; whole runs are in `engine/test_several_processes.py`."""

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.processes import new_store, together
from training import distributed
from training.config import ConfigError
from training.engine.statistics import Statistics

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """Two tensors that belong together."""

    images: Tensor
    labels: Tensor


def whole() -> Batch:
    return Batch(torch.arange(12.0).view(4, 3), torch.arange(4))


def shares_and_the_way_back() -> tuple[list[int], list[float]]:
    with distributed.joined(CPU):
        share = distributed.own_share(whole())
        return share.labels.tolist(), distributed.gathered(share.images).flatten().tolist()


def test_a_batch_is_shared_out_in_order_and_put_together_again() -> None:
    first, second = together(shares_and_the_way_back, shares_and_the_way_back)
    assert (first.result[0], second.result[0]) == ([0, 1], [2, 3])
    assert first.result[1] == second.result[1] == whole().images.flatten().tolist()


@dataclass(frozen=True)
class Drawn:
    """A batch with what was drawn for it."""

    images: Tensor
    draws: dict[str, Tensor]


def share_of_draws() -> tuple[int, int, list[int]]:
    with distributed.joined(CPU):
        share = distributed.own_share(Drawn(torch.zeros(4, 3), {"labels": torch.arange(4)}))
        return distributed.rank(), len(share.images), share.draws["labels"].tolist()


def test_what_was_drawn_is_shared_out_with_the_pictures() -> None:
    ends = together(share_of_draws, share_of_draws)
    assert [end.result for end in ends] == [(0, 2, [0, 1]), (1, 2, [2, 3])]


def gradient_of_a_bent_mean() -> list[float]:
    """Of log(mean of squares), which is no mean over items, for the weights that scale the columns."""
    scale = nn.ParameterList([torch.ones(3)])
    with distributed.joined(CPU):
        share = distributed.own_share(whole()).images * scale[0]
        distributed.mean(share.square().mean()).log().backward()
        distributed.average_gradients(scale)
    assert scale[0].grad is not None
    return scale[0].grad.tolist()


def test_gradients_through_a_mean_are_those_of_the_whole_batch() -> None:
    alone = gradient_of_a_bent_mean()
    for end in together(gradient_of_a_bent_mean, gradient_of_a_bent_mean):
        assert end.result == pytest.approx(alone)


def averaged(rank: int) -> list[list[float] | None]:
    """Gradients of a matrix in another memory format, of an unused weight, and of an empty one."""
    values = (torch.ones(2, 3, 2, 2).to(memory_format=torch.channels_last), torch.ones(2), torch.ones(0))
    module = nn.ParameterList(values)
    steps = torch.arange(24.0).view(2, 3, 2, 2)
    ((module[0] * steps).sum() * (rank + 1) + module[2].sum()).backward()
    with distributed.joined(CPU):
        distributed.average_gradients(module)
    return [None if each.grad is None else each.grad.flatten().tolist() for each in module]


def test_gradients_are_averaged_wherever_there_are_any() -> None:
    expected = [[1.5 * step for step in range(24)], None, []]
    assert [end.result for end in together(partial(averaged, 0), partial(averaged, 1))] == [expected] * 2


def statistics_of(value: float) -> dict[str, float]:
    statistics = Statistics()
    for extra in (0.0, 2.0):
        statistics.add({"loss": torch.tensor(value + extra)})
    with distributed.joined(CPU):
        return statistics.read(2)


def test_statistics_are_means_over_processes() -> None:
    assert [end.result for end in together(*[partial(statistics_of, value) for value in (1.0, 4.0)])] == [
        {"loss": 3.5},
        {"loss": 3.5},
    ]


def connects_late(rank: int, connected: Path) -> bool:
    """Whether the first, which is slow to connect, has done so when this process has joined."""
    init = torch.distributed.init_process_group

    def slowly(*arguments: Any, **options: Any) -> None:
        init(*arguments, **options)
        if rank == 0:
            time.sleep(0.5)
            connected.touch()

    torch.distributed.init_process_group = slowly  # in a process that ends with this
    with distributed.joined(CPU):
        return connected.exists()


def test_nobody_begins_before_all_are_connected(tmp_path: Path) -> None:
    """Who failed at once would be gone for those that still connect, and they would not come to their own message."""
    ends = together(*[partial(connects_late, rank, tmp_path / "connected") for rank in range(2)])
    assert [end.result for end in ends] == [True, True]


def says(flag: bool) -> tuple[bool, bool]:
    with distributed.joined(CPU):
        return distributed.any_of(flag), distributed.any_of(False)


def test_what_one_says_all_hear() -> None:
    assert [end.result for end in together(partial(says, False), partial(says, True))] == [(True, False)] * 2


def leaves_a_note(folder: Path) -> str:
    """The first leaves it when the other is at the door; who does not wait there finds none."""
    knock, note = folder / "knock", folder / "note"
    with distributed.joined(CPU):
        if not distributed.is_first():
            knock.touch()
        with distributed.first_before_others():
            while distributed.is_first() and not knock.exists():
                time.sleep(0.01)
            if distributed.is_first():
                note.write_text("first")
            return note.read_text()


def test_the_first_has_finished_before_the_others_begin(tmp_path: Path) -> None:
    assert [end.result for end in together(*[partial(leaves_a_note, tmp_path)] * 2)] == ["first"] * 2


def fails_alone() -> None:
    with distributed.joined(CPU), distributed.first_before_others():
        raise OSError(f"disk {os.environ['RANK']} is full")


def test_others_do_not_begin_what_the_first_could_not() -> None:
    first, second = together(fails_alone, fails_alone)
    assert first.error == "OSError: disk 0 is full"
    assert second.error == "PeerError: the first process has failed; its own message says why"


def fails_when_the_other_is_dead() -> None:
    with distributed.joined(CPU):
        if not distributed.is_first():
            os.kill(os.getpid(), signal.SIGKILL)
        with distributed.first_before_others():
            raise OSError("disk 0 is full")


def test_what_the_first_could_not_do_is_told_though_nobody_hears() -> None:
    first, second = together(*[fails_when_the_other_is_dead] * 2)
    assert second.code == -signal.SIGKILL
    assert first.error == "OSError: disk 0 is full"


def dies_before_an_agreement(rank: int) -> None:
    with distributed.joined(CPU):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.gathered(torch.ones(2))


def test_nobody_waits_for_the_dead() -> None:
    first, second = together(partial(dies_before_an_agreement, 0), partial(dies_before_an_agreement, 1))
    assert (first.code, second.code) == (1, -signal.SIGKILL)
    assert first.error == "PeerError: another process of this training has ended; its own message says why"


def test_processes_that_are_started_again_do_not_look_for_the_dead() -> None:
    """Whether they would find them is a race; so it is asked whether each attempt writes addresses of its own."""
    store = new_store()
    keys = [store.num_keys()]
    for attempt in range(2):
        ends = together(partial(says, False), partial(says, True), store=store, attempt=attempt)
        assert [end.error for end in ends] == ["", ""]
        keys.append(store.num_keys())
    assert keys[0] < keys[1] < keys[2]


def begins_with(settings: str, seed: int) -> None:
    torch.manual_seed(seed)
    with distributed.joined(CPU):
        distributed.require_equal(settings, [nn.Linear(2, 2)])


@pytest.mark.parametrize(("second", "is_equal"), [(("a", 0), True), (("b", 0), False), (("a", 1), False)])
def test_other_settings_and_other_weights_are_noticed(second: tuple[str, int], is_equal: bool) -> None:
    for end in together(partial(begins_with, "a", 0), partial(begins_with, *second)):
        assert end.error.startswith("" if is_equal else "PeerError: the processes begin with different settings")
        assert end.code == (0 if is_equal else 1)


def test_one_process_joins_nothing_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for world in ({}, {"WORLD_SIZE": "1", "RANK": "0"}):
        for name in ("WORLD_SIZE", "RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in world.items():
            monkeypatch.setenv(name, value)
        with distributed.joined(CPU) as device:
            assert device is CPU
            assert not torch.distributed.is_initialized()
            assert (distributed.count(), distributed.is_first()) == (1, True)
            batch = whole()
            assert distributed.own_share(batch) is batch
            assert distributed.gathered(batch.images) is batch.images
            assert distributed.mean(batch.images) is batch.images
            assert distributed.any_of(True)


def test_processes_that_torchrun_did_not_start_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"not LOCAL_RANK, MASTER_ADDR, MASTER_PORT, RANK: start .* with torchrun"):
        distributed.joined(CPU).__enter__()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": 99, "RANK": 98, "LOCAL_RANK": 98, "MASTER_ADDR": "", "MASTER_PORT": ""}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match="process 98 of this machine has no GPU, torch finds"):
        distributed.joined(torch.device("cuda")).__enter__()


@pytest.mark.parametrize(("rank", "said"), [("0", "a line\n"), ("1", "")])
def test_a_line_is_printed_once_for_all(
    rank: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    distributed.say("a line")
    assert capsys.readouterr().err == said
