"""The page that a benchmark run leaves: protocol, machine, targets and figures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.batch import LISTED_ANEW, LISTED_SIDE, BatchFigures, Killed, Speed
from benchmarks.footprint import MODELS, WORKERS
from benchmarks.load import Figures, Load
from benchmarks.pages import machine, table
from benchmarks.targets import DIRECT, EMBEDDED, TORCHSERVE
from benchmarks.translation import BARE, Agreement


@dataclass(frozen=True)
class Protocol:
    """How the figures were taken.

    Attributes:
        model: The model that was sampled.
        translator: The model that translated.
        rounds: How often each cell was measured.
        seconds: How long a cell was pressed each time.
    """

    model: str
    translator: str
    rounds: int
    seconds: float


def write_report(
    path: Path,
    protocol: Protocol,
    figures: Mapping[tuple[str, Load], Figures],
    translated: Mapping[tuple[str, Load], Figures],
    agreement: Agreement,
    footprint: float,
    batch: BatchFigures,
) -> None:
    """Write the page.

    Args:
        path: The Markdown file to write.
        protocol: How the figures were taken.
        figures: Of sampling: medians by name of the target and load.
        translated: Of translating, likewise.
        agreement: How the translations agree with eager float32.
        footprint: What a gateway with all shipped models takes, in MiB.
        batch: Of batch jobs.
    """
    loads = list(dict.fromkeys(load for _, load in figures))
    sections = [_introduction(protocol), _targets(figures), _throughput(figures, loads), _latency(figures, loads)]
    sections += [_memory(footprint), _translation(protocol, translated, agreement), _batch(protocol, batch)]
    path.write_text("\n\n".join(sections) + "\n")


def _introduction(protocol: Protocol) -> str:
    return f"""\
# Benchmarks

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: model `{protocol.model}`, PNG, {protocol.rounds} rounds of
{protocol.seconds:g} s a cell after 0.3 s of warm-up; the figures are medians over the rounds.

All targets run at the same time on one machine and are pressed in turn by one closed-loop client process, which shares
the cores with them, so ratios say more than absolute figures. "TorchServe direct" is its gRPC API called with one image
per call, as its own clients do; where a request is of 16 images, it takes 16 calls one after another.

Machine: {machine()}."""


def _targets(figures: Mapping[tuple[str, Load], Figures]) -> str:
    busy, alone = Load(concurrency=32, images=1), Load(concurrency=1, images=1)
    embedded, torchserve, base = (figures[name, busy].images_per_second for name in (EMBEDDED, TORCHSERVE, DIRECT))
    added = figures[TORCHSERVE, alone].p50_ms - figures[DIRECT, alone].p50_ms
    ratios = [
        (f"images/s of {EMBEDDED} to {DIRECT}, concurrency 32, 1 image", embedded / base, 5),
        (f"images/s of {EMBEDDED} to {TORCHSERVE}, the same", embedded / torchserve, 1.25),
    ]
    rows = [(what, f"≥ {least:g}×", f"{ratio:.2f}×", ratio >= least) for what, ratio, least in ratios]
    rows.append((f"p50 that {TORCHSERVE} adds at concurrency 1", "≤ 2 ms", f"{added:.2f} ms", added <= 2))
    return table(
        ("target", "wanted", "measured", ""),
        [(what, wanted, measured, _verdict(met)) for what, wanted, measured, met in rows],
    )


def _throughput(figures: Mapping[tuple[str, Load], Figures], loads: Iterable[Load]) -> str:
    rows = []
    for load in loads:
        rates = [figures[name, load].images_per_second for name in (EMBEDDED, TORCHSERVE, DIRECT)]
        ratios = [f"{rate:,.0f} ({rate / rates[-1]:.2f}×)" for rate in rates]
        rows.append((str(load.concurrency), str(load.images), *ratios))
    return "## Images/s, and the ratio to TorchServe direct\n\n" + table(
        ("concurrency", "images a request", EMBEDDED, TORCHSERVE, DIRECT), rows
    )


def _latency(figures: Mapping[tuple[str, Load], Figures], loads: Iterable[Load]) -> str:
    rows = []
    for load in loads:
        cells = [figures[name, load] for name in (EMBEDDED, TORCHSERVE, DIRECT)]
        latencies = [f"{cell.p50_ms:.1f} / {cell.p99_ms:.1f}" for cell in cells]
        rows.append((str(load.concurrency), str(load.images), *latencies))
    return "## Latency of a request, p50 / p99 in ms\n\n" + table(
        ("concurrency", "images a request", EMBEDDED, TORCHSERVE, DIRECT), rows
    )


def _memory(footprint: float) -> str:
    return f"""\
