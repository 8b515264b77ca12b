"""Provoke every fault on both backends, with TorchServe called directly beside, and write docs/faults.md."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.faults.case import Case, Finding, Provocation
from benchmarks.faults.cases import CASES
from benchmarks.faults.page import write_page
from benchmarks.faults.scene import Scene
from benchmarks.targets import DIRECT, EMBEDDED, TORCHSERVE

_TARGETS: dict[Literal["embedded", "torchserve"], str] = {"embedded": EMBEDDED, "torchserve": TORCHSERVE}


def main(
    model_store: Annotated[Path, typer.Option(help="Folder of the shipped archives.")] = Path("model_store"),
    only: Annotated[list[str] | None, typer.Option(help="Only these cases; repeatable.")] = None,
    backend: Annotated[list[str] | None, typer.Option(help="Only these backends; no page then.")] = None,
    short: Annotated[bool, typer.Option("--short", help="The short form, as in continuous integration.")] = False,
    soak_minutes: Annotated[float, typer.Option(help="How long the soak takes.", min=0.1)] = 30.0,
    report: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/faults.md"),
) -> None:
    """Run the cases and write the page; exit 1 where something is not as wanted."""
    names = [case.name for case in CASES]
    if unknown := set(only or []) - set(names):
        raise typer.BadParameter(
            f"no case {', '.join(sorted(unknown))}; there are {', '.join(names)}", param_hint="--only"
        )
    if unknown := set(backend or []) - set(_TARGETS):
        raise typer.BadParameter(f"must be of {', '.join(_TARGETS)}", param_hint="--backend")
    chosen = [case for case in CASES if case.name in (only or names)]
    found: dict[str, dict[str, list[Finding]]] = {}
    with tempfile.TemporaryDirectory(prefix="gantry-faults-") as folder:
        for case in chosen:
            found[case.name] = {}
            for name, target in _TARGETS.items():
                if name in (backend or _TARGETS):
                    scene = Scene(name, Path(folder), model_store, short, soak_minutes)
                    found[case.name][target] = _run(case, target, case.gateway, scene)
            if case.direct and not backend:
                found[case.name][DIRECT] = _run(case, DIRECT, case.direct, scene)
            if not backend:  # else a section would lose a column
                write_page(report, found, CASES)
    if any(not finding.met for of_case in found.values() for findings in of_case.values() for finding in findings):
        raise typer.Exit(1)


def _run(case: Case, target: str, provoke: Provocation, scene: Scene) -> list[Finding]:
    typer.echo(f"==> {case.name}: {target}")
    findings = asyncio.run(provoke(scene))
    for finding in findings:
        wanted = f" (wanted {finding.wanted}{'' if finding.met else ', NOT MET'})" if finding.wanted else ""
        typer.echo(f"    {finding.what}: {finding.seen}{wanted}")
    return findings


if __name__ == "__main__":
    typer.run(main)
