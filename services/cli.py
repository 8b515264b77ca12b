"""The `gantry` command.

What belongs to serving stands here. `services` never imports `training`, so other packages announce their commands
under the entry-point group `gantry.commands`, and this file picks them up.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from google.protobuf.json_format import MessageToJson
from pydantic import ValidationError

from services.client import Client, Format, GantryError, SampleOptions
from services.client.client import DEFAULT_ADDRESS
from services.client.files import destination
from services.client.table import format_table

Address = Annotated[str, typer.Option(help="host:port of the gateway.", envvar="GANTRY_ADDRESS")]
Timeout = Annotated[float, typer.Option(help="Deadline of a call in seconds.", min=0.001)]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Trained GANs as a service.")


@app.command()
def serve(
    backend: Annotated[Literal["embedded", "torchserve"] | None, typer.Option(help="What runs the models.")] = None,
    model_store: Annotated[Path | None, typer.Option(help="Folder of .mar archives.")] = None,
    host: Annotated[str | None, typer.Option(help="Address that gRPC listens on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of gRPC; 0 takes a free one.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of metrics and probes; 0 takes a free one.")] = None,
    torchserve_address: Annotated[
        str | None, typer.Option(help="host:port of a running TorchServe. Default: one is started.")
    ] = None,
    torchserve_management_address: Annotated[
        str | None, typer.Option(help="host:port of its gRPC management API.")
    ] = None,
) -> None:
    """Run the gateway until SIGTERM. Every setting is also a GANTRY_* environment variable."""
    from services.backends.base import BackendUnavailableError
    from services.gateway.server import serve as serve_gateway
    from services.gateway.settings import Settings

    given: dict[str, Any] = {
        "backend": backend,
        "model_store": model_store,
        "host": host,
        "port": port,
        "metrics_port": metrics_port,
        "torchserve_address": torchserve_address,
        "torchserve_management_address": torchserve_management_address,
    }
    with _errors_told("serve", ValidationError, BackendUnavailableError, OSError):
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        asyncio.run(serve_gateway(settings))


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Model whose card to print. Default: list all.")] = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = 30.0,
) -> None:
    """List the models of a running gateway, or print the card of one as JSON."""
    from services.gateway.metrics import kind_label

    with _errors_told("models", GantryError), Client(address, timeout=timeout) as client:
        if name is not None:
            loaded = client.model(name)
            card = MessageToJson(
                loaded, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, ensure_ascii=False
            )
            typer.echo(card)
            return
        rows = [
            (
                loaded.card.name,
                loaded.card.version,
                kind_label(loaded.card.kind),
                f"{loaded.card.image.width}×{loaded.card.image.height}×{loaded.card.image.channels}",
                str(len(loaded.card.classes)),
                loaded.digest[:12],
            )
            for loaded in client.models()
        ]
        typer.echo(format_table(("model", "version", "kind", "w×h×channels", "classes", "digest"), rows))
        for refused in client.refused_archives():
            typer.echo(f"refused {refused.archive}: {refused.reason}", err=True)


@app.command()
def sample(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    label: Annotated[
        list[str] | None, typer.Option(help="Class by id or name: one for all, or one per picture.")
    ] = None,
    each_class: Annotated[bool, typer.Option("--each-class", help="Make --count pictures of every class.")] = False,
    count: Annotated[int | None, typer.Option(help="Number of pictures.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first picture; those after it count on.")] = None,
    truncation: Annotated[float | None, typer.Option(help="Truncation ψ, 0 to 1.")] = None,
    image_format: Annotated[
        Format | None, typer.Option("--format", help="Encoding. Default: as --out ends, else png.")
    ] = None,
    quality: Annotated[int | None, typer.Option(help="Of jpeg and webp, 1 to 100.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the model. Default: the newest.")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Write one picture with all samples as tiles.")] = False,
    columns: Annotated[int | None, typer.Option(help="Tiles per row of the grid.")] = None,
    out: Annotated[Path, typer.Option(help="Folder, or file for a single picture or grid.")] = Path("samples"),
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = 30.0,
) -> None:
    """Sample pictures from a running gateway into files, and print their names."""
    with _errors_told("sample", GantryError, ValueError, OSError), Client(address, timeout=timeout) as client:
        target = destination(out, image_format)
        if target.is_file and not grid and (each_class or (count or 1) > 1 or len(label or ()) > 1):
            raise ValueError(f"--out {out} is one file, for several pictures: name a folder, or add --grid")
        options = SampleOptions(
            version=version,
            labels=_ids_or_names(label) if label else None,
            each_class=each_class,
            count=count,
            seed=seed,
            truncation=truncation,
            format=target.format,
            quality=quality,
        )
        if grid:
            typer.echo(target.write(client.sample_grid(model, columns=columns, **options), model))
            return
        for image in client.sample_stream(model, **options):
            typer.echo(target.write(image, model))


def _ids_or_names(labels: list[str]) -> list[int] | list[str]:
    """Read labels as ids where all are whole numbers, else as names."""
    return [int(label) for label in labels] if all(label.isdecimal() for label in labels) else labels


@contextmanager
def _errors_told(command: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn expected errors into a line on stderr and exit code 1."""
    try:
        yield
    except errors as error:
        typer.echo(f"gantry {command}: {error}", err=True)
        raise typer.Exit(1) from error


def _add_announced_commands() -> None:
    """Add the commands of other packages; one whose dependencies are not installed says so when called."""
    for entry in entry_points(group="gantry.commands"):
        app.command(entry.name)(_told_what_is_missing(entry.load()))


def _told_what_is_missing(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def told(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except ModuleNotFoundError as error:
            typer.echo(f"gantry {command.__name__}: {error}; pip install 'gantry[training]'", err=True)
            raise typer.Exit(1) from error

    return told


_add_announced_commands()


if __name__ == "__main__":
    app()
