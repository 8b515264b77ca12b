"""The page that `make faults` leaves: what was done, what was found, and what was wanted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.faults.case import Case, Finding
from benchmarks.pages import machine, table

_INTRODUCTION = """\
# Faults

Written by `make faults`. Each case provokes a real gateway with shipped models from outside, once on each backend;
where TorchServe can be asked the same, it is called directly and stands beside. The callers share the machine's cores
with what they call. A case that is run again (`python -m benchmarks.faults --only storm`) renews its section."""

Found = Mapping[str, Sequence[Finding]]
"""Findings of a case by the target that they were made at."""


def write_page(path: Path, found: Mapping[str, Found], cases: Sequence[Case]) -> None:
    """Write the page, or renew the sections of the cases that were run.

    Args:
        path: The Markdown file to write.
        found: What was found, by the name of the case.
        cases: All cases, in the order of the page.
    """
    sections = _sections(path.read_text() if path.exists() else "")
    sections |= {case.title: _section(case, found[case.name]) for case in cases if case.name in found}
    ordered = [sections[case.title] for case in cases if case.title in sections]
    path.write_text("\n\n".join([_INTRODUCTION, *ordered]) + "\n")


def _sections(page: str) -> dict[str, str]:
    """Return the sections of a page by their titles."""
    return {text.partition("\n")[0]: f"## {text.strip()}" for text in page.split("\n## ")[1:]}


def _section(case: Case, found: Found) -> str:
    lines: dict[str, dict[str, Finding]] = {}
    for target, findings in found.items():
        for finding in findings:
            lines.setdefault(finding.what, {})[target] = finding
    rows = [(what, _wanted(cells), *(_seen(cells.get(target)) for target in found)) for what, cells in lines.items()]
    where = f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}."
    return f"## {case.title}\n\n{case.done}\n\n{table(('', 'wanted', *found), rows)}\n\n{where}"


def _wanted(cells: Mapping[str, Finding]) -> str:
    return " / ".join(dict.fromkeys(finding.wanted for finding in cells.values() if finding.wanted))


def _seen(finding: Finding | None) -> str:
    if finding is None:
        return "–"
    return finding.seen if finding.met else f"**{finding.seen}**, not met"
