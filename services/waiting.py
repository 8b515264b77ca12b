"""Waiting for something, but not for ever, on a clock that tests drive."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any


async def is_done_within(
    awaited: asyncio.Future[Any], seconds: float, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> bool:
    """Wait for something, not longer than so many seconds.

    Args:
        awaited: What is waited for; it goes on where the wait ends.
        seconds: The most seconds; infinite for no limit.
        pause: Lets a number of seconds pass.

    Returns:
        Whether it is done.
    """
    passing = asyncio.ensure_future(pause(seconds)) if seconds < math.inf else None
    try:
        await asyncio.wait({awaited, passing} if passing else {awaited}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if passing:
            passing.cancel()
    return awaited.done()
