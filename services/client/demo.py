"""`make demo`: serves a folder of archives, calls every model over gRPC as any client would, and shows what came back.

The figures are taken on whatever machine this runs on, with one caller: p50 over single pictures asked for one after
the other, images/s over one long stream. `make bench` measures with a protocol.
"""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageOps

from gantry.v1 import models_pb2
from services.client import Axis, Client, GantryError, Sweep
from services.client.demo_pictures import demo_pictures
from services.client.files import write_picture
from services.client.local_gateway import LocalGatewayError, reasons_of, running_gateway
from services.client.sheets import Layout, draw_sheet, sample_sheet, traversal_sheet
from services.client.table import format_table
from services.gateway.telemetry.metrics import kind_label
from services.worker.inputs import CLASS, PICTURE, Input, described_inputs, takes

SEED = 1
IMAGES_PER_CLASS = 8
SINGLE_CALLS = 20
STREAMED_IMAGES = 128
PICTURES_PER_DOMAIN = 5
SWEPT_NUMBERS = 2
IMAGES_PER_SHEET = 64
SHEET_TILE = 256

Number = models_pb2.ContinuousCode | models_pb2.Attribute


class DemoError(Exception):
    """The demo cannot be given; the message says why."""


@dataclass(frozen=True)
class DemoRow:
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
    out: Annotated[Path, typer.Option(help="Folder for the sheets and the gateway's log.")] = Path("out/demo"),
) -> None:
    """Serve a folder of archives, call every model, write sheets of each, and print a table."""
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
            ) as gateway,
            Client(gateway.address) as client,
        ):
            typer.echo(f"==> the gateway serves at {gateway.address}")
            rows = [demonstrate(client, loaded, out) for loaded in client.models()]
            refused = client.refused_archives()
        typer.echo("==> the gateway has stopped\n")
        typer.echo(table_of(rows))
        if refused:
            raise DemoError(reasons_of(refused))
    except (DemoError, LocalGatewayError, GantryError, OSError) as error:
        typer.echo(f"demo: {error}", err=True)
        raise typer.Exit(1) from error


def demonstrate(client: Client, loaded: models_pb2.LoadedModel, out: Path) -> DemoRow:
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
    show_model = show_translations if takes(loaded.card, PICTURE) else show_samples
    return show_model(client, loaded.card, out)


def show_samples(client: Client, card: models_pb2.ModelCard, out: Path) -> DemoRow:
    """Write sheets of what a model makes of latents, by what it takes beside them, and time it.

    Of numbers there is a sweep of each of the first two; else there is a row for each class, a sweep of the first
    categorical code, or a sheet of samples.
    """
    file = out / f"{card.name}.png"
    rows = named_axis(card)
    numbers: list[Number] = [*card.continuous_codes, *card.attributes]
    if numbers:
        files = [_write_sweep(client, card, sweep, out) for sweep in sweeps_of(card, numbers[:SWEPT_NUMBERS], rows)]
    elif takes(card, CLASS):
        images = client.sample_stream(
            card.name, version=card.version, each_class=True, count=IMAGES_PER_CLASS, seed=SEED
        )
        files = [write_picture(sample_sheet(images, by_class=True), file)]
    elif rows is not None:
        files = [_write_sweep(client, card, Sweep(x=rows, seed=SEED), out)]
    else:
        images = client.sample_stream(card.name, version=card.version, count=IMAGES_PER_SHEET, seed=SEED)
        files = [write_picture(sample_sheet(images), file)]
    return _timed_sampling(client, card, files)


def sweeps_of(card: models_pb2.ModelCard, numbers: Sequence[Number], rows: Axis | None) -> list[Sweep]:
    """Say how to show what numbers do: each in a sweep of its own, or both in one where there is nothing for rows.

    Args:
        card: The card of the model.
        numbers: One or two of its continuous codes and attributes.
        rows: What moves from row to row; None for the second number.

    Returns:
        The sweeps. Every number that does not move is held in the middle of its range.
    """
    axes = [Axis(name_of(number)) for number in numbers]
    ways = [(axis, rows) for axis in axes] if rows else [(axes[0], axes[1] if len(axes) > 1 else None)]
    sweeps = []
    for x, y in ways:
        moved = {axis.code for axis in (x, y) if axis is not None}
        codes, attributes = (
            {name_of(one): (one.min + one.max) / 2 for one in known if name_of(one) not in moved}
            for known in (card.continuous_codes, card.attributes)
        )
        sweeps.append(Sweep(x=x, y=y, seed=SEED, codes=codes, attributes=attributes))
    return sweeps


