"""Measure the gateway against TorchServe called directly, and write docs/benchmarks.md.

All targets serve the same archive at the same time and are pressed in turn, cell by cell and round by round, so that
whatever else the machine does falls on all of them alike. Figures are medians over the rounds; what counts are ratios.
"""

import asyncio
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from benchmarks.load import Figures, Load, median, press
from benchmarks.report import Protocol, write_report
from benchmarks.targets import EMBEDDED, TORCHSERVE, Target, direct, gateway
from services.backends.torchserve import OWN_MESSAGE_BYTES
from services.backends.torchserve_process import TorchServeProcess

LOADS = [Load(concurrency, images) for images in (1, 16) for concurrency in (1, 8, 32)]
_START_SECONDS = 120.0


def main(
    model_store: Annotated[Path, typer.Option(help="Folder of .mar archives.")] = Path("model_store"),
    model: Annotated[str, typer.Option(help="The model to sample.")] = "mnist-cgan",
    rounds: Annotated[int, typer.Option(help="How often each cell is measured.", min=1)] = 5,
    seconds: Annotated[float, typer.Option(help="How long each cell is pressed.", min=0.1)] = 3.0,
    report: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/benchmarks.md"),
) -> None:
    """Measure, and write the page."""
    archives = sorted(model_store.glob(f"{model}*.mar"))
    if not archives:
        raise typer.BadParameter(f"{model_store} has no archive of {model}", param_hint="--model")
    protocol = Protocol(model, rounds, seconds)
    figures = asyncio.run(_measure(archives[:1], protocol))
    write_report(report, protocol, figures)
    typer.echo(report.read_text())


async def _measure(archives: list[Path], protocol: Protocol) -> dict[tuple[str, Load], Figures]:
    measured: dict[tuple[str, Load], list[Figures]] = defaultdict(list)
    async with AsyncExitStack() as running:
        targets = await _start(running, archives, protocol.model)
        cells = [(target, load) for _ in range(protocol.rounds) for load in LOADS for target in targets]
        for target, load in tqdm(cells, desc="measuring", unit="cell"):
            await press(target, load, seconds=0.3)
            measured[target.name, load].append(await press(target, load, protocol.seconds))
    return {cell: median(rounds) for cell, rounds in measured.items()}


async def _start(running: AsyncExitStack, archives: list[Path], model: str) -> list[Target]:
    """Start one TorchServe for both who call it, and two gateways."""
    logs = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="gantry-bench-")))
    server = TorchServeProcess(archives, workers=1, message_bytes=OWN_MESSAGE_BYTES)
    running.push_async_callback(server.stop)
    await server.start(_START_SECONDS)
    attached = (
        "--backend=torchserve",
        f"--torchserve-address={server.address}",
        f"--torchserve-management-address={server.management_address}",
    )
    embedded = ("--backend=embedded", f"--model-store={archives[0].parent}")
    return [
        await running.enter_async_context(gateway(EMBEDDED, model, logs / "embedded.log", *embedded)),
        await running.enter_async_context(gateway(TORCHSERVE, model, logs / "torchserve.log", *attached)),
        await running.enter_async_context(direct(server, model)),
    ]


if __name__ == "__main__":
    typer.run(main)
