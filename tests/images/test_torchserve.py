"""The settings and the command line of TorchServe's image, run with this machine's Java and packages."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from services.backends.base import ModelKey
from services.backends.torchserve import configuration
from services.backends.torchserve import process as torchserve_process
from services.backends.torchserve.api import OWN_MESSAGE_BYTES
from services.backends.torchserve.backend import TorchServeBackend
from services.backends.torchserve.installed import find_java, find_torchserve
from services.gateway.settings import Settings
from tests.archives import write_tiny_archive
from tests.images.dockerfile import DOCKERFILE, ROOT
from tests.services.backends.torchserve.scripted import probe

TARGET = DOCKERFILE.targets["torchserve"]
SOURCE = ROOT / "services/backends/torchserve_image"
STOP_SECONDS = 60.0
# How old a connection gets here, how many are waited for, and for how long.
AGE_MILLISECONDS = 200
CONNECTIONS = 4
PATIENCE_SECONDS = 60.0


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def configured() -> dict[str, str]:
    """The settings, with the variables that the image sets."""
    text = (SOURCE / "config.properties").read_text()
    variables = TARGET.pairs("ENV")
    return {
        key: re.sub(r"\$\$(\w+)\$\$", lambda match: variables[match[1]], value)
        for key, value in properties(text).items()
    }


def test_all_ports_are_on_loopback_unless_told_otherwise() -> None:
    addresses = {key: value for key, value in configured().items() if key.endswith("_address")}

    assert len(addresses) == 5
    assert all(re.fullmatch(r"(http://)?127\.0\.0\.1(:\d+)?", value) for value in addresses.values()), addresses


def test_no_variable_opens_the_management_api() -> None:
    written = properties((SOURCE / "config.properties").read_text())

    assert written["management_address"] == "http://127.0.0.1:8081"
    assert written["grpc_management_address"] == "127.0.0.1"
    assert written["allowed_urls"] == "file:///models/.*"
    assert written["enable_model_api"] == "false"


def test_image_exposes_the_ports_of_inference_and_metrics_only() -> None:
    values = configured()

    assert TARGET.last("EXPOSE").split() == [values["grpc_inference_port"], values["metrics_address"].split(":")[-1]]


def test_limits_are_those_of_a_torchserve_of_the_gateways_own() -> None:
    values = configured()

    assert int(values["max_request_size"]) == int(values["max_response_size"]) == OWN_MESSAGE_BYTES
    assert int(values["default_workers_per_model"]) == Settings.model_fields["torchserve_workers"].default


def test_what_is_fixed_is_as_in_a_torchserve_of_the_gateways_own() -> None:
    own = {key: value for key, value in properties(configuration.CONFIG).items() if "{" not in value}
    fixed = {key for key in own if not key.endswith("_address")} - {"enable_metrics_api"}

    assert len(fixed) >= 4
    assert {key: configured()[key] for key in fixed} == {key: own[key] for key in fixed}


def test_the_longest_call_outlives_its_connection() -> None:
    assert float(configured()["grpc_inference_max_connection_age_grace_ms"]) >= 300_000, (
        "what a worker is given for a call"
    )


def test_only_warnings_and_words_of_workers_are_logged() -> None:
    loggers = {logger.get("name"): logger for logger in ElementTree.parse(SOURCE / "log4j2.xml").iter("Logger")}
    (root,) = ElementTree.parse(SOURCE / "log4j2.xml").iter("Root")

    assert root.get("level") == "warn"
    assert set(loggers) == {"MODEL_LOG"}


@pytest.fixture
def container() -> Iterator[Path]:
    """A folder that stands for the container's root; not under tmp_path, as paths of sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="g-") as folder:
        root = Path(folder)
        for name in ("app", "models", "state"):
            (root / name).mkdir()
        write_tiny_archive(root / "models")
        yield root


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    """A free port for each of the image's."""
    images = "7070", "7071", "8080", "8081", "8082"
    with torchserve_process._held_ports(len(images)) as free:
        yield dict(zip(images, free, strict=True))


@pytest.fixture
async def process(container: Path, ports: dict[str, int]) -> AsyncIterator[psutil.Popen]:
    places = {"/app": container / "app", "/models": container / "models", "/var/lib/torchserve": container / "state"}
    for file in SOURCE.iterdir():
        text = file.read_text().replace("/models", str(places["/models"]))
        text = re.sub(r"(?<=[:=])(70|80)(7[01]|8[0-2])$", lambda match: str(ports[match[0]]), text, flags=re.MULTILINE)
        text = re.sub(r"(?<=_connection_age_ms=)\d+", str(AGE_MILLISECONDS), text)
        (container / "app" / file.name).write_text(text)
    home = find_torchserve()
    words = [
        word.replace("/opt/venv/lib/python3.11/site-packages", str(home)).replace("/opt/venv", str(home.parents[2]))
        for word in TARGET.command("ENTRYPOINT")
    ]
    for place, path in places.items():
        words = [word.replace(place, str(path)) for word in words]
    assert words[0] == "java"
    variables = {key: value for key, value in TARGET.pairs("ENV").items() if key not in {"PATH", "HOME"}}
    # Nobody can write files in /proc, so this is a root folder that is read only.
    command = [find_java(), *words[1:]]
    started = psutil.Popen(command, cwd="/proc", env={**os.environ, **variables}, start_new_session=True)
    try:
        yield started
    finally:
        torchserve_process._end(started)


async def outlive_connections(backend: TorchServeBackend, port: int) -> None:
    """Keep calls under way, none of which may fail, until TorchServe has ended connections of them."""
    seen: set[int] = set()

    async def call() -> None:
        while len(seen) < CONNECTIONS:
            await probe(backend, ModelKey("tiny", "1.0.0"))
            connections = psutil.Process().net_connections("tcp")
            seen.update(each.laddr.port for each in connections if each.raddr and each.raddr.port == port)

    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(call(), call())
    except TimeoutError:
        pytest.fail(f"TorchServe has not ended its connections: there were {len(seen)} in {PATIENCE_SECONDS:g} s")


@pytest.mark.torchserve
async def test_image_command_serves_the_models_and_ends_on_sigterm(
    process: psutil.Popen, container: Path, ports: dict[str, int]
) -> None:
    backend = TorchServeBackend(
        model_store=Path("unused"),
        address=f"127.0.0.1:{ports['7070']}",
        management_address=f"127.0.0.1:{ports['7071']}",
        workers=1,
        names=["tiny"],
        message_bytes=OWN_MESSAGE_BYTES,
    )
    try:
        await backend.start()
        await outlive_connections(backend, ports["7070"])
    finally:
        await backend.stop()
    process.terminate()
    await asyncio.to_thread(process.wait, STOP_SECONDS)
    assert sorted(path.name for path in container.iterdir()) == ["app", "models", "state"]
    assert sorted(path.name for path in (container / "app").iterdir()) == ["config.properties", "log4j2.xml"]
