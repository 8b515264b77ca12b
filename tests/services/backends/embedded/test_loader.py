"""A loader says what it loaded, forks workers, and says why it cannot."""

import asyncio
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from services.backends.base import BackendUnavailableError
from services.backends.embedded.loader import Loader
from services.backends.embedded.vigilance import Vigilance
from tests.archives import CLASS_NAMES, LATENT_SIZE, TinyGenerator, tiny_card, write_tiny_archive
from tests.services.backends.embedded.work import KEY, Descendants, descriptors, outcomes, until, work
from training.archive.export import export_generator
from training.archive.package import write_archive

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


# Products of matrices that take a minute or more.
_ENDLESS = 50


class Swelling(nn.Module):
    """Computes for a minute, or takes more memory than there is, with each call."""

    def __init__(self, doublings: int, products: int) -> None:
        super().__init__()
        self.pictures = TinyGenerator(1, seed=0)
        self.doublings, self.products = doublings, products

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:
        square = torch.ones(4096, 4096) * latents.mean()
        for _ in range(self.products):
            square = square @ square
        row = square[0]
        for _ in range(self.doublings):
            row = torch.cat([row, row])
        pictures: Tensor = self.pictures(latents, condition) * row.mean()
        return pictures


@pytest.mark.parametrize(
    ("doublings", "products", "seconds", "reason"),
    [
        (
            24,
            0,
            60.0,
            r"the process that loads it holds [\d,]+ bytes and may hold only 1,073,741,824 \(worker_memory_.*",
        ),
        (0, _ENDLESS, 5.0, r"is not loaded after 5 s \(archive_seconds, GANTRY_ARCHIVE_SECONDS\)"),
    ],
    ids=["memory", "time"],
)
async def test_archive_that_takes_too_much_is_refused_and_the_others_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, doublings: int, products: int, seconds: float, reason: str
) -> None:
    started = Descendants()
    write_tiny_archive(tmp_path)
    graph = export_generator(Swelling(doublings, products), LATENT_SIZE, len(CLASS_NAMES))
    write_archive(tmp_path / "swelling.mar", tiny_card("swelling"), {"model.pt2": graph})
    vigilance = Vigilance(archive_seconds=seconds, memory_bytes=1 << 30)
    loader = await Loader.start(tmp_path, "float32", "cpu", vigilance=vigilance)
    assert [model.card.name for model in loader.report.models] == ["tiny"]
    ((archive, told),) = [(refused.archive, refused.reason) for refused in loader.report.refused]
    assert archive == "swelling.mar"
    assert re.fullmatch(reason, told)
    assert f"the models are loaded without swelling.mar: {told}" in caplog.text
    await loader.kill()
    await until(lambda: not started())


async def test_archive_that_ends_the_process_is_refused_and_the_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_archive(tmp_path)
    graph = export_generator(Swelling(0, _ENDLESS), LATENT_SIZE, len(CLASS_NAMES))
    write_archive(tmp_path / "a-first.mar", tiny_card("swelling"), {"model.pt2": graph})
    looks = itertools.count()

    def kill_at_the_first_archive(pid: int) -> int:
        if next(looks) == 1:
            os.kill(pid, signal.SIGKILL)
        return 0

    monkeypatch.setattr("services.backends.embedded.loader.resident_bytes", kill_at_the_first_archive)
    loader = await Loader.start(tmp_path, "float32", "cpu")
    assert [model.card.name for model in loader.report.models] == ["tiny"]
    assert {refused.archive: refused.reason for refused in loader.report.refused} == {
        "a-first.mar": "the process that loaded it ended; its last lines say why"
    }
    await loader.kill()
