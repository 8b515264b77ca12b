"""When a worker counts as hung, and how it is replaced: by script, on a clock that the tests drive."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import BackendUnavailableError
from services.backends.envelope import Envelope
from services.backends.torchserve.healing import Healing, limit_of
from services.backends.torchserve.rest import WorkerStatus
from services.backends.torchserve.roster import Served
from tests.archives import tiny_card
from tests.services.backends.torchserve.scripted import KEY

SERVED = Served(models_pb2.LoadedModel(card=tiny_card()), workers=1, startup_seconds=60.0)
PAIR = replace(SERVED, workers=2)


class Time:
    """A clock whose pauses end when the test lets the time pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ends: list[tuple[float, asyncio.Event]] = []

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        end = asyncio.Event()
        self._ends.append((self.now + seconds, end))
        await end.wait()

    async def let_pass(self, seconds: float) -> None:
        """Let time pass, tenth by tenth, and all that happens meanwhile happen."""
        for _ in range(20):
            await asyncio.sleep(0)
        for _ in range(round(10 * seconds)):
            self.now = round(self.now + 0.1, 6)
            for when, end in self._ends:
                if when <= self.now:
                    end.set()
            for _ in range(20):
                await asyncio.sleep(0)


class Scripted:
    """A TorchServe of one model: its workers, its REST API and its processes."""

    def __init__(self, *workers: str) -> None:
        self.workers = dict.fromkeys(workers, True)
        self.processes = dict.fromkeys(workers, False)
        self.acts: list[str] = []
        self.is_down = False
        self.has_removed = asyncio.Event()
        self.has_removed.set()
        self.on_kill: Callable[[], None] = lambda: None

    async def ask_workers(self) -> Sequence[WorkerStatus]:
        if self.is_down:
            raise BackendUnavailableError("no answer")
        return [WorkerStatus(*worker) for worker in self.workers.items()]

    async def worker_processes(self) -> dict[str, bool]:
        return dict(self.processes)

    def kill_workers(self, ids: Collection[str]) -> None:
        self.acts.append(f"kill {' '.join(sorted(ids))}")
        for worker in ids:
            self.workers[worker] = False
            del self.processes[worker]
        self.on_kill()

    def kill(self) -> None:
        self.acts.append("kill all")
        self.on_kill()

    def start(self, worker: str, *, is_ready: bool = True) -> None:
        self.workers[worker], self.processes[worker] = is_ready, False


class ScriptedRest:
    """Its REST API."""

    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    async def workers(self, _: object) -> Sequence[WorkerStatus]:
        return await self._scripted.ask_workers()

    async def scale(self, _: object, workers: int) -> None:
        self._scripted.acts.append(f"scale {workers}")
        if not workers:
            await self._scripted.has_removed.wait()
            self._scripted.workers.clear()
            if self._scripted.is_down:
                raise BackendUnavailableError("no answer")


@asynccontextmanager
async def healing(scripted: Scripted, *, is_own: bool = True) -> AsyncIterator[tuple[Healing, Time]]:
    time = Time()
    made = Healing(ScriptedRest(scripted), scripted if is_own else None, time, time.pause)
    try:
        yield made, time
    finally:
        await made.stop()


def calling() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("wanted", "expected", "waited", "limit"),
    [
        (None, 0.0, 0.0, None),
        (10.0, 0.0, 0.0, 11.0),
        (10.0, 0.0, 4.0, 7.0),
        (10.0, 0.5, 0.0, 4.5),
        (None, 2.0, 0.0, 12.0),
        (3.0, 2.0, 0.0, 4.0),
        (0.05, 0.01, 0.0, 2.0),
    ],
)
def test_limit_follows_who_waits_and_what_is_expected(
    wanted: float | None, expected: float, waited: float, limit: float | None
) -> None:
    assert limit_of(Envelope(worker_pb2.WorkRequest(), wanted, expected), waited) == limit


async def test_call_in_its_time_harms_no_worker() -> None:
    scripted, call = Scripted("1"), calling()
    async with healing(scripted) as (made, time):
        seen = asyncio.create_task(made.see_through(SERVED, call, 3.0))
        await time.let_pass(2.9)
        call.set_result(None)
        await time.let_pass(1.0)

        assert seen.done()
        assert not scripted.acts


async def test_hung_worker_of_its_own_is_killed_and_ends_the_call() -> None:
    scripted, call = Scripted("1"), calling()
    scripted.on_kill = lambda: call.set_result(None)
    async with healing(scripted) as (made, time):
        seen = asyncio.create_task(made.see_through(SERVED, call, 3.0))
        await time.let_pass(3.0)
        assert seen.done()
        assert scripted.acts == ["kill 1"]

        waiting = asyncio.create_task(made.healed(KEY))
        await time.let_pass(2.0)
        assert not waiting.done()
        scripted.start("1", is_ready=False)
        await time.let_pass(5.0)
        assert not waiting.done(), "it still loads"
        scripted.start("1")
        await time.let_pass(0.3)
        assert waiting.done()
        assert scripted.acts == ["kill 1"]


