"""The commands that training adds to `gantry`; torch is imported only when one runs, so that --help is quick."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from training.config import ConfigError
from training.presets import preset

_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}


def train(
    family: Annotated[Literal["cgan"], typer.Argument(help="What to train.")] = "cgan",
    data: Annotated[Literal["digits", "mnist", "fashion-mnist"], typer.Option(help="The data set.")] = "digits",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where to look for the data set first.", envvar="GANTRY_DATA_DIR"),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run lives; runs/<data>-<family> if not given.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Images to train on in all, e.g. 200k or 3M.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images in a step.")] = None,
    tick: Annotated[str | None, typer.Option(help="Images between grids and checkpoints, e.g. 60k.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all that is random.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, typer.Option(help="Arithmetic of the nets.")
    ] = None,
    compile: Annotated[bool | None, typer.Option(help="Whether torch.compile makes the kernels.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting of --dry-run by name, e.g. generator.width=64; repeatable."),
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the nets run.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the run in --run-dir and start over.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration as JSON and train nothing.")
    ] = False,
) -> None:
    """Trains a GAN; the same command again goes on where it stopped.

    Each family and data set has a preset, and the options change its settings. Without any option it trains on
    scikit-learn's digits, for about a minute.
    """
    try:
        given = {
            "images": _count("--images", images),
            "batch": batch,
            "tick": _count("--tick", tick),
            "seed": seed,
            "precision": precision,
            "compile": compile,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        config = preset(family, data).changed({**changes, **_assignments(settings or [])})
    except ConfigError as error:
        raise _failure(error) from error
    if dry_run:
        typer.echo(config.model_dump_json(indent=2))
        return

    from training import engine
    from training.data import IdxError, MissingDataError

    place = run_dir or Path("runs", f"{data}-{family}")
    try:
        grid = engine.train(config, place, data_dir=data_dir, device=device, fresh=fresh)
    except engine.Interrupted as stop:
        typer.echo(str(stop), err=True)
        raise typer.Exit(130) from stop
    except (ConfigError, MissingDataError, IdxError, engine.CheckpointError, engine.DivergedError) as error:
        raise _failure(error) from error
    typer.echo(f"samples, one row a class: {grid}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, e.g. runs/digits-cgan.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where to look for the data set first.", envvar="GANTRY_DATA_DIR"),
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples to judge, balanced over the classes.")] = 10_000,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where trained judges are kept; .cache beside the run if not given.")
    ] = None,
) -> None:
    """Measures a trained generator against the test split; writes figures and a report into the run's folder.

    The first evaluation on a data set trains its judge, a classifier of the real images; later ones reuse it.
    """
    from training.data import IdxError, MissingDataError
    from training.engine import CheckpointError
    from training.evaluation.evaluate import EVALUATION_FILE, REPORT_FILE, TooFewSamplesError, evaluate_run

    try:
        evaluation = evaluate_run(run, data_dir, samples, cache_dir)
    except (ConfigError, MissingDataError, IdxError, CheckpointError, TooFewSamplesError) as error:
        raise _failure(error) from error
    for name, value, reference in evaluation.table():
        typer.echo(f"{name:<44}{value:>12}{reference:>14}")
    typer.echo(f"judge: {evaluation.protocol['judge']}")
    typer.echo(f"figures and their protocol: {run / EVALUATION_FILE}")
    typer.echo(f"report: {run / REPORT_FILE}")


def archive(
    run: Annotated[Path, typer.Argument(help="Folder of an evaluated training run, e.g. runs/mnist-cgan.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; the folder's name if not given.")] = None,
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1.0.0",
    out: Annotated[Path, typer.Option(help="Folder to write <name>.mar into.")] = Path("model_store"),
) -> None:
    """Packs a trained generator with its figures into an archive that the gateway and TorchServe load."""
    from training.archive import ArchivingError
    from training.card import archive_run
    from training.engine import CheckpointError

    try:
        path = archive_run(run, out, name or run.resolve().name, version)
    except (ArchivingError, ConfigError, CheckpointError) as error:
        raise _failure(error) from error
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _count(flag: str, text: str | None) -> int | None:
    """Reads a number of images such as 500, 200k or 1.5M."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text.replace("_", "").replace(",", ""))
    if match is None:
        raise ConfigError(f"{flag} {text}: give a number of images such as 500, 200k or 1.5M")
    return round(float(match[1]) * _UNITS[match[2]])


def _assignments(texts: list[str]) -> dict[str, str]:
    """Splits NAME=VALUE."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"--set {name}: give it as NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _failure(error: Exception) -> typer.Exit:
    typer.secho(str(error), fg=typer.colors.RED, err=True)
    return typer.Exit(1)
