"""Work on threads that nobody leaves behind: what it uses is closed only once it has ended."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


async def in_thread(work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Do something on a thread, as `asyncio.to_thread` does; a caller who is cancelled waits until it has ended.

    Args:
        work: What to do.
        *args: Its arguments.
        **kwargs: Its named arguments.

    Returns:
        What it returns.
    """
    working = asyncio.get_running_loop().run_in_executor(None, partial(work, *args, **kwargs))
    cancelled = None
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError as error:  # A thread cannot be interrupted, however often that is asked for.
            cancelled = error
    if cancelled is not None:
        working.exception()  # Nobody is left to be told.
        raise cancelled
    return working.result()
