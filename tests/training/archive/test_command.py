"""Flags of `gantry archive` that do not belong together are refused by name, before anything is read."""

import shlex
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from training.archive.command import archive

APP = typer.Typer()
APP.command()(archive)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("", "nothing to pack: give one of RUN, --generator, --program"),
        ("runs/x --generator g.py:G", "RUN and --generator to pack: give one of RUN, --generator, --program"),
        ("--program g.pt2 --generator g.py:G", "--generator and --program to pack: give one of"),
        ("--generator g.py:G --name mine", "--card: is needed with --generator"),
        ("--program g.pt2 --card card.yaml", "--name: is needed with --program"),
        ("runs/x --weights g.pth", "--weights: cannot be used with RUN"),
        ("runs/x --card card.yaml", "--card: cannot be used with RUN"),
        ("--program g.pt2 --card c.yaml --name x --weights w.pth", "--weights: cannot be used with --program"),
        ("--generator g.py:G --card c.yaml --name x --unevaluated", "--unevaluated: cannot be used with --generator"),
        ("--weights g.pth", "nothing to pack: give one of RUN, --generator, --program"),
        ("runs/nowhere", "no training run here"),
        ("--generator g.py:G --card nowhere.yaml --name x", "--card nowhere.yaml: cannot be read"),
    ],
)
def test_what_does_not_belong_together_is_refused(arguments: str, fault: str) -> None:
    result = CliRunner().invoke(APP, shlex.split(arguments))
    assert result.exit_code == 1
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_command_is_known_without_torch() -> None:
    script = "import sys, training.archive.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
