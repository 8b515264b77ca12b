"""The embedded backend runs real archives in processes of its own, and fails in the ways that the gateway knows."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from gantry.v1 import worker_pb2
from gantry.v1.generation_pb2 import DIRECTION_B_TO_A
from services.backends.base import (
    BackendFailedError,
    BackendUnavailableError,
    ModelKey,
    WorkerLostError,
    probe_item,
    try_out,
)
from services.backends.embedded.backend import EmbeddedBackend
from services.backends.embedded.quarantine import ASIDE_SECONDS, LOSSES_IN_A_ROW
from services.backends.embedded.vigilance import Vigilance
from tests.archives import (
    tiny_attribute_card,
    tiny_card,
    tiny_one_way_card,
    tiny_unconditional_card,
    write_tiny_archive,
    write_tiny_attribute_archive,
    write_tiny_code_archive,
    write_tiny_one_way_archive,
    write_tiny_translation_archive,
    write_tiny_unconditional_archive,
)
from tests.services.backends.embedded.work import KEY, MANY, Descendants, outcomes, until, work
from tests.services.gateway.fakes import Clock
from training.archive.package import write_archive

in_session = pytest.mark.asyncio(loop_scope="session")

GATEWAY = """
import asyncio, sys
from pathlib import Path
from services.backends.embedded.backend import EmbeddedBackend

async def main():
    backend = EmbeddedBackend(Path(sys.argv[1]), workers=2, execution="float32")
    await backend.start()
    print("torch" in sys.modules, flush=True)
    await backend.keep()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def started() -> Descendants:
    """The processes of the backend."""
    return Descendants()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def backend(
    tmp_path_factory: pytest.TempPathFactory,
    clock: Clock,
    started: Descendants,
) -> AsyncIterator[EmbeddedBackend]:
    """Two workers with a model of every kind, and a broken one."""
    store = tmp_path_factory.mktemp("every")
    for write in (
        write_tiny_archive,
        write_tiny_attribute_archive,
        write_tiny_code_archive,
        write_tiny_one_way_archive,
        write_tiny_translation_archive,
        write_tiny_unconditional_archive,
    ):
        write(store)
    write_archive(store / "broken.mar", tiny_card("broken"), {"model.pt2": b"no graph"})
    running = EmbeddedBackend(store, workers=2, execution="float32", clock=clock)
    await running.start()
    keeping = asyncio.create_task(running.keep())
    yield running
    keeping.cancel()
    await running.stop()


@in_session
async def test_every_kind_of_model_makes_a_picture(backend: EmbeddedBackend) -> None:
    assert len(backend.models) == 6
    for key, model in backend.models.items():
        await try_out(model.card, lambda envelope, key=key: backend.run(key, envelope))  # type: ignore[misc]


@in_session
async def test_a_broken_graph_is_refused(backend: EmbeddedBackend) -> None:
    assert [refused.archive for refused in backend.refused] == ["broken.mar"]
    assert backend.refused[0].reason.startswith("model.pt2: not an exported program")


@in_session
async def test_one_model_never_holds_all_workers(backend: EmbeddedBackend) -> None:
    assert backend.workers == 2
    assert backend.slots(KEY) == 1


def loader_of(started: Descendants) -> psutil.Process:
    (loader,) = [process for process in started() if process.children()]
    return loader


def kill_workers(started: Descendants) -> None:
    """Kill all workers for certain, and leave their loader."""
    workers = loader_of(started).children()
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers)


@in_session
async def test_model_that_keeps_losing_workers_is_set_aside_while_others_serve(
    backend: EmbeddedBackend, clock: Clock, started: Descendants
) -> None:
    changes, reasons = [], []
    backend.on_change, backend.on_worker_lost = lambda: changes.append(clock.now), reasons.append
    for _ in range(LOSSES_IN_A_ROW):
        running = asyncio.create_task(backend.run(KEY, work(MANY)))
        await asyncio.sleep(0.05)
        kill_workers(started)
        with pytest.raises(WorkerLostError):
            await running
    assert changes
    assert set(reasons) == {"crashed"}
    with pytest.raises(BackendUnavailableError, match="set aside"):
        backend.check(KEY)
    with pytest.raises(BackendUnavailableError, match="set aside"):
        await backend.run(KEY, work())
    other = ModelKey("tiny-plain", "1.0.0")
    await try_out(backend.models[other].card, lambda envelope: backend.run(other, envelope))
    clock.now += ASIDE_SECONDS[0]
    assert outcomes(await backend.run(KEY, work())) == {"image"}
    backend.check(KEY)


@in_session
async def test_model_that_fails_has_answered(backend: EmbeddedBackend) -> None:
    none = ModelKey("none", "1.0.0")
    with pytest.raises(BackendFailedError):
        await backend.run(none, work())
    backend.check(none)


