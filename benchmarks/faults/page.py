"""The page that `make faults` leaves: what was done, what was found, and what was wanted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.faults.case import Case, Finding
from benchmarks.pages import machine, table

Found = Mapping[str, Sequence[Finding]]
"""Findings of a case by the target that they were made at."""


def write_page(path: Path, found: Mapping[str, Found], cases: Sequence[Case]) -> None:
    """Write the page.

    Args:
        path: The Markdown file to write.
        found: What was found, by the name of the case.
        cases: The cases, in the order of the page.
    """
    sections = [_introduction(found), *(_section(case, found[case.name]) for case in cases if case.name in found)]
    path.write_text("\n\n".join(sections) + "\n")


def _introduction(found: Mapping[str, Found]) -> str:
    every = [finding for of_case in found.values() for findings in of_case.values() for finding in findings]
    wanted = [finding for finding in every if finding.wanted]
    met = sum(finding.met for finding in wanted)
    return f"""\
# Faults

Written by `make faults` on {datetime.now(UTC):%Y-%m-%d}. Each case provokes a real gateway with shipped models from
outside, once on each backend; where TorchServe can be asked the same, it is called directly and stands beside. The
callers share the machine's cores with what they call. {met} of {len(wanted)} figures are as wanted.

Machine: {machine()}."""


def _section(case: Case, found: Found) -> str:
    lines: dict[str, dict[str, Finding]] = {}
    for target, findings in found.items():
        for finding in findings:
            lines.setdefault(finding.what, {})[target] = finding
    rows = [(what, _wanted(cells), *(_seen(cells.get(target)) for target in found)) for what, cells in lines.items()]
    return f"## {case.title}\n\n{case.done}\n\n{table(('', 'wanted', *found), rows)}"


def _wanted(cells: Mapping[str, Finding]) -> str:
    return " / ".join(dict.fromkeys(finding.wanted for finding in cells.values() if finding.wanted))


def _seen(finding: Finding | None) -> str:
    if finding is None:
        return "–"
    return finding.seen if finding.met else f"**{finding.seen}**, not met"
