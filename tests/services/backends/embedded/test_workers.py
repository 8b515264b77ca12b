"""Workers are leased, watched, killed where they hang or swell, and replaced."""

import asyncio
import os
import re
import signal
import time

import pytest

from services.backends.base import BackendUnavailableError, WorkerLostError
from services.backends.embedded.loader import Loader
from services.backends.embedded.process import WorkerProcess
from services.backends.embedded.vigilance import Vigilance
from services.backends.embedded.workers import DesertedError, Workers
from tests.services.backends.embedded.conftest import Crew
from tests.services.backends.embedded.work import BLIND, KEY, MANY, Descendants, descriptors, outcomes, until, work

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK = Vigilance(heartbeat_seconds=0.1)


@pytest.fixture
def forked(loader: Loader) -> Descendants:
    """The workers of a test."""
    return Descendants(loader.pid)


async def test_envelopes_run_side_by_side_and_wait_for_a_worker(crew: Crew) -> None:
    async with crew(2) as (workers, losses):
        replies = await asyncio.gather(*(workers.run(KEY, work(8)) for _ in range(6)))
    assert [outcomes(reply) for reply in replies] == [{"image"}] * 6
    assert losses.empty()


async def test_worker_that_is_killed_with_an_envelope_is_replaced(crew: Crew, forked: Descendants) -> None:
    async with crew() as (workers, losses):
        running = asyncio.create_task(workers.run(KEY, work(MANY)))
        worker = await forked.only()
        await asyncio.sleep(0.01)
        began = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            await running
        assert outcomes(await workers.run(KEY, work())) == {"image"}
        assert time.monotonic() - began < 3.0
        assert losses.get_nowait() == "crashed"


async def test_idle_worker_that_is_killed_is_replaced(crew: Crew, forked: Descendants) -> None:
    async with crew() as (workers, losses):
        os.kill(await forked.only(), signal.SIGKILL)
        assert await losses.get() == "crashed"
        assert outcomes(await workers.run(KEY, work())) == {"image"}


async def test_worker_that_is_stopped_is_found_by_the_pings_that_it_misses(crew: Crew, forked: Descendants) -> None:
    async with crew(vigilance=QUICK) as (workers, losses):
        running = asyncio.create_task(workers.run(KEY, work(MANY)))
        os.kill(await forked.only(), signal.SIGSTOP)
        with pytest.raises(WorkerLostError):
            await running
        assert await losses.get() == "silent"
        assert outcomes(await workers.run(KEY, work())) == {"image"}


async def test_worker_that_runs_a_long_envelope_is_not_silent(crew: Crew) -> None:
    async with crew(vigilance=QUICK) as (workers, losses):
        assert outcomes(await workers.run(KEY, work(MANY))) == {"image"}
        assert losses.empty()


