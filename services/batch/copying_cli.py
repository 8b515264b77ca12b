"""`gantry batch copy`: fills a model store from the command line."""

from pathlib import Path
from typing import Annotated

import typer

from services.batch.copying import copy_archives
from services.batch.running import DONE, FAULT, exit_code_of


def copy(
    source: Annotated[str, typer.Argument(help="Folder, archive or glob, by path or URL, for example s3://b/models.")],
    destination: Annotated[Path, typer.Argument(help="The model store, a local folder.", file_okay=False)],
    prune: Annotated[bool, typer.Option("--prune", help="Remove archives that the source does not have.")] = False,
) -> None:
    """Copy the archives (*.mar) of a source into a model store, each only if it is sound, and only what has changed.

    Exit code: 0 all are there; 1 one was refused, which the others do not suffer from, or the source is at fault.
    """

    def work() -> int:
        done = copy_archives(source, destination, prune=prune)
        for fate, names in (("copied", done.fetched), ("unchanged", done.unchanged), ("removed", done.removed)):
            for name in names:
                typer.echo(f"{fate} {name}")
        for name, fault in done.refused.items():
            typer.echo(f"gantry batch copy: refused {name}: {fault}", err=True)
        return FAULT if done.refused else DONE

    raise typer.Exit(exit_code_of("batch copy", work))
