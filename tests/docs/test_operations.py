"""What the page for whoever is on call tells them to type and to look for exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from services.cli import app
from services.gateway.errors import TABLE
from tests.helm.exposition import batch_exposition, gateway_exposition, labels_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
SHELL = "".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = [line for line in SHELL.splitlines() if line.startswith("gantry ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_one_of_gantry(line: str) -> None:
    """It is parsed as `gantry` would, and not run."""
    command, arguments = typer.main.get_command(app), shlex.split(line)[1:]
    context = command.make_context("gantry", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, arguments = command.resolve_command(context, arguments)
        context = command.make_context(name, list(arguments), parent=context)


def test_metrics_and_labels_exist() -> None:
    exposed = labels_of(gateway_exposition()) | labels_of(batch_exposition())
    names = set(re.findall(r"\b(?:gantry|grpc_server)_[a-z_]+\b", PAGE))
    assert names <= set(exposed)
    known = {"namespace", "job", "pod", *(label for found in exposed.values() for labels in found for label in labels)}
    queries = "".join(re.findall(r"^```promql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    labels = {label.strip() for group in re.findall(r"by \(([^)]*)\)", queries) for label in group.split(",")}
    assert labels | set(re.findall(r"(\w+)!?=~?\"", queries)) <= known


def test_reasons_exist() -> None:
    reasons = {row.reason for row in TABLE.values()} | {"INTERNAL"}
    table = re.findall(r"^\| (`[A-Z_`, ]+`) \|", PAGE, re.MULTILINE)
    assert len(table) == 4
    assert {reason for cell in table for reason in re.findall(r"[A-Z_]+", cell)} <= reasons


def test_links_lead_to_sections() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
