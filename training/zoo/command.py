"""The command `gantry zoo`; torch is imported only when it runs, so that --help is quick."""

from pathlib import Path
from typing import Annotated

import typer


def zoo(
    run_dir: Annotated[Path, typer.Option(help="Where the runs live; those that are done are not done again.")] = Path(
        "runs/zoo"
    ),
    out: Annotated[Path, typer.Option(help="The page to write; its pictures go into a folder of its name.")] = Path(
        "docs/zoo.md"
    ),
    only: Annotated[
        str | None, typer.Option(help="Rows to train and to show, e.g. hinge,kl; all of them if not given.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each row.", min=1)] = 3,
    data: Annotated[str, typer.Option(help="The data set; with classes.")] = "fashion-mnist",
    images: Annotated[int, typer.Option(help="Real images that a run is shown.", min=1_000)] = 200_000,
    samples: Annotated[int, typer.Option(help="Samples that are measured of each run.", min=100)] = 10_000,
    processes: Annotated[int, typer.Option(help="Runs at once, a thread each.", min=1)] = 2,
) -> None:
    """Trains every objective with the same nets under several seeds, and writes one page that compares them."""
    from training.zoo.entries import ENTRIES
    from training.zoo.report import write_report
    from training.zoo.runs import Size, ZooError, run_all, runs_of

    names = only.split(",") if only else list(ENTRIES)
    if unknown := [name for name in names if name not in ENTRIES]:
        typer.secho(f"gantry zoo: --only {unknown[0]}: must be one of {', '.join(ENTRIES)}", fg="red", err=True)
        raise typer.Exit(1)
    runs = runs_of({name: ENTRIES[name] for name in names}, seeds, run_dir)
    size = Size(data, images, samples)
    try:
        done = list(run_all(runs, size, ["--threads=1"], processes))
    except ZooError as error:
        typer.secho(f"gantry zoo: {error}", fg="red", err=True)
        raise typer.Exit(1) from error
    write_report(done, size, out)
    typer.echo(f"the page: {out}")
