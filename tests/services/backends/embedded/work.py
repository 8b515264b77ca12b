"""Envelopes of the tiny model, and what the tests of worker processes wait for."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

import psutil

from gantry.v1 import worker_pb2
from services.backends.base import ModelKey, probe_item
from services.backends.embedded.vigilance import Vigilance
from services.backends.envelope import Envelope
from tests.archives import tiny_card

KEY = ModelKey("tiny", "1.0.0")
# Nobody looks while a test runs.
BLIND = Vigilance(heartbeat_seconds=600.0)
# Takes seconds, in many chunks.
MANY = 8_000


def work(items: int = 1, seconds_wanted: float | None = None, expected_seconds: float = 0.0) -> Envelope:
    """An envelope of the tiny model."""
    request = worker_pb2.WorkRequest(items=[probe_item(tiny_card())] * items)
    return Envelope(request, seconds_wanted, expected_seconds)


def outcomes(reply: worker_pb2.WorkReply) -> set[str | None]:
    """What came of the items."""
    return {result.WhichOneof("outcome") for result in reply.results}


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what happens in another process."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


class Descendants:
    """The processes that one, by default this one, and those below it start from now on.

    Beside the tests of this folder other gateways may run in this process, whose workers are none of theirs.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)
        self._before = {process.pid for process in self._process.children(recursive=True)}
        # The gateway may have seen the end of one that the kernel still buries.
        self._killed: set[int] = set()

    def __call__(self) -> list[psutil.Process]:
        """Those that run, or have not been buried."""
        return [each for each in self._process.children(recursive=True) if each.pid not in self._before]

    def pids(self) -> set[int]:
        """Their numbers."""
        return {process.pid for process in self()}

    async def only(self) -> int:
        """The number of the one that there is, or is soon."""
        await until(lambda: len(self.pids()) == 1)
        return self.pids().pop()

    def kill_one(self) -> bool:
        """Kill one that runs, and return whether there was one."""
        for process in self():
            with suppress(psutil.NoSuchProcess):
                if process.pid not in self._killed and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    self._killed.add(process.pid)
                    return True
        return False


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))
