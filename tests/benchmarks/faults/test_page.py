"""The page of `make faults`."""

from pathlib import Path

from benchmarks.faults.case import Case, Finding, at_least, at_most, beside
from benchmarks.faults.page import write_page
from benchmarks.faults.scene import Scene


async def nothing(_scene: Scene) -> list[Finding]:
    return []


CASE = Case("storm", "A storm", "Many call.", nothing)


def page_of(tmp_path: Path, *findings: Finding) -> str:
    path = tmp_path / "faults.md"
    write_page(path, {"storm": {"gateway": findings, "direct": [beside("answered", 0.04, "{:.0%}")]}}, [CASE])
    return path.read_text()


def test_targets_stand_side_by_side(tmp_path: Path) -> None:
    page = page_of(tmp_path, at_least("answered", 0.9, 0.85, "{:.0%}"))
    assert "## A storm\n\nMany call.\n\n|  | wanted | gateway | direct |" in page
    assert "| answered | ≥ 85% | 90% | 4% |" in page
    assert "Measured on 20" in page


def test_what_is_not_met_is_said(tmp_path: Path) -> None:
    page = page_of(tmp_path, at_most("lost", 2, 0), at_most("refused", 0, 0))
    assert "| lost | 0 | **2**, not met | – |" in page


def test_a_case_that_is_run_again_renews_its_section_alone(tmp_path: Path) -> None:
    path = tmp_path / "faults.md"
    cases = [CASE, Case("soak", "A soak", "Many call for long.", nothing)]
    write_page(path, {name: {"gateway": [beside("answered", 1)]} for name in ("storm", "soak")}, cases)
    write_page(path, {"soak": {"gateway": [beside("answered", 2)]}}, cases)
    storm, soak = path.read_text().split("## A soak")
    assert "| answered |  | 1 |" in storm
    assert "| answered |  | 2 |" in soak


def test_bounds_include_themselves() -> None:
    assert at_least("x", 1, 1).met
    assert at_most("x", 1, 1).met
    assert not at_least("x", 0.99, 1).met
    assert not at_most("x", 1.01, 1).met
