"""Turns SIGINT and SIGTERM into a wish that the loop grants between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM stopped the run; the same call goes on from its checkpoint."""


@dataclass
class Stop:
    """Whether to stop.

    Attributes:
        requested: Whether a signal has come.
        at_once: Whether a signal raises `Interrupted` where it finds the process, because a step takes minutes.
    """

    requested: bool = False
    at_once: bool = False


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """A block in which a signal does not cut a step in half; a second one kills as usual."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.requested = True
        restore()
        if stop.at_once:
            raise Interrupted("stopped while compiling; the same command goes on from the last checkpoint")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()
