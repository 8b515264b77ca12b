"""The command `gantry archive`; torch is imported only when it runs, so that --help is quick."""

from pathlib import Path
from typing import Annotated

import typer

from training.archive.package import ArchivingError, refuse_name

# What may be packed, and the options that go with it.
_SOURCES = {
    "run": {"name", "unevaluated", "best", "description"},
    "generator": {"card", "name", "weights"},
    "program": {"card", "name"},
}


def archive(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a training run, e.g. runs/mnist-cgan.", show_default=False)
    ] = None,
    generator: Annotated[
        str | None, typer.Option(metavar="FILE:CLASS", help="Instead of RUN: your own, e.g. my_nets.py:Generator.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Its weights: .safetensors, or a state dict that torch.save wrote.")
    ] = None,
    program: Annotated[
        Path | None, typer.Option(help="Instead of RUN: your own, as torch.export.save wrote it, e.g. g.pt2.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="What your own takes and gives: a YAML file, see docs/own-generator.md.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; of a RUN the folder's if not given.")] = None,
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1.0.0",
    out: Annotated[Path, typer.Option(help="Folder to write <name>.mar into.")] = Path("model_store"),
    unevaluated: Annotated[bool, typer.Option("--unevaluated", help="Pack a RUN without figures, as it is.")] = False,
    best: Annotated[
        bool, typer.Option("--best", help="Pack a RUN's best checkpoint by the validation split, not the last.")
    ] = False,
    description: Annotated[
        str, typer.Option(help="What the card says of a RUN's model; what its recipe says if not given.")
    ] = "",
) -> None:
    """Packs a trained generator, or your own of any origin, into an archive that every backend serves."""
    name = name or (run.resolve().name if run else None)
    try:
        _refuse_combinations({option for option, value in context.params.items() if value})
        refuse_name(name or "", version)
    except ArchivingError as error:
        raise _failure(error, 2) from error
    from training.archive.own import archive_own
    from training.archive.run import archive_run
    from training.config import ConfigError
    from training.engine import CheckpointError

    path, notes = out / f"{name}.mar", []
    try:
        if run:
            archive_run(run, path, version, unevaluated=unevaluated, best=best, description=description)
        else:
            assert card
            flag, source = ("--generator", generator) if generator else ("--program", str(program))
            notes = archive_own(flag, source, weights, card, path, version)
    except (ArchivingError, ConfigError, CheckpointError) as error:
        raise _failure(error, 1) from error
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _refuse_combinations(given: set[str]) -> None:
    """Refuse options that do not belong together, of those that are given.

    Raises:
        ArchivingError: The message names them.
    """
    if len(sources := given & set(_SOURCES)) != 1:
        raise ArchivingError("give either RUN or --generator or --program")
    (source,) = sources
    flag = "RUN" if source == "run" else f"--{source}"
    needed = set() if source == "run" else {"card", "name"}
    for option in sorted(needed - given):
        raise ArchivingError(f"--{option}: is needed with {flag}")
    for option in sorted(given - {source, "version", "out"} - _SOURCES[source]):
        raise ArchivingError(f"--{option}: cannot be used with {flag}")


def _failure(error: Exception, code: int) -> typer.Exit:
    typer.secho(f"gantry archive: {error}", fg=typer.colors.RED, err=True)
    return typer.Exit(code)
