"""One store of archives, served by real gateways: one per backend, each started once."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.gateway.server import make_backend
from services.gateway.settings import Settings
from tests.archives import (
    write_tiny_archive,
    write_tiny_attribute_archive,
    write_tiny_code_archive,
    write_tiny_one_way_archive,
    write_tiny_translation_archive,
    write_tiny_unconditional_archive,
)
from tests.conformance.harness import EventLoop, Served, serving

BACKENDS = ["embedded", pytest.param("torchserve", marks=pytest.mark.torchserve)]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound archives of models of every kind, one with a tampered member, and a file that is no archive.

    The archive of "rgb" is one of before cards listed their graphs.
    """
    folder = tmp_path_factory.mktemp("store")
    grey = write_tiny_archive(folder, "grey", "1.9.0")
    write_tiny_archive(folder, "grey", "1.10.0", seed=1)
    _forget_graphs(write_tiny_archive(folder, "rgb", "2.0.0", channels=3))
    write_tiny_code_archive(folder, "codes")
    write_tiny_translation_archive(folder, "horse2zebra")
    write_tiny_unconditional_archive(folder, "plain")
    write_tiny_attribute_archive(folder, "faces")
    write_tiny_one_way_archive(folder, "sketch2photo")
    (folder / "garbage.mar").write_bytes(b"PK, but not a zip")
    _tamper(grey, folder / "tampered.mar", "handler.py")
    return folder


@pytest.fixture(scope="session")
def loop() -> Iterator[EventLoop]:
    """The event loop of all gateways."""
    running = EventLoop()
    yield running
    running.close()


@pytest.fixture(scope="session")
def gateways(loop: EventLoop, store: Path) -> Iterator[Callable[[str], Served]]:
    """Give the gateway with the backend of a name; it is started when first asked for."""
    started: dict[str, Served] = {}
    with ExitStack() as contexts:

        def gateway_with(name: str) -> Served:
            if name not in started:
                # Without compiling: what is tested here does not depend on the execution plan.
                settings = Settings(
                    backend=name,  # type: ignore[arg-type]
                    model_store=store,
                    execution="float32",
                    port=0,
                    metrics_port=0,
                    # Torch cannot export a graph in a later test while a probe runs another beside it.
                    probe_seconds=3600,
                )
                started[name] = contexts.enter_context(serving(loop, settings, make_backend(settings)))
            return started[name]

        yield gateway_with


@pytest.fixture(scope="session", params=BACKENDS)
def served(request: pytest.FixtureRequest, gateways: Callable[[str], Served]) -> Served:
    """Every backend in turn."""
    return gateways(request.param)


def _forget_graphs(archive: Path) -> None:
    """Take the graphs out of an archive's card."""
    with zipfile.ZipFile(archive) as mar:
        members = {name: mar.read(name) for name in mar.namelist()}
    card = json.loads(members["card.json"])
    del card["graphs"]
    with zipfile.ZipFile(archive, "w") as mar:
        for name, content in {**members, "card.json": json.dumps(card).encode()}.items():
            mar.writestr(name, content)


def _tamper(archive: Path, into: Path, member: str) -> None:
    """Copy an archive with one byte more in a member."""
    shutil.copy(archive, into)
    with zipfile.ZipFile(archive) as sound, zipfile.ZipFile(into, "w") as tampered:
        for name in sound.namelist():
            tampered.writestr(name, sound.read(name) + (b"\n" if name == member else b""))
