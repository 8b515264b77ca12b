"""The commands that training adds to `gantry`; torch is imported only when one runs, so that --help is quick."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from training.config import RunConfig

DIVERGED = 3
"""What `gantry train` exits with where a loss is no longer finite."""

INTERRUPTED = 130
"""What it exits with where it was told to stop."""

_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(help="What to train, cgan if not given; --list shows them.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The data set: digits, mnist, fashion-mnist, cifar-10, letters, or a folder or archive in --data-dir."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Your pictures: a folder, zip or tar, with a folder for each class or without (for cyclegan and "
            "pix2pix with trainA, trainB, testA and testB). Or a folder to look for --data in.",
            envvar="GANTRY_DATA_DIR",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Pixels that own pictures are cropped and resized to: 28, 32, 64, 80, 96 or 128."),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="Settings to begin with, as --dry-run prints them.", exists=True, dir_okay=False),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run lives; runs/<data>-<recipe> if not given.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Images to train on in all, e.g. 200k or 3M.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images in a step.")] = None,
    tick: Annotated[str | None, typer.Option(help="Images between grids and checkpoints, e.g. 60k.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all that is random.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, typer.Option(help="Arithmetic of the nets.")
    ] = None,
    compile: Annotated[
        bool | None, typer.Option(help="Whether torch.compile makes the kernels; if not given, on a GPU alone.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any setting of --dry-run by name, e.g. generator.width=64, domain_a=apple; repeatable."
        ),
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the nets run.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="Threads of torch on a CPU; if not given, as many as cores may be used.", min=1)
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the run in --run-dir and start over.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration as JSON and train nothing.")
    ] = False,
    list_all: Annotated[
        bool, typer.Option("--list", help="Print every recipe, and every part that --set can choose, with its paper.")
    ] = False,
) -> None:
    """Trains a GAN; the same command again goes on where it stopped.

    A recipe gives the settings, and the options change them. Without any option it trains a cgan on scikit-learn's
    digits, for about a minute. Several processes, a GPU each, share the work: torchrun --standalone --nproc-per-node=N
    --no-python gantry train ...
    """
    if list_all:
        _print_list()
        return
    # Read when torch loads: threads that wait for each other must not keep the cores of those that they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from training import distributed, engine
    from training.config import ConfigError
    from training.data import DataError
    from training.evaluation.quality import validation_quality

    source = context.get_parameter_source("data_dir")
    is_told = source is None or source.name != "ENVIRONMENT"  # a flag is meant for this command, a variable for all
    try:
        given = {
            "total_images": _count("--images", images),
            "size": size,
            "batch": batch,
            "tick": _count("--tick", tick),
            "seed": seed,
            "precision": precision,
            "compile": compile,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        config = _chosen(recipe, data, data_dir, config_file, is_told=is_told)
        config = config.changed({**changes, **_assignments(settings or [])})
        if dry_run:
            typer.echo(config.model_dump_json(indent=2))
            return
        place = run_dir or Path("runs", f"{config.data}-{config.recipe}")
        grid = engine.train(
            config,
            place,
            data_dir=data_dir,
            device=device,
            threads=threads,
            fresh=fresh,
            quality=validation_quality,
        )
    except engine.Interrupted as stop:
        if distributed.is_first():
            typer.echo(f"gantry train: {stop}", err=True)
        raise typer.Exit(INTERRUPTED) from stop
    except engine.DivergedError as error:
        raise _failure("train", error, DIVERGED) from error
    except (ConfigError, DataError, engine.CheckpointError, distributed.PeerError) as error:
        raise _failure("train", error) from error
    if distributed.is_first():
        typer.echo(f"what it makes now: {grid}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, e.g. runs/digits-cgan.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where to look for the data set first. If not given: GANTRY_DATA_DIR, then where the run found it."
        ),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            help="Samples to measure, balanced over the classes; translators are measured on all test pictures."
        ),
    ] = 10_000,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where trained classifiers are kept; .cache beside the run if not given.")
    ] = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            help="torch-fidelity's file of Inception-v3 weights; translations' Inception FID is taken only with it.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Measure the best checkpoint by the validation split, not the last.")
    ] = False,
    truncation: Annotated[
        float | None,
        typer.Option(
            help="Measure samples of latents within this of zero, e.g. 1: more typical, less varied. The figures have "
            "files of their own."
        ),
    ] = None,
) -> None:
    """Measures a trained generator against the test split; writes figures and a report into the run's folder.

    The first evaluation on a labelled data set trains a classifier of the real images; later ones reuse it.
    """
    from training.config import ConfigError
    from training.data import DataError
    from training.engine import CheckpointError
    from training.evaluation.evaluate import EVALUATION_FILE, REPORT_FILE, evaluate_run, named
    from training.evaluation.findings import EvaluationError

    try:
        evaluation = evaluate_run(
            run, data_dir, samples, cache_dir, inception_weights, best=best, truncation=truncation
        )
    except (ConfigError, DataError, CheckpointError, EvaluationError) as error:
        raise _failure("evaluate", error) from error
    for name, value, reference in evaluation.table():
        typer.echo(f"{name:<44}{value:>12}{reference:>14}")
    for name, text in evaluation.protocol.items():
        typer.echo(f"{name}: {text}")
    typer.echo(f"figures and their protocol: {named(run / EVALUATION_FILE, truncation)}")
    typer.echo(f"report: {named(run / REPORT_FILE, truncation)}")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
) -> None:
    """Writes one page about several runs: curves, grids, figures, and the settings that differ."""
    from training.config import ConfigError
    from training.evaluation.compare import write_comparison

    try:
        write_comparison(runs, out)
    except ConfigError as error:
        raise _failure("compare", error) from error
    typer.echo(f"the comparison: {out}")


def _print_list() -> None:
    from training.listing import rows

    group = ""
    for row in rows():
        if row.group != group:
            typer.echo(f"{row.group}:")
            group = row.group
        typer.echo(f"  {row.choice}\n      {row.line}{f' ({row.paper})' if row.paper else ''}")


def _chosen(
    name: str | None, data: str | None, data_dir: Path | None, config_file: Path | None, *, is_told: bool
) -> RunConfig:
    """The configuration of a recipe, or of a file, for the data that are meant."""
    from training.config import ConfigError
    from training.data import picture_set_at
    from training.recipes import find_recipe, parse_config

    own = picture_set_at(data_dir) if data_dir and not data else None
    if config_file:
        try:
            config = parse_config(config_file.read_bytes())
        except ConfigError as error:
            raise ConfigError(f"--config {config_file}: {error}") from error
        if name not in (None, config.recipe):
            raise ConfigError(f"--config {config_file} is of the recipe {config.recipe}, not of {name}")
        return config.changed({"data": data or own}) if data or own else config
    recipe = find_recipe(name or "cgan")
    if data_dir and is_told and not data and not own and not _holds(data_dir, recipe.defaults.data):
        raise ConfigError(
            f"--data-dir {data_dir}: holds no pictures, neither itself nor in folders of its classes; to train on a "
            "data set in it, name that with --data"
            if data_dir.exists()
            else f"--data-dir {data_dir}: does not exist"
        )
    return recipe.config(data or own)


def _holds(data_dir: Path, data: str) -> bool:
    """Whether a folder holds a data set that a recipe would find there, as a folder, an archive or IDX files.

    Fonts are looked for nowhere else, so whoever loads them says what is wrong.
    """
    return data == "letters" or any(data_dir.glob(f"{data}*")) or any(data_dir.glob("*-ubyte*"))


def _count(flag: str, text: str | None) -> int | None:
    """Reads a number of images such as 500, 200k or 1.5M."""
    from training.config import ConfigError

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text.replace("_", "").replace(",", ""))
    if match is None:
        raise ConfigError(f"{flag} {text}: give a number of images such as 500, 200k or 1.5M")
    return round(float(match[1]) * _UNITS[match[2]])


def _assignments(texts: list[str]) -> dict[str, str]:
    """Splits NAME=VALUE."""
    from training.config import ConfigError

    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not (name and equals):
            raise ConfigError(f"--set {name}{equals}{value}: give it as NAME=VALUE")
        if name == "data":  # which decides what a recipe's other settings are
            raise ConfigError(f"--set data={value}: give it as --data {value}")
    return {name: value for name, _, value in pairs}


def _failure(command: str, error: Exception, code: int = 1) -> typer.Exit:
    typer.secho(f"gantry {command}: {error}", fg=typer.colors.RED, err=True)
    return typer.Exit(code)
