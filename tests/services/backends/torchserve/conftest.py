"""Models for the backends' tests, and a real TorchServe."""

import asyncio
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gantry.v1 import worker_pb2
from services.backends.torchserve.api import DEFAULT_MESSAGE_BYTES
from services.worker.archive import open_archive
from services.worker.runner import Runner
from tests.archives import tiny_card, write_tiny_archive
from tests.services.backends.torchserve.scripted import Answer
from training.archive.package import write_archive

if TYPE_CHECKING:
    from services.backends.torchserve.process import TorchServeProcess


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_archive(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def runner(archive: Path) -> Runner:
    return Runner(open_archive(archive))


@pytest.fixture
def tiny(runner: Runner) -> Answer:
    """What a sound worker of the model answers."""

    async def answer(envelope: worker_pb2.WorkRequest, _: Any) -> bytes:
        return runner.run(envelope).SerializeToString()

    return answer


# Not for the whole session: it tries to start the broken model's worker again for minutes.
@pytest.fixture(scope="module")
def process(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[TorchServeProcess]":
    """A real TorchServe with a sound model, one whose graph is broken, and one of somebody else."""
    from services.backends.torchserve.process import TorchServeProcess

    folder = tmp_path_factory.mktemp("odd")
    write_archive(folder / "broken.mar", tiny_card("broken"), {"model.pt2": b"no graph"})
    write_strange_archive(folder / "strange.mar")
    running = TorchServeProcess([archive, folder / "broken.mar", folder / "strange.mar"], 1, DEFAULT_MESSAGE_BYTES)
    try:
        asyncio.run(running.start(timeout=180.0))
        yield running
    finally:
        asyncio.run(running.stop())


def write_strange_archive(path: Path) -> None:
    """An archive that TorchServe loads and Gantry did not write: it answers every call with a greeting."""
    manifest = {"runtime": "python", "model": {"modelName": "strange", "handler": "handler.py", "modelVersion": "1.0"}}
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        mar.writestr("handler.py", "def handle(data, context):\n    return [b'hello'] * len(data or [])\n")
