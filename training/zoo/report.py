"""The zoo's page: tables with the spread over the seeds, samples, curves, and the protocol."""

import os
import platform
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from training.zoo import pictures
from training.zoo.entries import RECIPE, SHARED, Group
from training.zoo.results import DISTANCE, LEVEL, Result, results_of
from training.zoo.runs import Size, ZooRun

_COLUMNS = 120
_HEADINGS: dict[Group, str] = {"objectives": "Objectives", "conditions": "Ways to give a label"}
_FIGURES = {
    DISTANCE: "Fréchet distance",
    "precision": "precision",
    "recall": "recall",
    "coverage": "coverage",
    "class_consistency": "class consistency",
}


def write_report(runs: Sequence[ZooRun], size: Size, out: Path) -> None:
    """Writes the page, and its pictures into the folder of its name beside it.

    Args:
        runs: All done, of one or more seeds.
        size: How much each was trained and measured.
        out: The Markdown file to write.
    """
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = len({run.seed for run in runs})
    lines = [*_introduction(size, seeds)]
    protocol: dict[str, str] = {}
    for group, heading in _HEADINGS.items():
        results = results_of([run for run in runs if run.entry.group == group])
        if not any(result.places for result in results):
            continue
        pictures.samples(results).save(folder / f"{group}.png", optimize=True)
        pictures.curves(results).save(folder / f"{group}-curves.png", optimize=True)
        protocol = dict(results[0].evaluations[0].protocol)
        lines += ["", f"## {heading}", "", *_table(results), "", *_reading(results)]
        lines += ["", f"![A row of samples for each](zoo/{group}.png)"]
        lines += ["", f"![The validation figure over the run](zoo/{group}-curves.png)"]
    lines += ["", "## Protocol", "", *(f"- **{name.replace('_', ' ')}**: {text}" for name, text in protocol.items())]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _introduction(size: Size, seeds: int) -> Iterator[str]:
    yield "# The zoo"
    yield ""
    text = (
        f"Written by `gantry zoo` on {datetime.now(UTC).date()}: every objective, and every way to give a label, with "
        f"the same nets on `{size.data}`, {seeds} seeds each, {size.images:,} images a run (a critic that learns five "
        f"times a step is shown five times as much), on {_machine()}. Each figure is the mean over the seeds and, "
        "behind ±, their standard deviation. Less distance is better; of the others, more. Seconds are of training, on "
        "one thread, beside whatever else the machine did."
    )
    yield from textwrap.wrap(text, _COLUMNS)
    yield ""
    yield f"A row is `gantry train {RECIPE} --data {size.data} --threads 1` with its own settings and these:"
    yield ""
    yield "```"
    yield from textwrap.wrap(" ".join(f"--set {name}={value}" for name, value in SHARED.items()), _COLUMNS)
    yield "```"


def _table(results: Sequence[Result]) -> Iterator[str]:
    figures = {name: heading for name, heading in _FIGURES.items() if any(result.values(name) for result in results)}
    yield "| " + " | ".join(["row", *figures.values(), "seconds", "its own settings"]) + " |"
    yield "|" + " --- |" * (len(figures) + 3)
    references = {each.name: each.reference for result in results for one in result.evaluations for each in one.metrics}
    real = [f"{references[name]:.3g}" if references.get(name) is not None else "" for name in figures]
    yield "| " + " | ".join(["*real pictures*", *real, "", ""]) + " |"
    for result in results:
        own = " ".join(f"`{name}={value}`" for name, value in result.entry.settings.items())
        seconds = f"{statistics.fmean(result.seconds):,.0f}" if result.seconds else ""
        cells = [spread(result.values(name)) for name in figures]
        yield "| " + " | ".join([result.entry.name, *cells, seconds, own]) + " |"


def _reading(results: Sequence[Result]) -> Iterator[str]:
    """What the distances say, and what they do not."""
    best, *others = results
    near = [other.entry.name for other in others if other.evaluations and not best.is_told_apart(other)]
    yield f"**{best.entry.name}** has the least mean distance."
    if near:
        yield f"By Welch's test at {LEVEL:g} these are not told apart from it: {', '.join(near)}."
    else:
        yield f"By Welch's test at {LEVEL:g} all others are told apart from it."
    for result in results:
        for seed, failure in result.failures.items():
            yield f"{result.entry.name} with seed {seed} did not come to its end: {failure}."


def spread(values: Sequence[float]) -> str:
    """A mean and a standard deviation; one value alone, and nothing for none."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{statistics.fmean(values):.3g} ± {statistics.stdev(values):.2g}"


def _machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
