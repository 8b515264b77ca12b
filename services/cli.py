"""The `gantry` command.

What belongs to serving stands here. `services` never imports `training`, so other packages announce their commands
under the entry-point group `gantry.commands`, and this file picks them up.
"""

import os

# gRPC's own lines go past every log setting, are no JSON, and quote strangers. It reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from google.protobuf.json_format import MessageToJson

from services.batch.cli import app as batch
from services.client import (
    Client,
    Codes,
    Credentials,
    Direction,
    Format,
    GantryError,
    SampleOptions,
    Sweep,
    TranslateOptions,
    Translation,
    TraverseOptions,
)
from services.client.arguments import read_attributes, read_axis, read_codes, read_label, read_labels, read_path
from services.client.cards import summarise_image, summarise_inputs
from services.client.connection import DEFAULT_ADDRESS, DEFAULT_TIMEOUT
from services.client.files import destination, plan_outputs, write_picture
from services.client.sheets import sample_sheet, traversal_sheet
from services.client.table import format_table
from services.environment import check_environment

Address = Annotated[str, typer.Option(help="host:port of the gateway.", envvar="GANTRY_ADDRESS")]
Timeout = Annotated[float, typer.Option(help="Deadline of a call in seconds.", min=0.001)]
Model = Annotated[str, typer.Argument(help="Name of the model.")]
Version = Annotated[str | None, typer.Option(help="Version of the model. Default: the newest.")]
Truncation = Annotated[float | None, typer.Option(help="Truncation ψ, 0 to 1.")]
Encoding = Annotated[Format | None, typer.Option("--format", help="Encoding. Default: as the output ends, else png.")]
Quality = Annotated[int | None, typer.Option(help="Of jpeg and webp, 1 to 100.")]
CodeTexts = Annotated[list[str] | None, typer.Option("--code", metavar="NAME=VALUE", help="Sets a code; repeatable.")]
AttributeTexts = Annotated[
    list[str] | None, typer.Option("--attribute", metavar="NAME=NUMBER", help="Sets an attribute; repeatable.")
]
Columns = Annotated[int | None, typer.Option(help="Tiles per row of the grid.", min=1)]
Seeds = Annotated[list[int] | None, typer.Option(help="A seed of this term of a - b + c; repeatable.")]

_log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(batch, name="batch")


@app.callback()
def gantry(context: typer.Context) -> None:
    """Trained GANs as a service."""
    with _errors_told(str(context.invoked_subcommand), ValueError):
        check_environment(os.environ)


@app.command()
def serve(
    backend: Annotated[Literal["embedded", "torchserve"] | None, typer.Option(help="What runs the models.")] = None,
    model_store: Annotated[Path | None, typer.Option(help="Folder of .mar archives.")] = None,
    execution: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, typer.Option(help="In which precision models run.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address that gRPC listens on. Default: loopback, unless strangers are kept out.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of gRPC; 0 takes a free one.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of metrics and probes; 0 takes a free one.")] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Listen beyond loopback without TLS, keys and JSON Web Tokens.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file of the server's certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM file of the authorities of client certificates, then required.")
    ] = None,
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", "--tokens", help="File of callers' keys, made with `gantry key`.")
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None, typer.Option(help="Log lines for people, or one JSON object a line.")
    ] = None,
    torchserve_address: Annotated[
        str | None, typer.Option(help="host:port of a running TorchServe. Default: one is started.")
    ] = None,
    torchserve_management_address: Annotated[
        str | None, typer.Option(help="host:port of its gRPC management API.")
    ] = None,
) -> None:
    """Run the gateway until SIGTERM. Every setting is also a GANTRY_* environment variable."""
    import uvloop

    from services.backends.base import BackendUnavailableError
    from services.gateway.server import serve as serve_gateway
    from services.gateway.settings import Settings
    from services.gateway.telemetry.logs import configure_logs

    given = {
        "backend": backend,
        "model_store": model_store,
        "execution": execution,
        "host": host,
        "port": port,
        "metrics_port": metrics_port,
        "insecure": insecure,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "api_keys": api_keys,
        "log_format": log_format,
        "torchserve_address": torchserve_address,
        "torchserve_management_address": torchserve_management_address,
    }
    with _errors_told("serve", ValueError):
        settings = Settings.read(given)
    configure_logs(settings.log_level, settings.log_format)
    try:
        uvloop.run(serve_gateway(settings))
    except Exception as error:
        is_expected = isinstance(error, BackendUnavailableError | ValueError | OSError)
        _log.critical("the gateway cannot serve: %s", error, exc_info=not is_expected)
        raise typer.Exit(1) from error


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Model whose card to print. Default: list all.")] = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = 30.0,
) -> None:
    """List the models of a running gateway, or print the card of one as JSON."""
    from services.gateway.telemetry.metrics import kind_label

    with _errors_told("models", GantryError, ValueError, OSError), _client(address, timeout) as client:
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
                summarise_image(loaded.card),
                summarise_inputs(loaded.card),
                loaded.digest[:12],
            )
            for loaded in client.models()
        ]
        header = "model", "version", "kind", "w×h×channels", "takes", "digest"
        typer.echo(format_table(header, rows))
        for refused in client.refused_archives():
            typer.echo(f"gantry models: refused {refused.archive}: {refused.reason}", err=True)


