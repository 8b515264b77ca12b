"""The commands that training adds to `gantry`; torch is imported only when one runs, so that --help is quick."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from training.config import ConfigError, TrainConfig
from training.presets import PRESETS, preset

Family = Literal["cgan", "infogan", "cyclegan"]

_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}


def train(
    family: Annotated[
        Family | None, typer.Argument(help="What to train; that of --preset, or cgan.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The data set: digits (the default), mnist or fashion-mnist; for cyclegan the name of a folder or "
            "archive in --data-dir, horse2zebra if not given.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where to look for the data set first. For cyclegan it may itself be the folder with trainA, trainB, "
            "testA and testB, or a zip or tar of it.",
            envvar="GANTRY_DATA_DIR",
        ),
    ] = None,
    preset_name: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help=f"Settings to begin with: {', '.join(PRESETS)}. If not given, <data>-<family>, for cyclegan "
            "horse2zebra-lite.",
        ),
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
        typer.Option(
            "--set", help="Any setting of --dry-run by name, e.g. generator.width=64, domain_a=apple; repeatable."
        ),
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the nets run.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the run in --run-dir and start over.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration as JSON and train nothing.")
    ] = False,
) -> None:
    """Trains a GAN; the same command again goes on where it stopped.

    A preset gives the settings, and the options change them. Without any option it trains a cgan on scikit-learn's
    digits, for about a minute. Several processes, a GPU each, share the work: torchrun --standalone --nproc-per-node=N
    --no-python gantry train ...
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
        config = _chosen(family, data, data_dir, preset_name).changed({**changes, **_assignments(settings or [])})
    except ConfigError as error:
        raise _failure(error) from error
    if dry_run:
        typer.echo(config.model_dump_json(indent=2))
        return

    from training import distributed, engine
    from training.data import IdxError, MissingDataError, UnpairedDataError

    place = run_dir or Path("runs", f"{config.data}-{config.family}")
    try:
        grid = engine.train(config, place, data_dir=data_dir, device=device, fresh=fresh)
    except engine.Interrupted as stop:
        if distributed.is_first():
            typer.echo(str(stop), err=True)
        raise typer.Exit(130) from stop
    except (ConfigError, MissingDataError, IdxError, UnpairedDataError) as error:
        raise _failure(error) from error
    except (engine.CheckpointError, engine.DivergedError, distributed.PeerError) as error:
        raise _failure(error) from error
    if distributed.is_first():
        typer.echo(f"what it makes now: {grid}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, e.g. runs/digits-cgan.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where to look for the data set first.", envvar="GANTRY_DATA_DIR"),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            help="Samples to judge, balanced over the classes; of no effect on a cyclegan, which is judged "
            "on all test pictures."
        ),
    ] = 10_000,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where trained judges are kept; .cache beside the run if not given.")
    ] = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            help="torch-fidelity's file of Inception-v3 weights; a cyclegan's Inception FID is taken only with it.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Measures a trained generator against the test split; writes figures and a report into the run's folder.

    The first evaluation on a labelled data set trains its judge, a classifier of the real images; later ones reuse it.
    """
    from training.data import IdxError, MissingDataError, UnpairedDataError
    from training.engine import CheckpointError
    from training.evaluation.evaluate import EVALUATION_FILE, REPORT_FILE, TooFewSamplesError, evaluate_run

    try:
        evaluation = evaluate_run(run, data_dir, samples, cache_dir, inception_weights)
    except (ConfigError, MissingDataError, IdxError, UnpairedDataError) as error:
        raise _failure(error) from error
    except (CheckpointError, TooFewSamplesError) as error:
        raise _failure(error) from error
    for name, value, reference in evaluation.table():
        typer.echo(f"{name:<44}{value:>12}{reference:>14}")
    for name, text in evaluation.protocol.items():
        typer.echo(f"{name}: {text}")
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


def _chosen(family: Family | None, data: str | None, data_dir: Path | None, name: str | None) -> TrainConfig:
    """The preset that is named, or else the one for the family and the data; on these data."""
    if name is None and family != "cyclegan":
        return _of_labelled_data(family or "cgan", data or "digits")
    config = preset(name or "horse2zebra-lite")
    if family not in (None, config.family):
        raise ConfigError(f"--preset {name} is for {config.family}, not for {family}")
    if config.family == "cyclegan":
        return _of_domains(config, data or _name_at(data_dir) or config.data)
    return config.changed({"data": data or config.data})


def _of_labelled_data(family: Family, data: str) -> TrainConfig:
    known = [each().data for each in PRESETS.values() if each().family == family]
    if data not in known:
        raise ConfigError(f"--data {data}: {family} can be trained on {', '.join(known)}")
    return preset(f"{data}-{family}")


def _of_domains(config: TrainConfig, data: str) -> TrainConfig:
    """A preset for horses and zebras, on other data: the domains then have no names but those of their folders."""
    return config if data == config.data else config.changed({"data": data, "domain_a": "A", "domain_b": "B"})


def _name_at(data_dir: Path | None) -> str | None:
    from training.data import name_at

    return name_at(data_dir) if data_dir else None


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
