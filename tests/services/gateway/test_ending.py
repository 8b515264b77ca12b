"""A process that is asked to end does so, whatever hangs."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Says which reactions came; then the event loop, or what comes after it, hangs for as long as the test may take.
_HANGS = """
import asyncio, threading, time
from services.gateway import ending

ending.LIMIT_SECONDS = {limit}
ending.HURRIED_SECONDS = 0.1

async def main():
    stop = asyncio.Event()
    def said(what):
        print(what, flush=True)
        stop.set()
    with ending.signals({drain}, lambda: said("stop"), lambda: said("hurry")):
        print("ready", flush=True)
        {hangs}

asyncio.run(main())
{after}
"""
_NEVER = 600


@contextmanager
def process(hangs: str, *, drain: float = 0, limit: float = 0.2, after: str = "") -> Iterator["subprocess.Popen[str]"]:
    code = _HANGS.format(drain=drain, limit=limit, hangs=hangs, after=after)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("hangs", "after"),
    [
        pytest.param(f"time.sleep({_NEVER})", "", id="the event loop"),
        pytest.param("await asyncio.sleep(600)", "", id="what the drain waits for"),
        pytest.param(
            "await stop.wait()",
            f"threading.Thread(target=time.sleep, args=({_NEVER},)).start()",
            id="a thread at the end",
        ),
    ],
)
def test_what_hangs_is_ended_by_force_and_shown(hangs: str, after: str) -> None:
    with process(hangs, after=after) as hanging:
        hanging.send_signal(signal.SIGTERM)
        _, log = hanging.communicate(timeout=60)
    assert hanging.returncode == 1
    assert "Timeout" in log
    assert "Thread 0x" in log


def test_the_second_signal_leaves_no_more_time() -> None:
    with process("await asyncio.sleep(600)", drain=_NEVER) as hanging:
        hanging.send_signal(signal.SIGTERM)
        assert hanging.stdout
        assert hanging.stdout.readline() == "stop\n"
        hanging.send_signal(signal.SIGINT)
        assert hanging.stdout.readline() == "hurry\n"
        assert hanging.wait(60) == 1


def test_the_third_ends_the_process_even_though_its_loop_hangs() -> None:
    with process(f"time.sleep({_NEVER})", drain=_NEVER) as hanging:
        hanging.send_signal(signal.SIGTERM)
        hanging.send_signal(signal.SIGINT)
        while hanging.poll() is None:
            hanging.send_signal(signal.SIGTERM)
    assert hanging.returncode == 1


def test_who_ends_in_time_ends_well() -> None:
    with process("await stop.wait()", drain=_NEVER) as ending_well:
        ending_well.send_signal(signal.SIGINT)
        output, log = ending_well.communicate(timeout=60)
    assert (ending_well.returncode, output, log) == (0, "stop\n", "")
