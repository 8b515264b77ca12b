"""A real TorchServe, whose processes are stopped, killed and made to hang."""

import asyncio
import hashlib
import json
import signal
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from services.backends.base import BackendUnavailableError, WorkerLostError
from services.backends.envelope import Envelope
from services.backends.torchserve.api import DEFAULT_MESSAGE_BYTES
from services.backends.torchserve.backend import TorchServeBackend
from services.backends.torchserve.process import TorchServeProcess
from tests.archives import write_tiny_archive
from tests.services.backends.torchserve.scripted import KEY, PATIENCE_SECONDS, backend_at, envelope_of

pytestmark = [pytest.mark.torchserve, pytest.mark.slow]
# TorchServe needs five seconds to start a worker on an idle machine, and several times as long on a busy one.
HEALED_SECONDS = 60.0
# An envelope of so many items never comes back.
_POISON = 13
_HANGING = f"""
_handle = GantryHandler.handle
def _hang(self, data, context):
    import time
    from gantry.v1 import worker_pb2
    while any(len(worker_pb2.WorkRequest.FromString(bytes(one["envelope"])).items) == {_POISON} for one in data):
        time.sleep(1)
    return _handle(self, data, context)
GantryHandler.handle = _hang
"""


def write_hanging_archive(folder: Path) -> None:
    """Write the tiny model, which hangs on an envelope of so many items."""
    sound, hanging = zipfile.ZipFile(write_tiny_archive(folder).rename(folder / "sound")), folder / "hanging.mar"
    with sound, zipfile.ZipFile(hanging, "w") as written:
        members = {name: sound.read(name) for name in sound.namelist()}
        members["handler.py"] += _HANGING.encode()
        card = json.loads(members["card.json"])
        card["member_sha256"]["handler.py"] = hashlib.sha256(members["handler.py"]).hexdigest()
        members["card.json"] = json.dumps(card).encode()
        for name, content in members.items():
            written.writestr(name, content)


@asynccontextmanager
async def running(store: Path) -> AsyncIterator[TorchServeBackend]:
    write_hanging_archive(store)
    backend = TorchServeBackend(model_store=store, address=None, management_address="", workers=1)
    try:
        await backend.start()
        keeping = asyncio.create_task(backend.keep())
        try:
            yield backend
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
    finally:
        await backend.stop()


def workers_of(backend: TorchServeBackend) -> list[psutil.Process]:
    assert backend._process
    return list(psutil.Process(backend._process.pid).children())


async def seconds_until_gone(process: psutil.Process) -> float:
    started = time.monotonic()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.05)
    return time.monotonic() - started


async def answered(backend: TorchServeBackend) -> int:
    """Run envelopes until one comes back, and return how many did not."""
    give_up, failed = time.monotonic() + HEALED_SECONDS, 0
    while True:
        try:
            await backend.run(KEY, Envelope(envelope_of(2), HEALED_SECONDS, 0.05))
        except (BackendUnavailableError, WorkerLostError):
            assert time.monotonic() < give_up
            failed += 1
            await asyncio.sleep(0.1)
        else:
            return failed


async def test_idle_worker_that_is_stopped_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as backend:
        (worker,) = workers_of(backend)
        worker.send_signal(signal.SIGSTOP)

        assert await seconds_until_gone(worker) < 5.0
        assert await answered(backend) == 0, "it waits for the new worker"


async def test_busy_worker_that_is_stopped_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as backend:
        (worker,) = workers_of(backend)
        worker.send_signal(signal.SIGSTOP)
        lost = asyncio.create_task(backend.run(KEY, Envelope(envelope_of(2), PATIENCE_SECONDS, 0.05)))

        assert await seconds_until_gone(worker) < 5.0
        with pytest.raises(WorkerLostError):
            await lost
        assert await answered(backend) == 0


async def test_envelope_that_hangs_is_lost_and_its_worker_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as backend:
        (worker,) = workers_of(backend)
        started = time.monotonic()

        with pytest.raises(WorkerLostError):
            await backend.run(KEY, Envelope(envelope_of(_POISON), 1.5))

        assert 2.5 <= time.monotonic() - started < 7.5
        assert not worker.is_running()
        assert await answered(backend) == 0


@pytest.mark.timeout(900)
async def test_worker_that_is_killed_again_and_again_comes_back(tmp_path: Path) -> None:
    """Also where it is killed while it loads, after which TorchServe makes ever longer pauses."""
    async with running(tmp_path) as backend:
        for amid_loading in [False, True] * 5:
            for worker in workers_of(backend):
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
            if not amid_loading:
                assert await answered(backend) <= 2
        assert await answered(backend) <= 2


@pytest.mark.timeout(600)
async def test_java_that_is_stopped_is_killed_and_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as backend:
        assert backend._process
        frontend, (worker,) = psutil.Process(backend._process.pid), workers_of(backend)
        frontend.send_signal(signal.SIGSTOP)

        assert await seconds_until_gone(frontend) < 8.0
        while not backend._is_down:
            await asyncio.sleep(0.05)
        with pytest.raises(BackendUnavailableError, match="is started again"):
            backend.check(KEY)
        while backend._is_down:
            await asyncio.sleep(0.1)
        await answered(backend)
        assert not worker.is_running()


async def test_hung_worker_of_a_torchserve_that_runs_is_scaled_away(tmp_path: Path) -> None:
    """Where the call is put back in its queue, it hangs the next worker too, until TorchServe ends it."""
    write_hanging_archive(tmp_path)
    process = TorchServeProcess([tmp_path / "hanging.mar"], 1, DEFAULT_MESSAGE_BYTES)
    try:
        await process.start(PATIENCE_SECONDS)
        backend = backend_at(process.address, process.management_address, rest_address=process.rest_address)
        await backend.start()
        (worker,) = psutil.Process(process.pid).children()
        lost = asyncio.create_task(backend.run(KEY, Envelope(envelope_of(_POISON), 1.5)))

        assert await seconds_until_gone(worker) < 7.5
        with pytest.raises(WorkerLostError):
            await lost
        assert await answered(backend) == 0
        await backend.stop()
    finally:
        await process.stop()
