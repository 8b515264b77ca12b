"""What `gantry archive` cannot do is refused in one line on stderr, that names the flag."""

import shlex
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from training.archive.command import archive

APP = typer.Typer()
APP.command()(archive)


OWN = "--generator g.py:G --card c.yaml --name x"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("", "give either RUN or --generator or --program"),
        ("--weights g.pth", "give either RUN or --generator or --program"),
        ("runs/x --generator g.py:G", "give either RUN or --generator or --program"),
        ("runs/x --program g.pt2", "give either RUN or --generator or --program"),
        ("--program g.pt2 --generator g.py:G", "give either RUN or --generator or --program"),
        ("--generator g.py:G --name mine", "--card: is needed with --generator"),
        ("--program g.pt2 --card card.yaml", "--name: is needed with --program"),
        ("runs/x --weights g.pth", "--weights: cannot be used with RUN"),
        ("runs/x --card card.yaml", "--card: cannot be used with RUN"),
        ("--program g.pt2 --card c.yaml --name x --weights w.pth", "--weights: cannot be used with --program"),
        (f"{OWN} --unevaluated", "--unevaluated: cannot be used with --generator"),
        ("runs/x --name Mine", "--name Mine: must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter"),
        ("runs/MNIST", "--name MNIST: must be 1 to 63 of a-z"),
        (f"{OWN} --version 1", "--version 1: must be a semantic version, for example 1.0.0"),
        ("runs/x --version v1.0.0", "--version v1.0.0: must be"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(arguments: str, fault: str) -> None:
    assert_refused(arguments, fault, 2)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("runs/nowhere", "no training run here"),
        ("--generator g.py:G --card nowhere.yaml --name x", "--card nowhere.yaml: cannot be read"),
    ],
)
def test_what_is_not_there_is_refused(arguments: str, fault: str) -> None:
    assert_refused(arguments, fault, 1)


def assert_refused(arguments: str, fault: str, code: int) -> None:
    result = CliRunner().invoke(APP, shlex.split(arguments))
    assert result.exit_code == code
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout


def test_the_command_is_known_without_torch() -> None:
    script = "import sys, training.archive.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
