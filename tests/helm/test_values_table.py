"""What values.yaml says of its values stands in README.md and in the schema too, made by helm/values_table.py."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helm.rendering import CHART

_SCRIPT = CHART.parent / "values_table.py"


def _run(script: object, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=50, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script beside files of a chart with two values."""
    chart = tmp_path / "gantry"
    chart.mkdir()
    script = tmp_path / "values_table.py"
    script.write_text(_SCRIPT.read_text())
    (chart / "values.yaml").write_text("a:\n  # -- How many;\n  # more lines.\n  b: 2\n# -- Which.\nc: {d: 1}\n")
    (chart / "README.md").write_text(
        "Before\n<!-- values: made by helm/values_table.py -->\nold\n<!-- end of values -->\nAfter\n"
    )
    properties = {"a": {"properties": {"b": {"type": "integer"}}}, "c": {"description": "old", "type": "object"}}
    (chart / "values.schema.json").write_text(json.dumps({"properties": properties}))
    return script


def test_readme_and_schema_are_up_to_date() -> None:
    outcome = _run(_SCRIPT, "--check")
    assert outcome.returncode == 0, outcome.stderr


def test_every_described_value_has_its_row() -> None:
    rows = set(re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.MULTILINE))
    assert {"backend.mode", "gateway.settings", "podDisruptionBudget.minAvailable", "extraObjects"} <= rows


def test_both_files_are_written(copy: Path) -> None:
    assert _run(copy).returncode == 0
    assert (copy.parent / "gantry/README.md").read_text() == (
        "Before\n<!-- values: made by helm/values_table.py -->\n"
        "| Value | Default | Meaning |\n|---|---|---|\n"
        "| `a.b` | `2` | How many; more lines. |\n"
        '| `c` | `{"d": 1}` | Which. |\n'
        "<!-- end of values -->\nAfter\n"
    )
    properties = json.loads((copy.parent / "gantry/values.schema.json").read_text())["properties"]
    assert properties["a"]["properties"]["b"] == {"description": "How many; more lines.", "type": "integer"}
    assert properties["c"] == {"description": "Which.", "type": "object"}


def test_checking_names_stale_files_and_writes_nothing(copy: Path) -> None:
    before = (copy.parent / "gantry/README.md").read_text()
    outcome = _run(copy, "--check")
    assert outcome.returncode == 1
    assert "README.md is out of date: run python helm/values_table.py" in outcome.stderr
    assert "values.schema.json is out of date" in outcome.stderr
    assert (copy.parent / "gantry/README.md").read_text() == before


def test_value_without_a_comment_is_refused(copy: Path) -> None:
    (copy.parent / "gantry/values.yaml").write_text("a:\n  b: 2\n")
    outcome = _run(copy)
    assert outcome.returncode == 1
    assert "does not say what a.b is" in outcome.stderr