async def test_call_whose_worker_is_replaced_for_another_is_not_to_blame() -> None:
    scripted, hung, sound, crashed = Scripted("1", "2"), calling(), calling(), calling()

    def end() -> None:
        hung.set_result(None)
        sound.set_result(None)

    scripted.on_kill = end
    async with healing(scripted) as (made, time):
        seen = [asyncio.create_task(made.see_through(PAIR, call, limit)) for call, limit in ((hung, 3.0), (sound, 9.0))]
        await time.let_pass(3.0)
        assert scripted.acts == ["kill 1 2"]
        assert [task.result() for task in seen] == [True, False]

        alone = asyncio.create_task(made.see_through(PAIR, crashed, 9.0))
        await time.let_pass(1.0)
        crashed.set_result(None)
        await time.let_pass(0.1)
        assert alone.result(), "nothing was replaced since it began"


async def test_torchserve_that_waits_to_start_a_worker_is_scaled_from_zero() -> None:
    scripted = Scripted("1")
    scripted.kill_workers("1")
    async with healing(scripted) as (made, time):
        made.note_lost(SERVED)
        await time.let_pass(2.9)
        assert scripted.acts == ["kill 1"]
        await time.let_pass(0.3)
        assert scripted.acts == ["kill 1", "scale 0", "scale 1"]

        scripted.start("2", is_ready=False)
        await time.let_pass(20.0)
        assert scripted.acts == ["kill 1", "scale 0", "scale 1"], "one that loads is let load"


async def test_worker_of_another_torchserve_has_the_time_that_its_model_needs_to_load() -> None:
    """Whether it loads or waits cannot be told."""
    scripted = Scripted("1")
    scripted.start("1", is_ready=False)
    async with healing(scripted, is_own=False) as (made, time):
        made.look_after(SERVED)
        await time.let_pass(59.0)
        assert not scripted.acts
        await time.let_pass(2.0)
        assert scripted.acts == ["scale 0", "scale 1"]


async def test_worker_of_another_torchserve_has_some_time_however_little_its_model_may_take() -> None:
    scripted = Scripted()
    async with healing(scripted, is_own=False) as (made, time):
        made.look_after(replace(SERVED, startup_seconds=1.0))
        await time.let_pass(19.0)
        assert not scripted.acts
        await time.let_pass(2.0)
        assert scripted.acts == ["scale 0", "scale 1"]


async def test_worker_of_another_torchserve_is_scaled_away_and_its_call_runs_again() -> None:
    scripted, call = Scripted("1"), calling()
    async with healing(scripted, is_own=False) as (made, time):
        seen = asyncio.create_task(made.see_through(SERVED, call, 3.0))
        await time.let_pass(3.2)
        assert scripted.acts == ["scale 0", "scale 1"]
        await time.let_pass(4.0)
        assert not seen.done(), "it waits in TorchServe's queue"
        scripted.start("2")
        await time.let_pass(2.0)
        call.set_result(None)
        await time.let_pass(0.1)

        assert seen.done()
        assert scripted.acts == ["scale 0", "scale 1"]


async def test_model_that_is_being_scaled_away_gets_its_workers_back_though_healing_stops() -> None:
    scripted = Scripted("1")
    scripted.has_removed.clear()
    async with healing(scripted, is_own=False) as (made, time):
        seen = asyncio.create_task(made.see_through(SERVED, calling(), 3.0))
        await time.let_pass(3.2)
        assert scripted.acts == ["scale 0"]
        stopping = asyncio.create_task(made.stop())
        await time.let_pass(1.0)
        assert not stopping.done()
        scripted.has_removed.set()
        await asyncio.wait_for(stopping, 5.0)

        assert scripted.acts == ["scale 0", "scale 1"]
        seen.cancel()


async def test_model_whose_scaling_away_was_not_confirmed_gets_its_workers_back() -> None:
    """It may have been done all the same."""
    scripted = Scripted("1")
    scripted.is_down = True
    async with healing(scripted, is_own=False) as (made, time):
        seen = asyncio.create_task(made.see_through(SERVED, calling(), 3.0))
        await time.let_pass(3.2)
        assert scripted.acts == ["scale 0", "scale 1"]
        seen.cancel()


async def test_torchserve_in_which_every_worker_hangs_is_killed() -> None:
    scripted, call = Scripted("1"), calling()
    async with healing(scripted) as (made, time):
        seen = asyncio.create_task(made.see_through(SERVED, call, 3.0))
        for _ in range(3):
            await time.let_pass(3.1)
            scripted.start("1")
            await time.let_pass(0.3)
        scripted.on_kill = lambda: call.set_result(None)
        await time.let_pass(3.0)

        assert scripted.acts == ["kill 1"] * 3 + ["kill all"]
        await time.let_pass(0.1)
        assert seen.done()


