"""A loader says what it loaded, forks workers, and says why it cannot."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
import torch

from services.backends.base import BackendUnavailableError
from services.backends.embedded.loader import Loader
from tests.services.backends.embedded.work import KEY, Descendants, descriptors, outcomes, until, work

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_it_reports_its_models(loader: Loader) -> None:
    assert [(model.card.name, model.card.version) for model in loader.report.models] == [KEY]
    assert not loader.report.refused


async def test_without_forks_it_is_the_worker_itself(store: Path) -> None:
    started, open_before = Descendants(), descriptors()
    loader = await Loader.start(store, "float32", "cpu", is_worker=True)
    worker = loader.become_worker()
    worker.ping()
    assert outcomes(await worker.run(KEY, work(2))) == {"image"}
    assert not worker.unanswered
    os.kill(worker.pid, signal.SIGKILL)
    await worker.ended()
    worker.close()
    await loader.kill()
    await until(lambda: not started() and descriptors() <= open_before)


async def test_workers_outlive_it_and_it_forks_no_more(store: Path) -> None:
    open_before = descriptors()
    loader = await Loader.start(store, "float32", "cpu")
    worker = await loader.fork()
    await loader.kill()
    assert outcomes(await worker.run(KEY, work(2))) == {"image"}
    with pytest.raises(BackendUnavailableError, match="forks no worker"):
        await loader.fork()
    worker.kill("stopped")
    await worker.ended()
    worker.close()
    await until(lambda: descriptors() <= open_before)


async def test_the_event_loop_goes_on_while_it_ends() -> None:
    loop_goes_on = threading.Event()
    seen: list[bool] = []

    class SlowToEnd(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            seen.append(loop_goes_on.wait(timeout))
            return super().wait(timeout)

    ours, theirs = socket.socketpair()
    with theirs:
        loader = Loader(SlowToEnd(["sleep", "60"]), ours, *await asyncio.open_connection(sock=ours))
        asyncio.get_running_loop().call_soon(loop_goes_on.set)
        await loader.kill()
    assert seen == [True]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
async def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="device cuda:0: torch finds no GPU here"):
        await Loader.start(tmp_path, "auto", "cuda:0", is_worker=True)


async def test_process_that_ends_as_it_loads_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="the process that loads the models has ended"):
        await Loader.start(tmp_path, "no such execution", "--no-such-option")
