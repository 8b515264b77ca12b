"""Runs Prometheus' own tool on the chart's rules: what it parses and what it computes is what a Prometheus does."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.rendering import Values, render

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")


def write_rules(folder: Path, values: Values, **options: Any) -> Path:
    """Write the rules of a release as a Prometheus takes them from a file."""
    (rule,) = (manifest for manifest in render(values, **options) if manifest["kind"] == "PrometheusRule")
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    return file


def check_rules(file: Path) -> None:
    """See that every expression and every template of a rules file is sound."""
    _run("check", "rules", "--lint=all", "--lint-fatal", str(file))


def run_tests(folder: Path, rules: Path, tests: list[dict[str, Any]]) -> None:
    """Run unit tests of rules, evaluated once a minute: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/."""
    file = folder / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    _run("test", "rules", str(file))


def _run(*arguments: str) -> None:
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