@app.command()
def sample(
    model: Model,
    label: Annotated[
        list[str] | None, typer.Option(help="Class by id or name: one for all, or one per picture.")
    ] = None,
    each_class: Annotated[bool, typer.Option("--each-class", help="Make --count pictures of every class.")] = False,
    code: CodeTexts = None,
    attribute: AttributeTexts = None,
    count: Annotated[int | None, typer.Option(help="Number of pictures.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first picture; those after it count on.")] = None,
    truncation: Truncation = None,
    image_format: Encoding = None,
    quality: Quality = None,
    version: Version = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Write one picture with all samples, enlarged and labelled.")
    ] = False,
    columns: Columns = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder, or file for one picture.")] = Path("samples"),
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Sample pictures from a running gateway into files, and print their names; of a grid also a seed not given."""
    with _errors_told("sample", GantryError, ValueError, OSError), _client(address, timeout) as client:
        target = destination(out, image_format)
        if target.is_file and not grid and (each_class or (count or 1) > 1 or len(label or ()) > 1):
            raise ValueError(f"--out {out} is one file, for several pictures: name a folder, or add --grid")
        options = SampleOptions(
            version=version,
            labels=read_labels(label) if label else None,
            each_class=each_class,
            codes=_codes(client, model, version, code, "--code"),
            attributes=read_attributes(attribute) if attribute else None,
            count=count,
            seed=seed,
            truncation=truncation,
            format="png" if grid else target.format,
            quality=quality,
        )
        images = client.sample_stream(model, **options)
        if grid:
            sheet = sample_sheet(images, by_class=each_class, columns=columns, format=target.format, quality=quality)
            typer.echo(_told_seed(target.write(sheet, model), sheet.seed, is_given=seed is not None))
            return
        for image in images:
            typer.echo(target.write(image, model))


@app.command()
def traverse(
    model: Model,
    x: Annotated[
        str | None,
        typer.Option(metavar="NAME[=START:END:STEPS]", help="Sweep a code, an attribute or 'class'; also NAME=VALUE,…"),
    ] = None,
    y: Annotated[str | None, typer.Option(metavar="NAME[=…]", help="What to sweep from row to row.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a sweep.")] = None,
    label: Annotated[str | None, typer.Option(help="Class that is held, by id or name.")] = None,
    code: CodeTexts = None,
    attribute: AttributeTexts = None,
    from_seed: Annotated[int | None, typer.Option(help="Interpolate from the latent of this seed")] = None,
    to_seed: Annotated[int | None, typer.Option(help="to that of this one.")] = None,
    steps: Annotated[int | None, typer.Option(help="Frames of an interpolation.")] = None,
    from_label: Annotated[str | None, typer.Option(help="Class of its first frame.")] = None,
    to_label: Annotated[str | None, typer.Option(help="Class of its last frame.")] = None,
    from_code: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A code of its first frame; repeatable.")
    ] = None,
    to_code: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A code of its last frame; repeatable.")
    ] = None,
    from_attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="An attribute of its first frame; repeatable.")
    ] = None,
    to_attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="An attribute of its last frame; repeatable.")
    ] = None,
    a: Seeds = None,
    b: Seeds = None,
    c: Seeds = None,
    truncation: Truncation = None,
    image_format: Encoding = None,
    quality: Quality = None,
    version: Version = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Write one picture with all frames, enlarged and labelled.")
    ] = False,
    columns: Columns = None,
    animation: Annotated[bool, typer.Option("--animation", help="Write all frames as an animated WEBP.")] = False,
    frame_milliseconds: Annotated[int | None, typer.Option(help="How long a frame of it stands.")] = None,
    back_and_forth: Annotated[bool, typer.Option("--back-and-forth", help="Let it go back as it came.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder, or file for one picture.")] = Path("frames"),
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Walk through what a model takes: write the frames, a grid or an animation, and print their names.

    Sweep one input or two (--x, --y), interpolate (--from-seed, --to-seed), or add latents (--a, --b, --c).
    """
    with _errors_told("traverse", GantryError, ValueError, OSError), _client(address, timeout) as client:
        target = destination(out, image_format)
        if grid and animation:
            raise ValueError("give --grid or --animation, not both")
        if animation and target.is_file and target.format != "webp":
            raise ValueError(f"an animation is a WEBP: end --out {out} in .webp")
        if target.is_file and not (grid or animation):
            raise ValueError(f"--out {out} is one file, for all frames: name a folder, or add --grid or --animation")
        path = read_path(
            x=read_axis(x, "--x") if x else None,
            y=read_axis(y, "--y") if y else None,
            seed=seed,
            label=read_label(label) if label else None,
            codes=_codes(client, model, version, code, "--code"),
            attributes=read_attributes(attribute) if attribute else None,
            from_seed=from_seed,
            to_seed=to_seed,
            steps=steps,
            from_label=read_label(from_label) if from_label else None,
            to_label=read_label(to_label) if to_label else None,
            from_codes=_codes(client, model, version, from_code, "--from-code"),
            to_codes=_codes(client, model, version, to_code, "--to-code"),
            from_attributes=read_attributes(from_attribute, "--from-attribute") if from_attribute else None,
            to_attributes=read_attributes(to_attribute, "--to-attribute") if to_attribute else None,
            a=a,
            b=b,
            c=c,
        )
        options = TraverseOptions(
            version=version, truncation=truncation, format="png" if grid else target.format, quality=quality
        )
        if grid:
            frames = client.traverse(model, path, **options)
            sheet = traversal_sheet(frames, path, columns=columns, format=target.format, quality=quality)
            is_given = not isinstance(path, Sweep) or path.seed is not None
            typer.echo(_told_seed(target.write(sheet, model), sheet.frames[0].seed, is_given=is_given))
        elif animation:
            animated = client.traverse_animation(
                model, path, frame_milliseconds=frame_milliseconds, back_and_forth=back_and_forth, **options
            )
            typer.echo(target.write(animated, model))
        else:
            for frame in client.traverse(model, path, **options):
                typer.echo(target.write(frame, model))


