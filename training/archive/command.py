"""The command `gantry archive`; torch is imported only when it runs, so that --help is quick."""

from pathlib import Path
from typing import Annotated, Any

import typer

from training.archive.package import ArchivingError

# What may be packed, and the flags that go with it: those that it needs, and others.
_SOURCES = {
    "RUN": (set(), {"--name", "--unevaluated", "--best", "--description"}),
    "--generator": ({"--card", "--name"}, {"--weights"}),
    "--program": ({"--card", "--name"}, set()),
}


def archive(
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
        str | None, typer.Option(help="What the card says of a RUN's model; what its recipe says if not given.")
    ] = None,
) -> None:
    """Packs a trained generator, or your own of any origin, into an archive that every backend serves."""
    given: dict[str, object] = {"RUN": run, "--generator": generator, "--program": program, "--weights": weights}
    given |= {"--card": card, "--name": name, "--description": description}
    given |= {"--unevaluated": unevaluated or None, "--best": best or None}
    notes: list[str] = []
    try:
        _refuse_combinations({flag for flag, value in given.items() if value is not None})
        if run:
            path = _archive_run(
                run,
                out,
                name or run.resolve().name,
                version,
                unevaluated=unevaluated,
                best=best,
                description=description,
            )
        else:
            from training.archive.own import archive_own

            assert card
            assert name
            path, notes = archive_own(generator or program or "", weights, card, out, name, version)
    except ArchivingError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _archive_run(run: Path, out: Path, name: str, version: str, **options: Any) -> Path:
    from training.archive.run import archive_run
    from training.config import ConfigError
    from training.engine import CheckpointError

    try:
        return archive_run(run, out, name, version, **options)
    except (ConfigError, CheckpointError) as error:
        raise ArchivingError(str(error)) from error


def _refuse_combinations(given: set[str]) -> None:
    """Refuse flags that do not belong together.

    Raises:
        ArchivingError: The message names them.
    """
    sources = [source for source in _SOURCES if source in given]
    if len(sources) != 1:
        raise ArchivingError(f"{' and '.join(sources) or 'nothing'} to pack: give one of {', '.join(_SOURCES)}")
    (source,) = sources
    needed, others = _SOURCES[source]
    for flag in sorted(needed - given):
        raise ArchivingError(f"{flag}: is needed with {source}")
    for flag in sorted(given - needed - others - {source}):
        raise ArchivingError(f"{flag}: cannot be used with {source}")