@in_session
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
async def test_loader_that_is_lost_is_replaced_with_the_next_worker(
    backend: EmbeddedBackend, number: signal.Signals, started: Descendants
) -> None:
    lost: list[str] = []
    backend.on_worker_lost = lost.append
    loader = loader_of(started)
    workers, count = loader.children(), len(started())
    loader.send_signal(number)
    assert outcomes(await backend.run(KEY, work())) == {"image"}
    for worker in workers:
        worker.kill()
    await until(lambda: len(lost) == len(workers))
    assert outcomes(await backend.run(KEY, work())) == {"image"}
    await until(lambda: len(started()) == count, 60.0)
    assert not loader.is_running()


@in_session
async def test_archives_that_have_changed_when_they_are_loaded_again_are_served_by_new_workers_only(
    tmp_path: Path,
) -> None:
    started, lost = Descendants(), []
    write_tiny_archive(tmp_path, seed=0)
    backend = EmbeddedBackend(tmp_path, workers=3, execution="float32")
    backend.on_worker_lost = lost.append
    await backend.start()
    digest = backend.models[KEY].digest
    before = await backend.run(KEY, work())
    write_tiny_archive(tmp_path, seed=1)
    write_tiny_archive(tmp_path, name="new")
    runs: list[asyncio.Task[worker_pb2.WorkReply]] = []
    # From the moment on at which the gateway learns of them.
    backend.on_change = lambda: runs.extend(
        asyncio.create_task(backend.run(key, work())) for key in 3 * [KEY, ModelKey("new", "1.0.0")]
    )
    loader = loader_of(started)
    worker = loader.children()[0]
    for process in (loader, worker):
        process.kill()
    await until(lambda: bool(runs), 60.0)
    assert backend.models[KEY].digest != digest
    replies = await asyncio.gather(*runs)
    assert [outcomes(reply) for reply in replies] == 6 * [{"image"}]
    (picture,) = {reply.results[0].image.data for reply in replies[::2]}
    assert picture != before.results[0].image.data
    assert lost == ["crashed"]
    await backend.stop()


@pytest.mark.slow
@in_session
async def test_workers_stay_where_an_archive_has_only_left(tmp_path: Path) -> None:
    started = Descendants()
    write_tiny_archive(tmp_path)
    gone = write_tiny_archive(tmp_path, name="gone")
    backend = EmbeddedBackend(tmp_path, workers=2, execution="float32")
    await backend.start()
    gone.unlink()
    has_changed = asyncio.Event()
    backend.on_change = has_changed.set
    loader = loader_of(started)
    worker, other = loader.children()
    for process in (loader, worker):
        process.kill()
    async with asyncio.timeout(60.0):
        await has_changed.wait()
    assert list(backend.models) == [KEY]
    assert outcomes(await backend.run(KEY, work())) == {"image"}
    assert other.is_running()
    await backend.stop()


@pytest.mark.slow
@in_session
async def test_workers_that_cannot_be_forked_load_for_themselves(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "other")
    backend = EmbeddedBackend(store, workers=2, execution="float32")
    monkeypatch.undo()
    lost: list[str] = []
    backend.on_worker_lost = lost.append
    begun = Descendants()
    await backend.start()
    assert [outcomes(await backend.run(KEY, work())) for _ in range(2)] == [{"image"}] * 2
    for worker in begun():
        worker.kill()
    await until(lambda: len(lost) == 2)
    assert outcomes(await backend.run(KEY, work())) == {"image"}
    await backend.stop()
    await until(lambda: not begun())


def test_gateway_that_is_killed_leaves_no_process_and_never_has_torch(store: Path) -> None:
    gateway = subprocess.Popen([sys.executable, "-c", GATEWAY, str(store)], stdout=subprocess.PIPE, text=True)
    assert gateway.stdout
    with gateway.stdout:
        assert gateway.stdout.readline() == "False\n"
        below = psutil.Process(gateway.pid).children(recursive=True)
        assert len(below) == 3
        gateway.kill()
        gateway.wait()
    _, alive = psutil.wait_procs(below, timeout=5.0)
    assert not alive


def test_a_probe_keeps_to_what_the_model_knows() -> None:
    """A graph may give values that are not finite for an age of 0."""
    assert list(probe_item(tiny_attribute_card()).generate.condition) == [0.0, 18.0]
    assert list(probe_item(tiny_unconditional_card()).generate.condition) == []


def test_a_probe_goes_the_way_that_there_is() -> None:
    card = tiny_one_way_card()
    card.graphs[0].source_domain, card.graphs[0].target_domain = "photo", "sketch"
    assert probe_item(card).translate.direction == DIRECTION_B_TO_A


async def test_store_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="none is not a folder"):
        await EmbeddedBackend(tmp_path / "none").start()


@in_session
async def test_worker_that_holds_more_than_it_may_before_any_work_is_no_loop_of_kills(store: Path) -> None:
    started = Descendants()
    backend = EmbeddedBackend(store, workers=2, execution="float32", vigilance=Vigilance(memory_bytes=1 << 20))
    with pytest.raises(BackendUnavailableError, match=r"holds [\d,]+ bytes .* only 1,048,576 \(worker_memory_bytes"):
        await backend.start()
    await until(lambda: not started())