@app.command()
def translate(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", exists=True)],
    to: Annotated[str | None, typer.Option(help="Domain that they are to be of, for example zebra.")] = None,
    source: Annotated[str | None, typer.Option(help="Domain that they are of.")] = None,
    direction: Annotated[Direction | None, typer.Option(help="By the domains A and B of the model's card.")] = None,
    max_side: Annotated[int | None, typer.Option(help="Longer side in pixels to work at; then scaled back.")] = None,
    cycle: Annotated[
        bool, typer.Option("--cycle", help="Translate back too: write it beside, and print how far off it is.")
    ] = False,
    image_format: Encoding = None,
    quality: Quality = None,
    version: Version = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder, or file for one picture.")] = Path("translated"),
    address: Address = DEFAULT_ADDRESS,
    timeout: Annotated[float, typer.Option(help="The most seconds to wait for an answer.", min=0.001)] = 120.0,
) -> None:
    """Turn pictures of one domain into the other, and print the names of the files.

    Each keeps its name. A picture that cannot be translated is reported, the others go on, and the exit code is 1.
    """
    with _errors_told("translate", GantryError, ValueError, OSError), _client(address, timeout) as client:
        target = destination(out, image_format)
        outputs = plan_outputs(images, target)
        options = TranslateOptions(
            version=version,
            to=to,
            source=source,
            direction=direction,
            max_side=max_side,
            cycle=cycle,
            format=target.format,
            quality=quality,
        )
        failed = False
        for file, result in client.translate_many(model, list(outputs), progress=sys.stderr.isatty(), **options):
            if isinstance(result, GantryError):
                typer.echo(f"gantry translate: {file}: {result}", err=True)
                failed = True
            else:
                typer.echo(_write_translation(result, outputs[file]))
        if failed:
            raise typer.Exit(1)