## Memory

A gateway of {WORKERS} worker processes that serves all shipped models ({", ".join(f"`{model}`" for model in MODELS)})
takes {footprint:,.0f} MiB once each was called: all its processes, with pages that they share counted once (PSS)."""


def _translation(protocol: Protocol, figures: Mapping[tuple[str, Load], Figures], agreement: Agreement) -> str:
    by_name = {name: cell for (name, _), cell in figures.items()}
    base = by_name[BARE].images_per_second
    ratio, levels = by_name[EMBEDDED].images_per_second / base, agreement.difference
    compiled = agreement.execution.startswith("cpu-bfloat16")
    wanted = 2.5 if compiled else 0.95
    targets = [
        (f"images/s of {EMBEDDED} to {BARE}", f"≥ {wanted}×", f"{ratio:.2f}×", _verdict(ratio >= wanted)),
        ("mean difference from float32", "≤ 1 of 255", f"{levels:.2f} of 255", _verdict(levels <= 1)),
    ]
    rows = [
        (name, str(load.concurrency), f"{cell.images_per_second:.1f} ({cell.images_per_second / base:.2f}×)",
         f"{cell.p50_ms:.0f} / {cell.p99_ms:.0f}")
        for (name, load), cell in figures.items()
    ]  # fmt: skip
    return f"""\
## Translating a picture of 256×256

Model `{protocol.translator}`, PNG in and out, execution plan `{agreement.execution}` in the gateway and in TorchServe.
"{BARE}" runs the archive's own graph in a Python loop on all cores, without decoding or
encoding. The difference is the mean over {agreement.pictures} pictures of 8-bit outputs.

{table(("target", "wanted", "measured", ""), targets)}

{table(("", "concurrency", "images/s", "p50 / p99 in ms"), rows)}"""


def _batch(protocol: Protocol, figures: BatchFigures) -> str:
    shortest, longest = min(figures.peaks), max(figures.peaks)
    growth = figures.peaks[longest] / figures.peaks[shortest]
    targets = [row for killed in figures.killed for row in _kept(killed)]
    targets += [_speed(speed) for speed in figures.speeds]
    flat = f"{growth:.2f}×"
    targets += [
        (f"peak memory at {longest:,} listed pictures to {shortest:,}", "≤ 1.5×", flat, _verdict(growth <= 1.5))
    ]
    kills = [
        (killed.storage, f"{killed.items:,}", str(killed.kills), str(killed.under_way), f"{killed.seconds:.0f}")
        for killed in figures.killed
    ]
    speeds = [
        (f"{speed.side}×{speed.side}", str(speed.pictures), f"{speed.job:.1f}", f"{speed.client:.1f}")
        for speed in figures.speeds
    ]
    peaks = [(f"{length:,}", f"{peak:.0f}") for length, peak in figures.peaks.items()]
    return f"""\
## Batch translation

`gantry batch translate` with `{protocol.translator}`. Jobs are killed with SIGKILL when the gateway has made a random
number of their pictures, and started again; each picture differs from all others, and each output is compared with the
answer of an online `Translate`. "Repeated" are translations of pictures whose output was in place at an earlier kill.
Pictures that the gateway had answered, but whose output was not yet in place, are made again by design and counted
apart. With S3, each run waits 15 s for the lock of the killed one to run out.

{table(("target", "wanted", "measured", ""), targets)}

{table(("killed", "pictures", "kills", "under way at a kill", "seconds in all"), kills)}

Speed: the job reads files, translates, writes outputs and records them; the client's `translate_many` over the same
files drops what it gets. They run in turn, {protocol.rounds} rounds after one of warm-up.

{table(("pictures of", "a round", "images/s of the job", "of TranslateStream alone"), speeds)}

Memory: peak resident memory of the job's process, which lists a folder and reads a manifest of that length. Outputs
and lines of all but {LISTED_ANEW} of the pictures ({LISTED_SIDE}×{LISTED_SIDE}) are laid out beforehand.

{table(("listed pictures", "MiB"), peaks)}"""


def _kept(killed: Killed) -> Iterable[tuple[str, str, str, str]]:
    facts = {"lost": killed.lost, "repeated": killed.repeated, "different from online": killed.different}
    for what, number in facts.items():
        yield f"{killed.storage}: {what}, of {killed.items:,}", "0", str(number), _verdict(number == 0)


def _speed(speed: Speed) -> tuple[str, str, str, str]:
    what = f"images/s of a job to TranslateStream alone, {speed.side}×{speed.side}"
    return what, "≥ 0.95×", f"{speed.ratio:.2f}×", _verdict(speed.ratio >= 0.95)


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"
