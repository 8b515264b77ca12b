"""The window of calls: additive increase, multiplicative decrease, and pauses, on a clock of its own."""

import asyncio

from services.batch.window import Window


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def window_of(most: int) -> tuple[Window, Clock]:
    clock = Clock()
    return Window(most, clock=clock, sleep=clock.sleep), clock


async def test_no_more_places_are_taken_than_there_are() -> None:
    window, _ = window_of(2)
    await window.take()
    await window.take()
    third = asyncio.ensure_future(window.take())
    await asyncio.sleep(0)
    assert not third.done()
    await window.give_back()
    await third


async def test_refusals_of_one_overload_halve_once() -> None:
    window, _ = window_of(16)
    places = [await window.take() for _ in range(16)]
    assert [window.refused(place, 0.5) for place in places] == [True] + [False] * 15
    assert window.limit == 8


async def test_a_refusal_after_the_halving_halves_again_down_to_one() -> None:
    window, _ = window_of(8)
    for limit in (4, 2, 1, 1):
        place = await window.take()
        window.refused(place, 0.0)
        await window.give_back()
        assert window.limit == limit


async def test_a_round_of_successes_makes_one_place_more() -> None:
    window, _ = window_of(8)
    window.refused(await window.take(), 0.0)
    limits = []
    for _ in range(60):
        window.succeeded()
        limits.append(window.limit)
    assert limits[3] == 4
    assert limits[5] == 5
    assert limits[-1] == 8


async def test_a_refusal_pauses_everybody() -> None:
    window, clock = window_of(4)
    window.refused(await window.take(), 1.5)
    await window.take()
    assert clock.now == 1.5
    await window.give_back()
    await window.take()
    assert clock.now == 1.5


async def test_all_who_have_room_are_woken_and_in_their_order() -> None:
    window, _ = window_of(3)
    window.refused(await window.take(), 0.0)
    waiting = [asyncio.ensure_future(window.take()) for _ in range(4)]
    for _ in range(3):
        await asyncio.sleep(0)
    for _ in range(4):  # The limit grows from one to three.
        window.succeeded()
    await window.give_back()
    await asyncio.gather(*waiting[:3])
    assert not waiting[3].done()
    await window.give_back()
    await waiting[3]
