"""Work on threads that nobody leaves behind."""

import asyncio
from threading import Event

import pytest

from services.batch.threads import in_thread


async def test_what_the_thread_returns_or_raises_is_handed_on() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_caller_waits_for_the_thread_however_often_it_is_cancelled(fails: bool) -> None:
    begun, go_on, ended = Event(), Event(), Event()

    def work() -> None:
        begun.set()
        go_on.wait(60)
        ended.set()
        if fails:
            raise LookupError

    caller = asyncio.create_task(in_thread(work))
    while not begun.is_set():
        await asyncio.sleep(0)
    for _ in range(3):
        caller.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()
