"""Waiting for what other threads and processes bring about: it ends, and says what did not come."""

import time
from collections.abc import Callable

import psutil

PATIENCE_SECONDS = 120.0


def wait_until(happens: Callable[[], bool], what: str) -> None:
    """Wait until something is so.

    Args:
        happens: Whether it is.
        what: What it is, to be told where it does not come.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < give_up, f"waited {PATIENCE_SECONDS:.0f} s in vain until {what}"
        time.sleep(0.005)


def still_runs(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and was not collected yet does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