async def test_call_that_hangs_every_worker_of_another_torchserve_is_left_to_its_response_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TorchServe would run it again though nobody awaited it: its slot stays taken until TorchServe has ended it."""
    scripted, call = Scripted("1"), calling()
    async with healing(scripted, is_own=False) as (made, time):
        seen = asyncio.create_task(made.see_through(SERVED, call, 3.0))
        for _ in range(5):
            await time.let_pass(3.1)
            scripted.start("2")
            await time.let_pass(1.0)

        assert scripted.acts == ["scale 0", "scale 1"] * 3
        assert "replacing its workers does not help; TorchServe's response timeout" in caplog.messages[-1]
        assert not seen.done()
        call.set_result(None)
        await time.let_pass(0.1)
        assert seen.done()


async def test_call_that_waits_for_a_worker_has_its_time_from_then_on() -> None:
    scripted, call = Scripted("1"), calling()
    scripted.kill_workers("1")
    scripted.start("1", is_ready=False)
    async with healing(scripted) as (made, time):
        made.note_lost(SERVED)
        seen = asyncio.create_task(made.see_through(SERVED, call, 2.0))
        await time.let_pass(6.0)
        scripted.start("1")
        await time.let_pass(1.9)
        call.set_result(None)
        await time.let_pass(0.1)

        assert seen.done()
        assert scripted.acts == ["kill 1"], "it was not for the call"


async def test_slots_are_the_ready_workers_while_one_is_away() -> None:
    scripted = Scripted("1", "2")
    async with healing(scripted) as (made, time):
        assert made.slots(PAIR) == 2
        scripted.kill_workers("2")
        made.note_lost(PAIR)
        await time.let_pass(0.3)
        await asyncio.wait_for(made.healed(KEY), 5.0)
        assert made.slots(PAIR) == 1
        scripted.start("2")
        await time.let_pass(1.1)
        assert made.slots(PAIR) == 2
        assert scripted.acts == ["kill 2"]


async def test_stopped_worker_is_killed_though_nobody_calls() -> None:
    scripted = Scripted("1")
    async with healing(scripted) as (made, time):
        await made.look([SERVED])
        assert not scripted.acts
        scripted.processes["1"] = True
        await made.look([SERVED])

        assert scripted.acts == ["kill 1"]
        await time.let_pass(0.3)
        waiting = asyncio.create_task(made.healed(KEY))
        await time.let_pass(0.3)
        assert not waiting.done()
        scripted.start("1")
        await time.let_pass(0.3)
        assert waiting.done()


async def test_worker_that_has_gone_is_noticed_though_nobody_calls() -> None:
    scripted = Scripted("1")
    async with healing(scripted) as (made, time):
        await made.look([SERVED])
        del scripted.processes["1"]
        await made.look([SERVED])
        await asyncio.wait_for(made.healed(KEY), 5.0)
        await time.let_pass(0.3)
        waiting = asyncio.create_task(made.healed(KEY, 1.0))
        await time.let_pass(1.1)

        with pytest.raises(BackendUnavailableError, match="are being replaced") as raised:
            await waiting
        assert raised.value.retry_seconds == 5.0


async def test_model_without_a_worker_for_long_is_set_aside() -> None:
    scripted = Scripted("1")
    scripted.kill_workers("1")
    scripted.is_down = True
    async with healing(scripted) as (made, time):
        made.note_lost(SERVED)
        await time.let_pass(9.0)
        made.check(KEY)
        await time.let_pass(1.0)
        with pytest.raises(BackendUnavailableError, match="are being replaced"):
            made.check(KEY)
        scripted.is_down = False
        scripted.start("1")
        await time.let_pass(2.0)
        made.check(KEY)


async def test_model_that_has_left_is_no_longer_cared_for(caplog: pytest.LogCaptureFixture) -> None:
    scripted = Scripted()
    scripted.is_down = True
    async with healing(scripted, is_own=False) as (made, time):
        made.note_lost(SERVED)
        waiting = asyncio.create_task(made.healed(KEY))
        await time.let_pass(11.0)
        made.follow({KEY: SERVED})
        await time.let_pass(0.1)
        assert not waiting.done()
        made.follow({})
        await time.let_pass(0.1)
        assert waiting.done()
        made.check(KEY)
        caplog.clear()
        await time.let_pass(5.0)
        assert not caplog.messages


async def test_model_that_is_to_have_fewer_workers_than_before_is_well_with_these() -> None:
    scripted = Scripted("1")
    async with healing(scripted, is_own=False) as (made, time):
        made.look_after(PAIR)
        await time.let_pass(2.0)
        assert made.slots(PAIR) == 1, "one of two is ready"
        made.follow({KEY: SERVED})
        await time.let_pass(2.0)
        assert made.slots(PAIR) == 2, "nothing is known to be wrong"


async def test_stop_lets_go_of_who_waits() -> None:
    scripted = Scripted("1")
    scripted.kill_workers("1")
    async with healing(scripted) as (made, time):
        made.note_lost(SERVED)
        waiting = asyncio.create_task(made.healed(KEY))
        await time.let_pass(1.0)
    await asyncio.wait_for(waiting, 5.0)
