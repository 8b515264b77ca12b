"""Measure the gateway against TorchServe called directly and a bare loop, and batch jobs; write docs/benchmarks.md.

All targets serve the same archive at the same time and are pressed in turn, cell by cell and round by round, so that
whatever else the machine does falls on all of them alike. Figures are medians over the rounds; what counts are ratios.
"""

import asyncio
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from benchmarks.batch import measure_batch
from benchmarks.footprint import measure_footprint
from benchmarks.load import Figures, Load, median, press
from benchmarks.report import Protocol, write_report
from benchmarks.targets import EMBEDDED, TORCHSERVE, Target, direct, gateway
from benchmarks.translation import LOADS as TRANSLATION_LOADS
from benchmarks.translation import (
    Agreement,
    BareLoop,
    as_png,
    compare,
    direct_translation,
    pictures,
    translating_gateway,
)
from services.backends.torchserve.api import OWN_MESSAGE_BYTES
from services.backends.torchserve.process import TorchServeProcess

LOADS = [Load(concurrency, images) for images in (1, 16) for concurrency in (1, 8, 32)]
_START_SECONDS = 600.0


def main(
    model_store: Annotated[Path, typer.Option(help="Folder of .mar archives.")] = Path("model_store"),
    model: Annotated[str, typer.Option(help="The model to sample.")] = "mnist-cgan",
    translator: Annotated[str, typer.Option(help="The model to translate with.")] = "horse2zebra",
    rounds: Annotated[int, typer.Option(help="How often each cell is measured.", min=1)] = 5,
    seconds: Annotated[float, typer.Option(help="How long each cell is pressed.", min=0.1)] = 3.0,
    items: Annotated[int, typer.Option(help="Pictures of the batch jobs that are killed.", min=1)] = 2000,
    kills: Annotated[int, typer.Option(help="How often each of them is killed.", min=0)] = 10,
    report: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/benchmarks.md"),
) -> None:
    """Measure, and write the page."""
    protocol = Protocol(model, translator, rounds, seconds)
    sampled = asyncio.run(_measure(_archive_of(model_store, model), protocol))
    translated, agreement = asyncio.run(_measure_translation(_archive_of(model_store, translator), protocol))
    footprint = measure_footprint(model_store)
    with ExitStack() as running:
        store = _store_of(_archive_of(model_store, translator), running)
        batch = measure_batch(store, translator, items=items, kills=kills, rounds=rounds)
    write_report(report, protocol, sampled, translated, agreement, footprint, batch)
    typer.echo(report.read_text())


def _archive_of(model_store: Path, model: str) -> Path:
    archives = sorted(model_store.glob(f"{model}*.mar"))
    if not archives:
        raise typer.BadParameter(f"{model_store} has no archive of {model}", param_hint="--model-store")
    return archives[0]


async def _measure(archive: Path, protocol: Protocol) -> dict[tuple[str, Load], Figures]:
    async with AsyncExitStack() as running:
        targets = await _start(running, archive, protocol.model)
        return await _press_all([(target, load) for load in LOADS for target in targets], protocol)


async def _measure_translation(archive: Path, protocol: Protocol) -> tuple[dict[tuple[str, Load], Figures], Agreement]:
    bare, picture = BareLoop(archive), pictures()[0]
    async with AsyncExitStack() as running:
        logs = _logs(running)
        server = await _start_torchserve(running, archive)
        started = translating_gateway(
            protocol.translator, logs / "translating.log", as_png(picture), *_embedded(archive, running)
        )
        target, address = await running.enter_async_context(started)
        direct = await running.enter_async_context(direct_translation(server, protocol.translator, as_png(picture)))
        agreement = await asyncio.to_thread(compare, address, protocol.translator, bare)
        targets = (target, direct, bare.target(picture))
        return await _press_all([(each, TRANSLATION_LOADS[each.name]) for each in targets], protocol), agreement


async def _press_all(cells: list[tuple[Target, Load]], protocol: Protocol) -> dict[tuple[str, Load], Figures]:
    """Press every cell once a round, one after the other."""
    measured: dict[tuple[str, Load], list[Figures]] = defaultdict(list)
    for target, load in tqdm(cells * protocol.rounds, desc="measuring", unit="cell"):
        await press(target, load, seconds=0.3)
        measured[target.name, load].append(await press(target, load, protocol.seconds))
    return {cell: median(rounds) for cell, rounds in measured.items()}


async def _start(running: AsyncExitStack, archive: Path, model: str) -> list[Target]:
    """Start one TorchServe for both who call it, and two gateways."""
    logs = _logs(running)
    server = await _start_torchserve(running, archive)
    attached = (
        "--backend=torchserve",
        f"--torchserve-address={server.address}",
        f"--torchserve-management-address={server.management_address}",
    )
    return [
        await running.enter_async_context(
            gateway(EMBEDDED, model, logs / "embedded.log", *_embedded(archive, running))
        ),
        await running.enter_async_context(gateway(TORCHSERVE, model, logs / "torchserve.log", *attached)),
        await running.enter_async_context(direct(server, model)),
    ]


async def _start_torchserve(running: AsyncExitStack, archive: Path) -> TorchServeProcess:
    server = TorchServeProcess([archive], workers=1, message_bytes=OWN_MESSAGE_BYTES)
    running.push_async_callback(server.stop)
    await server.start(_START_SECONDS)
    return server


def _embedded(archive: Path, running: AsyncExitStack) -> tuple[str, str]:
    """Arguments of a gateway that serves this archive alone."""
    return "--backend=embedded", f"--model-store={_store_of(archive, running)}"


def _store_of(archive: Path, running: AsyncExitStack | ExitStack) -> Path:
    """Make a model store of one archive."""
    store = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="gantry-bench-store-")))
    (store / archive.name).symlink_to(archive.resolve())
    return store


def _logs(running: AsyncExitStack) -> Path:
    return Path(running.enter_context(tempfile.TemporaryDirectory(prefix="gantry-bench-")))


if __name__ == "__main__":
    typer.run(main)