async def test_worker_that_holds_too_much_memory_is_killed_and_the_log_says_how_much(
    loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    losses: asyncio.Queue[str] = asyncio.Queue()
    workers = Workers(lambda _: loader.fork(), Vigilance(heartbeat_seconds=0.1, memory_bytes=1), losses.put_nowait)
    await workers.add(0)
    assert outcomes(await workers.run(KEY, work())) == {"image"}
    watching = asyncio.create_task(workers.watch())
    assert await losses.get() == "memory"
    assert re.search(r"killed \(memory\): it holds [\d,]+ bytes and may hold only 1 \(worker_memory_bytes", caplog.text)
    await asyncio.wait({watching})
    assert isinstance(watching.exception(), BackendUnavailableError)
    await workers.stop()


async def test_workers_that_hold_too_much_memory_before_any_work_are_no_loop_of_kills(loader: Loader) -> None:
    workers = Workers(lambda _: loader.fork(), Vigilance(heartbeat_seconds=0.1, memory_bytes=1), lambda _: None)
    await workers.add(0)
    with pytest.raises(BackendUnavailableError, match=r"a worker that has run nothing holds [\d,]+ bytes"):
        await workers.watch()
    await workers.stop()


async def test_worker_that_is_overdue_is_killed_soon_after_the_last_deadline(crew: Crew, forked: Descendants) -> None:
    async with crew() as (workers, losses):
        os.kill(await forked.only(), signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(WorkerLostError) as lost:
            await workers.run(KEY, work(seconds_wanted=0.1))
        assert not isinstance(lost.value, DesertedError)
        assert 1.0 < time.monotonic() - began < 3.0
        assert await losses.get() == "overdue"
        assert outcomes(await workers.run(KEY, work())) == {"image"}


@pytest.mark.parametrize(
    ("expected_seconds", "stays_seconds", "reason"),
    [(0.1, 0.0, "deserted"), (60.0, 1.5, "deserted"), (0.1, 1.5, "overdue")],
)
async def test_model_is_to_blame_for_a_deserted_envelope_only_where_it_took_long(
    crew: Crew, forked: Descendants, expected_seconds: float, stays_seconds: float, reason: str
) -> None:
    async with crew() as (workers, losses):
        os.kill(await forked.only(), signal.SIGSTOP)
        envelope = work(expected_seconds=expected_seconds)
        running = asyncio.create_task(workers.run(KEY, envelope))
        await asyncio.wait({running}, timeout=stays_seconds)
        envelope.abandon(0)
        with pytest.raises(WorkerLostError) as lost:
            await running
        assert isinstance(lost.value, DesertedError) is (reason == "deserted")
        assert await losses.get() == reason


async def test_all_are_replaced_where_asked_and_a_busy_one_answers_first(crew: Crew, forked: Descendants) -> None:
    async with crew(2) as (workers, losses):
        before = forked.pids()
        running = asyncio.create_task(workers.run(KEY, work(MANY)))
        await asyncio.sleep(0)
        workers.replace_all()
        await until(lambda: len(forked.pids() & before) == 1)
        assert not running.done()
        assert outcomes(await running) == {"image"}
        await until(lambda: not forked.pids() & before and len(forked.pids()) == 2)
        assert losses.empty()


async def test_deserted_envelope_ends_between_chunks_and_costs_no_worker(crew: Crew) -> None:
    async with crew() as (workers, losses):
        envelope = work(MANY)
        running = asyncio.create_task(workers.run(KEY, envelope))
        await asyncio.sleep(0.05)
        for place in range(MANY):
            envelope.abandon(place)
        assert "unrun" in outcomes(await running)
        assert losses.empty()


async def test_what_nobody_awaits_once_a_worker_is_free_is_not_sent(crew: Crew) -> None:
    async with crew() as (workers, losses):
        long = asyncio.create_task(workers.run(KEY, work(1_000)))
        await asyncio.sleep(0)
        late, deserted, awaited = work(seconds_wanted=0.01), work(), work(2, seconds_wanted=60.0)
        awaited.request.items[0].wanted_seconds, awaited.request.items[1].wanted_seconds = 0.01, 60.0
        waiting = [asyncio.create_task(workers.run(KEY, envelope)) for envelope in (late, deserted, awaited)]
        await asyncio.sleep(0)
        deserted.abandon(0)
        replies = await asyncio.gather(*waiting)
        assert [[result.WhichOneof("outcome") for result in reply.results] for reply in replies] == [
            ["unrun"],
            ["unrun"],
            ["unrun", "image"],
        ]
        assert outcomes(await long) == {"image"}
        assert losses.empty()


async def test_run_that_is_cancelled_gives_up_its_worker(crew: Crew, forked: Descendants) -> None:
    async with crew() as (workers, losses):
        running = asyncio.create_task(workers.run(KEY, work(MANY)))
        first = await forked.only()
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await losses.get()
        assert outcomes(await workers.run(KEY, work())) == {"image"}
        assert first not in forked.pids()


async def test_wait_for_a_worker_that_is_cancelled_takes_none(crew: Crew) -> None:
    async with crew() as (workers, losses):
        running = asyncio.create_task(workers.run(KEY, work(500)))
        waiting = asyncio.create_task(workers.run(KEY, work()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert outcomes(await workers.run(KEY, work())) == {"image"}
        assert losses.empty()


async def test_twenty_kills_under_load_lose_no_worker_and_no_descriptor(crew: Crew, forked: Descendants) -> None:
    before = descriptors()
    async with crew(2) as (workers, losses):

        async def call() -> None:
            while losses.qsize() < 20:
                await asyncio.gather(workers.run(KEY, work(16)), return_exceptions=True)

        calls = [asyncio.create_task(call()) for _ in range(2)]
        for count in range(20):
            await until(lambda: forked.kill_one())
            await until(lambda count=count: losses.qsize() > count)  # type: ignore[misc]
        await asyncio.gather(*calls)
        replies = await asyncio.gather(*(workers.run(KEY, work()) for _ in range(2)))
        assert [outcomes(reply) for reply in replies] == [{"image"}] * 2
        await until(lambda: len(forked.pids()) == 2)
    await until(lambda: descriptors() <= before and not forked.pids())


async def test_stop_while_a_worker_is_being_replaced_leaves_none(loader: Loader, forked: Descendants) -> None:
    starts = 0
    replacing = asyncio.Event()

    async def start(_: int) -> WorkerProcess:
        nonlocal starts
        starts += 1
        if starts == 2:
            replacing.set()
        return await loader.fork()

    workers = Workers(start, BLIND, lambda _: None)
    await workers.add(0)
    os.kill(await forked.only(), signal.SIGKILL)
    await replacing.wait()
    await workers.stop()
    await until(lambda: not forked.pids())
    # The answer to the order that was cancelled is not taken for that of the next one.
    worker = await loader.fork()
    assert worker.pid == await forked.only()
    assert outcomes(await worker.run(KEY, work())) == {"image"}
    worker.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BackendUnavailableError("no more"), "no more"),
        (ProcessLookupError("it is gone"), "cannot be replaced: ProcessLookupError"),
    ],
)
async def test_worker_that_cannot_be_replaced_ends_the_watch(
    loader: Loader, forked: Descendants, error: Exception, reason: str
) -> None:
    starts = iter([loader.fork])

    async def start(_: int) -> WorkerProcess:
        for fork in starts:
            return await fork()
        raise error

    workers = Workers(start, BLIND, lambda _: None)
    await workers.add(0)
    os.kill(await forked.only(), signal.SIGKILL)
    async with asyncio.timeout(5.0):
        with pytest.raises(BackendUnavailableError, match=reason):
            await workers.watch()
    await workers.stop()


async def test_nothing_that_goes_wrong_as_a_worker_is_let_go_loses_its_place(
    loader: Loader, forked: Descendants
) -> None:
    def fail(_: str) -> None:
        raise ZeroDivisionError

    workers = Workers(lambda _: loader.fork(), BLIND, fail)
    await workers.add(0)
    os.kill(await forked.only(), signal.SIGKILL)
    async with asyncio.timeout(5.0):
        with pytest.raises(BackendUnavailableError, match="cannot be replaced: ZeroDivisionError"):
            await workers.watch()
    await workers.stop()