@app.command("token", hidden=True)
@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Who is to have the key; stands in the gateway's log.")],
    model: Annotated[list[str] | None, typer.Option(help="A model that it may use; repeatable. Default: all.")] = None,
    weight: Annotated[float | None, typer.Option(help="Its share beside others, up to 100. Default: 1.")] = None,
    images_per_second: Annotated[float | None, typer.Option(help="The most images a second. Default: any.")] = None,
    concurrent_images: Annotated[
        int | None, typer.Option(help="The most images that wait or are made at once. Default: any.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="File of keys to add it to, made where there is none.")] = None,
) -> None:
    """Make a key for a caller. It is printed once; the gateway's file of keys (GANTRY_API_KEYS) holds only its hash.

    Without --file, what belongs into its list of "keys" is printed on stderr.
    """
    from services.gateway.credentials.api_keys import add_key, make_key

    with _errors_told("key", ValueError, OSError):
        secret, entry = make_key(
            name,
            model or ["*"],
            weight=weight,
            images_per_second=images_per_second,
            concurrent_images=concurrent_images,
        )
        if file is None:
            typer.echo(entry.model_dump_json(exclude_defaults=True), err=True)
        else:
            add_key(file, entry)
        typer.echo(secret)


@contextmanager
def _client(address: str, timeout: float) -> Iterator[Client]:
    """Connect with the credentials of the environment; say what to do where nobody listens at the address.

    Of any other failure, as of a TLS handshake, it is not known that no gateway is there.
    """
    with Client(address, timeout=timeout, credentials=Credentials.from_environment()) as client:
        try:
            yield client
        except GantryError as error:
            if error.reason is None and "Connection refused" in error.message:
                hint = "start one with `gantry serve`, or name another address with --address or GANTRY_ADDRESS"
                raise OSError(f"no gateway answers at {address}: connection refused; {hint}") from error
            raise


def _write_translation(result: Translation, path: Path) -> str:
    """Write a translated picture, and what became of it translated back beside it; say what was written."""
    write_picture(result, path)
    if result.cycled is None:
        return str(path)
    cycled = write_picture(result.cycled, path.with_stem(f"{path.stem}-cycled"))
    return f"{path} {cycled} cycle L1 {result.cycle_l1:.3f}"


def _told_seed(file: Path, seed: int, *, is_given: bool) -> str:
    """Name a grid's file, and the seed that makes it again where the gateway picked it."""
    return str(file) if is_given else f"{file} seed {seed}"


def _codes(client: Client, model: str, version: str | None, texts: list[str] | None, flag: str) -> Codes | None:
    """Read codes by the model's card, which tells numbers from names."""
    return read_codes(texts, client.model(model, version).card, flag) if texts else None


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
        except OSError as error:
            typer.echo(f"gantry {command.__name__}: {error.filename or ''}: {error.strerror or error}", err=True)
            raise typer.Exit(1) from error

    return told


_add_announced_commands()


if __name__ == "__main__":
    app()