def named_axis(card: models_pb2.ModelCard) -> Axis | None:
    """Return the axis of the classes, or that of the first categorical code; None where there is neither.

    The values of a code that the model found by itself come in no order of their own; they are put in that of their
    names, numbers by size.
    """
    if takes(card, CLASS):
        return Axis(CLASS)
    if not card.categorical_codes:
        return None
    code = card.categorical_codes[0]
    ordered = sorted(code.values, key=lambda value: (_size_of(value.name), value.name))
    return Axis(name_of(code), values=[value.index for value in ordered])


def _size_of(name: str) -> float:
    return int(name) if name.isdecimal() else math.inf


def name_of(entry: Input) -> str:
    """Return the name of a code or an attribute; of a code without one its id."""
    return entry.name if isinstance(entry, models_pb2.Attribute) else entry.name or entry.id


def _write_sweep(client: Client, card: models_pb2.ModelCard, sweep: Sweep, out: Path) -> Path:
    frames = client.traverse(card.name, sweep, version=card.version)
    moved = next(entry for entry in described_inputs(card).items() if name_of(entry[1]) == sweep.x.code)
    names = dict.fromkeys((card.name, moved[0], name_of(moved[1])))
    return write_picture(traversal_sheet(frames, sweep), out / f"{'-'.join(names)}.png")


def show_translations(client: Client, card: models_pb2.ModelCard, out: Path) -> DemoRow:
    """Write a sheet of pictures of each domain that the model translates, above their translations, and time it."""
    domains = (card.translation.domain_a, card.translation.domain_b)
    pictures = dict(zip(domains, demo_pictures(PICTURES_PER_DOMAIN), strict=True))
    labels: list[str] = []
    tiles: list[Image.Image] = []
    seconds = []
    for graph in card.graphs:
        labels += [graph.source_domain, f"to {graph.target_domain}"]
        tiles += pictures[graph.source_domain]
        for picture in pictures[graph.source_domain]:
            began = time.perf_counter()
            made = client.translate(card.name, picture, source=graph.source_domain, version=card.version)
            seconds.append(time.perf_counter() - began)
            tiles.append(made.image)
    source = card.graphs[0].source_domain
    sent = [picture for graph in card.graphs for picture in pictures[graph.source_domain]]
    began = time.perf_counter()
    streamed = sum(1 for _ in client.translate_many(card.name, sent, source=source, version=card.version))
    rate = streamed / (time.perf_counter() - began)
    file = out / f"{card.name}.png"
    shrunk = [ImageOps.contain(tile, (SHEET_TILE, SHEET_TILE)) for tile in tiles]
    draw_sheet(shrunk, Layout(columns=PICTURES_PER_DOMAIN, rows=labels)).save(file)
    return DemoRow(card.name, kind_label(card.kind), len(seconds) + streamed, _p50_ms(seconds), rate, [file])


def _timed_sampling(client: Client, card: models_pb2.ModelCard, files: list[Path]) -> DemoRow:
    """Time single calls and one long stream."""
    seconds = []
    for index in range(SINGLE_CALLS):
        began = time.perf_counter()
        client.sample(card.name, version=card.version, seed=SEED + index)
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    streamed = sum(1 for _ in client.sample_stream(card.name, version=card.version, count=STREAMED_IMAGES, seed=SEED))
    rate = streamed / (time.perf_counter() - began)
    return DemoRow(card.name, kind_label(card.kind), SINGLE_CALLS + streamed, _p50_ms(seconds), rate, files)


def _p50_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def table_of(rows: list[DemoRow]) -> str:
    """Lay out what the models did."""
    return format_table(
        ("model", "kind", "images", "p50 ms", "images/s", "files written"),
        [
            (row.model, row.kind, str(row.images), f"{row.p50_ms:.1f}", _rate(row), " ".join(map(str, row.files)))
            for row in rows
        ],
    )


def _rate(row: DemoRow) -> str:
    return f"{row.images_per_second:.1f}" if row.images_per_second < 10 else f"{row.images_per_second:.0f}"


if __name__ == "__main__":
    typer.run(main)
