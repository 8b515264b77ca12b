"""Pictures are read no faster than the pace allows, small ones as they come."""

import asyncio

import pytest

from services.gateway.pace import Pace
from tests.services.gateway.fakes import Clock

pytestmark = pytest.mark.asyncio
RATE = 1000.0


class Readings:
    """Reads pictures at a pace; pauses pass at once, and the clock shows them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pace = Pace(RATE, self.clock, self._pause)

    async def _pause(self, seconds: float) -> None:
        self.clock.now += seconds

    async def seconds(self, size: int, times: int) -> float:
        """Read as many pictures of a size as are asked for, and return how long that took."""
        began = self.clock.now
        for _ in range(times):
            self.pace.note(await self.pace.wait(), size)
        return self.clock.now - began


async def test_the_first_is_read_at_once() -> None:
    assert await Readings().seconds(4000, 1) == 0.0


@pytest.mark.parametrize("size", [1, 100, 4000])
async def test_no_more_bytes_a_second_are_read_than_allowed(size: int) -> None:
    assert await Readings().seconds(size, 11) == pytest.approx(10 * size / RATE)


async def test_who_reads_less_does_not_wait() -> None:
    readings = Readings()
    for _ in range(5):
        assert await readings.seconds(100, 1) == 0.0
        readings.clock.now += 0.2


async def test_many_that_wait_at_once_are_spaced_by_what_is_expected() -> None:
    clock, pauses = Clock(), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    pace = Pace(RATE, clock, pause)
    for _ in range(50):
        pace.note(await pace.wait(), 1000)
        clock.now += 10.0
    pauses.clear()
    await asyncio.gather(*(pace.wait() for _ in range(4)))
    assert pauses == pytest.approx([1.0, 2.0, 3.0], rel=0.01)


async def test_those_that_leave_while_they_wait_hold_up_nobody() -> None:
    clock = Clock()

    async def for_ever(_: float) -> None:
        await asyncio.Event().wait()

    pace = Pace(RATE, clock, for_ever)
    pace.note(await pace.wait(), 1000)
    waiting = [asyncio.create_task(pace.wait()) for _ in range(1000)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    clock.now += 1.0
    assert await asyncio.wait_for(pace.wait(), 1.0) > 0
