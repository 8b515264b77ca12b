"""Whatever the documentation tells a caller to write or type is done here, against a real gateway."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.client.connection import DEFAULT_ADDRESS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/api.md"]
# Commands that call a gateway; the others train models or serve them, and have tests of their own.
CALLING = {"batch", "key", "models", "sample", "traverse", "translate"}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


SNIPPETS = [
    pytest.param(code, id=f"{page}-{place}") for page in PAGES for place, code in enumerate(blocks(page, "python"))
]


def commands(block: str) -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("gantry ")]
    return [line[1:] for line in lines if line[1] in CALLING]


BLOCKS = [
    pytest.param(commands(block), id=f"{page}-{place}")
    for page in PAGES
    for place, block in enumerate(blocks(page, "sh"))
    if commands(block)
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_python(code: str, address: str, folder: Path) -> None:
    assert DEFAULT_ADDRESS in code
    exec(compile(code.replace(DEFAULT_ADDRESS, address), "snippet", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", BLOCKS)
def test_commands_of_a_block(block: list[list[str]], address: str, folder: Path) -> None:
    for command in block:
        result = CliRunner().invoke(app, command, env={"GANTRY_ADDRESS": address})
        assert result.exit_code == 0, result.stderr
        assert result.output or command[0] == "batch", "only batch jobs tell of themselves in a log"
        if "--out" in command:
            out = folder / command[command.index("--out") + 1]
            assert out.is_file() or any(out.iterdir())


def test_the_pages_show_every_call() -> None:
    shown = "".join(code for page in PAGES for code in blocks(page, "python"))
    calls = "sample sample_grid sample_stream traverse traverse_grid traverse_animation translate translate_many models"
    assert [call for call in calls.split() if f"client.{call}(" not in shown] == []
    assert {command[0] for block in BLOCKS for command in block.values[0]} == CALLING
