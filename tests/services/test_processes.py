"""Processes that end with the one that started them."""

import shutil
import subprocess
import sys

import pytest

from services.processes import ending_with_this

pytestmark = pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv of util-linux is not there")

STARTS_A_CHILD = """
import subprocess, sys
from services.processes import ending_with_this
subprocess.Popen([*ending_with_this(), "sh", "-c", "echo started; exec sleep 600"])
sys.stdin.read()
"""


def test_a_command_runs_under_the_process_that_asked() -> None:
    run = subprocess.run([*ending_with_this(), "echo", "a word"], capture_output=True, check=True)
    assert run.stdout == b"a word\n"


def test_a_command_whose_starter_is_gone_does_not_run() -> None:
    """Where the starter ended before the signal was asked for, the parent is some other process."""
    under_another = ["sh", "-c", '"$@"; exit', "sh"]
    run = subprocess.run([*under_another, *ending_with_this(), "echo", "a word"], capture_output=True, check=False)
    assert (run.returncode, run.stdout) == (1, b"")


def test_a_child_ends_when_its_starter_is_killed() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTS_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"started\n"
        starter.kill()
        assert starter.stdout.read() == b""  # The child holds this pipe open as long as it lives.
