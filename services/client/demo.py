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
from PIL import Image, ImageOps

from gantry.v1 import models_pb2
from services.client import Axis, Client, GantryError, Sweep
from services.client.demo_pictures import demo_pictures
from services.client.local_gateway import LocalGatewayError, reasons_of, running_gateway
from services.client.table import format_table
from services.gateway.metrics import kind_label

SEED = 1
IMAGES_PER_CLASS = 8
SINGLE_CALLS = 20
STREAMED_IMAGES = 128
PICTURES_PER_DOMAIN = 5
SHEET_TILE = 260
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
        images: How many pictures were timed.
        p50_ms: Median time of a call for one picture, in milliseconds.
        images_per_second: Of one long stream.
        files: The pictures that show it.
    """

    model: str
    kind: str
    images: int
    p50_ms: float
    images_per_second: float
    files: list[Path]


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
            # A translator would be compiled first, for a minute or so, where the processor multiplies in bfloat16.
            running_gateway(
                log, "--backend=embedded", f"--model-store={model_store}", "--execution=float32"
            ) as address,
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
    """Write the pictures that show what a model does, and time it.

    Args:
        client: Connected to the gateway.
        loaded: The model.
        out: Folder for the pictures.

    Returns:
        What the model did.

    Raises:
        GantryError: A call failed.
        OSError: A picture cannot be written.
    """
    typer.echo(f"==> calling {loaded.card.name} {loaded.card.version}")
    return _SHOWS[loaded.card.kind](client, loaded.card, out)


def show_classes(client: Client, card: models_pb2.ModelCard, out: Path) -> Shown:
    """A grid of one row a class."""
    grid = client.sample_grid(card.name, version=card.version, each_class=True, count=IMAGES_PER_CLASS, seed=SEED)
    return _timed_sampling(client, card, [_write(grid.image, card, out / f"{card.name}.png")])


def show_codes(client: Client, card: models_pb2.ModelCard, out: Path) -> Shown:
    """For each continuous code a grid that sweeps it, one row for each value of the first categorical code."""
    files = []
    for code in card.continuous_codes:
        rows = Axis(card.categorical_codes[0].id) if card.categorical_codes else None
        held = {other.id: 0.0 for other in card.continuous_codes if other.id != code.id}
        sweep = Sweep(x=Axis(code.id), y=rows, seed=SEED, codes=held)
        grid = client.traverse_grid(card.name, sweep, version=card.version)
        name = "-".join(filter(None, (card.name, code.id, code.name)))
        files.append(_write(grid.image, card, out / f"{name}.png"))
    return _timed_sampling(client, card, files)


def show_translations(client: Client, card: models_pb2.ModelCard, out: Path) -> Shown:
    """A sheet of pictures of both domains, each row of them above its translations."""
    domains = (card.translation.domain_a, card.translation.domain_b)
    rows, seconds = [], []
    for source, pictures in zip(domains, demo_pictures(PICTURES_PER_DOMAIN), strict=True):
        rows.append(pictures)
        rows.append([])
        for picture in pictures:
            began = time.perf_counter()
            made = client.translate(card.name, picture, source=source, version=card.version)
            seconds.append(time.perf_counter() - began)
            rows[-1].append(made.image)
    pictures = [picture for row in rows[::2] for picture in row]
    began = time.perf_counter()
    streamed = sum(1 for _ in client.translate_many(card.name, pictures, source=domains[0], version=card.version))
    rate = streamed / (time.perf_counter() - began)
    file = out / f"{card.name}.png"
    sheet(rows).save(file)
    return Shown(card.name, kind_label(card.kind), len(seconds) + streamed, _p50_ms(seconds), rate, [file])


_SHOWS = {
    models_pb2.MODEL_KIND_CLASS_CONDITIONAL: show_classes,
    models_pb2.MODEL_KIND_CODE_CONDITIONAL: show_codes,
    models_pb2.MODEL_KIND_TRANSLATION: show_translations,
}


def _timed_sampling(client: Client, card: models_pb2.ModelCard, files: list[Path]) -> Shown:
    """Time single calls and one long stream."""
    seconds = []
    for index in range(SINGLE_CALLS):
        began = time.perf_counter()
        client.sample(card.name, version=card.version, seed=SEED + index)
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    streamed = sum(1 for _ in client.sample_stream(card.name, version=card.version, count=STREAMED_IMAGES, seed=SEED))
    rate = streamed / (time.perf_counter() - began)
    return Shown(card.name, kind_label(card.kind), SINGLE_CALLS + streamed, _p50_ms(seconds), rate, files)


def _p50_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def _write(grid: Image.Image, card: models_pb2.ModelCard, file: Path) -> Path:
    enlarge(grid, max(1, TILE_PIXELS // card.image.width)).save(file)
    return file


def enlarge(image: Image.Image, factor: int) -> Image.Image:
    """Enlarge a picture by a whole factor, each pixel becoming a square."""
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Lay pictures out in rows, on white."""
    page = Image.new("RGB", (max(map(len, rows)) * SHEET_TILE, len(rows) * SHEET_TILE), "white")
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            tile = ImageOps.contain(picture, (SHEET_TILE - 4, SHEET_TILE - 4))
            page.paste(tile, (across * SHEET_TILE + 2, down * SHEET_TILE + 2))
    return page


def table_of(rows: list[Shown]) -> str:
    """Lay out what the models did."""
    return format_table(
        ("model", "kind", "images", "p50 ms", "images/s", "files written"),
        [
            (row.model, row.kind, str(row.images), f"{row.p50_ms:.1f}", _rate(row), " ".join(map(str, row.files)))
            for row in rows
        ],
    )


def _rate(row: Shown) -> str:
    return f"{row.images_per_second:.1f}" if row.images_per_second < 10 else f"{row.images_per_second:.0f}"


if __name__ == "__main__":
    typer.run(main)
