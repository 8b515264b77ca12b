"""How the process ends when it is asked to: in order, and where something hangs by force, within a limit.

A thread of its own hears the signals: the event loop may be what hangs.
"""

import asyncio
import faulthandler
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

SIGNALS = signal.SIGTERM, signal.SIGINT
# What the end may take besides the drain; and all that is left after a second signal.
LIMIT_SECONDS = 3.0
HURRIED_SECONDS = 1.0


@contextmanager
def signals(seconds: float, stop: Callable[[], None], hurry: Callable[[], None]) -> Iterator[None]:
    """React to SIGTERM and SIGINT in this block; needs a running event loop, and the main thread.

    The first one stops, the second hurries, a third ends the process at once. A process that has not ended in time
    writes where each thread stands and exits with 1, also after the block.

    Args:
        seconds: How long a drain may take.
        stop: Called in the event loop at the first signal.
        hurry: Called in the event loop at the second.
    """
    loop = asyncio.get_running_loop()
    hears, rings = socket.socketpair()
    rings.setblocking(False)
    thread = Thread(target=_listen, args=(hears, loop, seconds, stop, hurry), name="gantry-signals", daemon=True)
    thread.start()
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    ringing = signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(ringing)
        for number, handler in before.items():
            signal.signal(number, handler)
        rings.close()
        thread.join()
        hears.close()


def _listen(
    hears: socket.socket,
    loop: asyncio.AbstractEventLoop,
    seconds: float,
    stop: Callable[[], None],
    hurry: Callable[[], None],
) -> None:
    reactions = iter(((seconds + LIMIT_SECONDS, stop), (HURRIED_SECONDS, hurry)))
    while number := hears.recv(1):
        if number[0] not in SIGNALS:
            continue
        left, reaction = next(reactions, (0.0, None))
        if reaction is None:
            os._exit(1)
        # In C, without the interpreter's lock: it comes whatever Python is doing.
        faulthandler.dump_traceback_later(left, exit=True)
        loop.call_soon_threadsafe(reaction)
