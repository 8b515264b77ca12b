"""`make demo`: serves a folder of archives, calls every model over gRPC as any client would, and shows what came back.

The figures are taken on whatever machine this runs on, with one caller: p50 over single pictures asked for one after
the other, images/s over one long stream. `make bench` measures with a protocol.
"""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from gantry.v1 import models_pb2
from services.client import Client, GantryError
from services.client.table import format_table
from services.gateway.metrics import kind_label

SEED = 1
IMAGES_PER_CLASS = 8
SINGLE_CALLS = 20
STREAMED_IMAGES = 128
# Small pictures are enlarged until a tile is about this wide, so that a person sees them.
TILE_PIXELS = 96
START_SECONDS = 180.0
STOP_SECONDS = 30.0
# gRPC's own pauses between attempts to connect grow to minutes, longer than a gateway takes to start.
_CHANNEL_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]


class DemoError(Exception):
    """The demo cannot be given; the message says why."""


@dataclass(frozen=True)
class Shown:
    """What one model did.

    Attributes:
        model: Its name.
        kind: Its kind.
        images: How many pictures it made in all.
        p50_ms: Median time of a call for one picture, in milliseconds.
        images_per_second: Of one long stream.
        file: The grid.
    """

    model: str
    kind: str
    images: int
    p50_ms: float
    images_per_second: float
    file: Path


def main(
    model_store: Annotated[Path, typer.Option(help="Folder of .mar archives.")] = Path("model_store"),
    out: Annotated[Path, typer.Option(help="Folder for the grids and the gateway's log.")] = Path("out/demo"),
) -> None:
    """Serve a folder of archives, call every model, write a grid of each, and print a table."""
    try:
        if not any(model_store.glob("*.mar")):
            raise DemoError(f"no models: {model_store} holds no .mar archive")
        out.mkdir(parents=True, exist_ok=True)
        log = out / "gateway.log"
        typer.echo(f"==> starting the gateway on {model_store} (log: {log})")
        with running_gateway(model_store, log) as address, Client(address) as client:
            typer.echo(f"==> the gateway serves at {address}")
            rows = [show(client, loaded, out) for loaded in client.models()]
            refused = client.refused_archives()
        typer.echo("==> the gateway has stopped\n")
        typer.echo(table_of(rows))
        if refused:
            raise DemoError(reasons_of(refused))
    except (DemoError, GantryError, OSError) as error:
        typer.echo(f"demo: {error}", err=True)
        raise typer.Exit(1) from error


def show(client: Client, loaded: models_pb2.LoadedModel, out: Path) -> Shown:
    """Write a grid of a model with one row a class, and time it.

    Args:
        client: Connected to the gateway.
        loaded: The model.
        out: Folder for the grid.

    Returns:
        What the model did.

    Raises:
        GantryError: A call failed.
        OSError: The grid cannot be written.
    """
    name, version = loaded.card.name, loaded.card.version
    typer.echo(f"==> calling {name} {version}")
    grid = client.sample_grid(name, version=version, each_class=True, count=IMAGES_PER_CLASS, seed=SEED)
    file = out / f"{name}.png"
    enlarge(grid.image, max(1, TILE_PIXELS // loaded.card.image.width)).save(file)

    seconds = []
    for index in range(SINGLE_CALLS):
        began = time.perf_counter()
        client.sample(name, version=version, seed=SEED + index)
        seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    streamed = sum(1 for _ in client.sample_stream(name, version=version, count=STREAMED_IMAGES, seed=SEED))
    return Shown(
        model=name,
        kind=kind_label(loaded.card.kind),
        images=len(grid.tiles) + SINGLE_CALLS + streamed,
        p50_ms=statistics.median(seconds) * 1000,
        images_per_second=streamed / (time.perf_counter() - began),
        file=file,
    )


def enlarge(image: Image.Image, factor: int) -> Image.Image:
    """Enlarge a picture by a whole factor, each pixel becoming a square."""
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def table_of(rows: list[Shown]) -> str:
    """Lay out what the models did."""
    return format_table(
        ("model", "kind", "images", "p50 ms", "images/s", "file written"),
        [
            (row.model, row.kind, str(row.images), f"{row.p50_ms:.1f}", f"{row.images_per_second:.0f}", str(row.file))
            for row in rows
        ],
    )


def reasons_of(refused: list[models_pb2.RefusedArchive]) -> str:
    """Say which archives were refused and why."""
    return "the gateway refused " + "; ".join(f"{archive.archive}: {archive.reason}" for archive in refused)


@contextmanager
def running_gateway(model_store: Path, log: Path) -> Iterator[str]:
    """Run `gantry serve` as a process of its own.

    Args:
        model_store: Folder of .mar archives.
        log: File for what the process says.

    Yields:
        host:port of the gateway, once it serves.

    Raises:
        DemoError: It does not come to serve.
    """
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    command = [sys.executable, "-m", "services.cli", "serve", "--backend", "embedded"]
    command += ["--model-store", str(model_store), "--host", host, "--port", port, "--metrics-port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_serving(address, process, log)
        yield address
    finally:
        stop(process)


def wait_until_serving(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the gateway's health service says SERVING, which follows a picture from every model.

    Args:
        address: host:port of the gateway.
        process: The gateway's process.
        log: What it says, shown where it fails.

    Raises:
        DemoError: The process ended, serves no model, or took longer than START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address, _CHANNEL_OPTIONS) as channel, Client(address) as client:
        health: Any = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoError(f"the gateway ended with code {process.returncode}:\n{tail(log)}")
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0, wait_for_ready=True)
            except grpc.RpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            if not client.models():
                raise DemoError(reasons_of(client.refused_archives()))
            time.sleep(0.1)
    raise DemoError(f"the gateway did not come to serve within {START_SECONDS:.0f} s:\n{tail(log)}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Let the gateway drain and end; kill it where it does not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":
    typer.run(main)
