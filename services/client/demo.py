"""`make demo`: serves a folder of archives, calls every model over gRPC as any client would, and shows what came back.

The figures are taken on whatever machine this runs on, with one caller: p50 over single pictures asked for one after
the other, images/s over one long stream. `make bench` measures with a protocol.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from gantry.v1 import models_pb2
from services.client import Client, GantryError
from services.client.local_gateway import LocalGatewayError, reasons_of, running_gateway
from services.client.table import format_table
from services.gateway.metrics import kind_label

SEED = 1
IMAGES_PER_CLASS = 8
SINGLE_CALLS = 20
STREAMED_IMAGES = 128
# Small pictures are enlarged until a tile is about this wide, so that a person sees them.
TILE_PIXELS = 96


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
        with (
            running_gateway(log, "--backend=embedded", f"--model-store={model_store}") as address,
            Client(address) as client,
        ):
            typer.echo(f"==> the gateway serves at {address}")
            rows = [show(client, loaded, out) for loaded in client.models()]
            refused = client.refused_archives()
        typer.echo("==> the gateway has stopped\n")
        typer.echo(table_of(rows))
        if refused:
            raise DemoError(reasons_of(refused))
    except (DemoError, LocalGatewayError, GantryError, OSError) as error:
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


if __name__ == "__main__":
    typer.run(main)
