"""A worker process answers, takes back what nobody awaits, and leaves nothing behind when it ends."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from gantry.v1 import worker_pb2
from services.backends.base import BackendFailedError, ModelKey, WorkerLostError, probe_item
from services.backends.embedded.loader import Loader
from services.backends.embedded.process import WorkerProcess
from services.backends.envelope import Envelope
from tests.archives import write_tiny_translation_archive
from tests.services.backends.embedded.work import KEY, MANY, Descendants, descriptors, outcomes, until, work

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def end(worker: WorkerProcess) -> None:
    worker.kill("stopped")
    await worker.ended()
    worker.close()


async def test_it_answers_envelopes_and_pings(loader: Loader) -> None:
    worker = await loader.fork()
    worker.ping()
    worker.ping()
    assert worker.unanswered == 2
    assert outcomes(await worker.run(KEY, work(64))) == {"image"}
    assert worker.unanswered == 0
    assert worker.memory() > 1 << 20
    await end(worker)


async def test_it_answers_pings_while_it_runs_an_envelope(loader: Loader) -> None:
    worker = await loader.fork()
    envelope = work(MANY)
    running = asyncio.create_task(worker.run(KEY, envelope))
    await asyncio.sleep(0)
    worker.ping()
    await until(lambda: not worker.unanswered)
    assert not running.done()
    await end(worker)
    with pytest.raises(WorkerLostError):
        await running


async def test_what_is_abandoned_is_left_unrun_between_chunks(loader: Loader) -> None:
    worker = await loader.fork()
    envelope = work(MANY)
    running = asyncio.create_task(worker.run(KEY, envelope))
    await asyncio.sleep(0)
    for place in range(1, MANY):
        envelope.abandon(place)
    began = time.monotonic()
    reply = await running
    assert outcomes(reply) == {"image", "unrun"}
    assert reply.results[0].HasField("image")
    assert sum(result.unrun for result in reply.results) > MANY / 2
    assert time.monotonic() - began < 1.0
    await end(worker)


async def test_what_is_abandoned_after_the_answer_does_not_touch_the_next_envelope(loader: Loader) -> None:
    worker = await loader.fork()
    former, envelope = work(), work(2_000)
    await worker.run(KEY, former)
    running = asyncio.create_task(worker.run(KEY, envelope))
    await asyncio.sleep(0)
    former.abandon(0)
    for place in range(2_000):
        former.on_abandon(place)
    assert outcomes(await running) == {"image"}
    await end(worker)


async def test_item_whose_time_is_over_is_left_unrun(loader: Loader) -> None:
    worker = await loader.fork()
    envelope = work(2)
    envelope.request.items[1].wanted_seconds = 1e-9
    reply = await worker.run(KEY, envelope)
    assert [result.WhichOneof("outcome") for result in reply.results] == ["image", "unrun"]
    await end(worker)


async def test_envelope_that_fails_leaves_the_worker_as_it_is(loader: Loader) -> None:
    worker = await loader.fork()
    with pytest.raises(BackendFailedError, match="the model failed"):
        await worker.run(ModelKey("none", "1.0.0"), work())
    assert outcomes(await worker.run(KEY, work())) == {"image"}
    await end(worker)


async def test_its_end_fails_the_envelope_under_way_and_all_later_ones(loader: Loader) -> None:
    worker = await loader.fork()
    running = asyncio.create_task(worker.run(KEY, work(MANY)))
    await asyncio.sleep(0)
    os.kill(worker.pid, signal.SIGKILL)
    for lost in (running, worker.run(KEY, work())):
        with pytest.raises(WorkerLostError):
            await lost
    assert worker.has_ended
    assert worker.end == ""
    worker.close()


async def test_garbage_counts_as_its_end(loader: Loader) -> None:
    class Garbage:
        async def readexactly(self, size: int) -> bytes:
            return b"\0\0\0\4" if size == 4 else b"\xff" * size

    worker = await loader.fork()
    other = WorkerProcess(worker.pid, Garbage(), worker._writer)  # type: ignore[arg-type]
    await other.ended()
    other.close()
    await until(lambda: worker.has_ended)
    worker.close()


async def test_answer_that_comes_as_its_caller_is_cancelled_is_dropped(loader: Loader) -> None:
    worker = await loader.fork()
    running = asyncio.create_task(worker.run(KEY, work()))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    worker.ping()
    await until(lambda: not worker.unanswered)
    assert not worker.has_ended
    await end(worker)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_asks_a_process_to_end_does_not_end_it(loader: Loader, number: signal.Signals) -> None:
    worker = await loader.fork()
    for pid in (worker.pid, loader.pid):
        os.kill(pid, number)
    assert outcomes(await worker.run(KEY, work())) == {"image"}
    await end(worker)
    await end(await loader.fork())


async def test_it_shares_the_memory_of_its_loader(loader: Loader) -> None:
    worker = await loader.fork()
    await worker.run(KEY, work(64))
    held = psutil.Process(worker.pid).memory_full_info()
    assert held.uss < held.rss / 4
    await end(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
async def test_large_pictures_give_way_to_small_ones(tmp_path: Path) -> None:
    def seconds_at_low_priority() -> float:
        usual = os.getpriority(os.PRIO_PROCESS, worker.pid)
        threads = [thread for thread in Path(f"/proc/{worker.pid}/task").iterdir()
                   if os.getpriority(os.PRIO_PROCESS, int(thread.name)) > usual]  # fmt: skip
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    write_tiny_translation_archive(tmp_path)
    loader = await Loader.start(tmp_path, "float32", "cpu")
    worker = await loader.fork()
    (model,) = loader.report.models
    key = ModelKey(model.card.name, model.card.version)
    spent = []
    for side in (512, 2048):
        before = seconds_at_low_priority()
        items = [probe_item(model.card, side)]
        assert outcomes(await worker.run(key, Envelope(worker_pb2.WorkRequest(items=items)))) == {"image"}
        spent.append(seconds_at_low_priority() - before)
    await end(worker)
    await loader.kill()
    assert spent[0] < 0.005 < spent[1]


async def test_ends_leave_no_descriptor_and_no_process(loader: Loader) -> None:
    open_before, forked = descriptors(), Descendants(loader.pid)
    for _ in range(50):
        worker = await loader.fork()
        running = asyncio.create_task(worker.run(KEY, work()))
        await asyncio.sleep(0)
        await end(worker)
        await asyncio.gather(running, return_exceptions=True)
    await until(lambda: not forked() and descriptors() <= open_before)


async def test_one_that_has_been_let_go_is_not_killed_by_its_number(loader: Loader) -> None:
    worker = await loader.fork()
    await end(worker)
    worker.kill("overdue")
    worker.close()
    assert worker.end == "stopped"
