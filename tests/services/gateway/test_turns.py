"""Callers get their turns, one by one, and others may arrive between."""

import asyncio

import pytest

from services.gateway.turns import Turns
from tests.services.gateway.fakes import Clock


@pytest.fixture(autouse=True)
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The event loop's, so that a busy machine changes nothing."""
    stopped = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", stopped)
    return stopped


async def test_callers_take_turns_each_in_order() -> None:
    turns, done = Turns(), list[str]()
    for act in ("first", "second", "third"):
        turns.add("loud", lambda act=act: done.append(act))
    turns.add("quiet", lambda: done.append("quiet"))
    await turns.mine("loud")
    assert done == ["first", "quiet", "second", "third"]


async def test_what_arrives_gets_in_between() -> None:
    turns, done = Turns(), list[int]()
    for act in range(2):
        turns.add("caller", lambda act=act: done.append(act))
    while not done:
        await asyncio.sleep(0)
    arrivals = 0
    while len(done) < 2:
        await asyncio.sleep(0)
        arrivals += 1
    # grpc takes about as many turns of the event loop to bring one call in.
    assert arrivals >= 3


async def test_a_loop_that_is_slow_makes_up_for_the_turns_that_it_missed(clock: Clock) -> None:
    turns, done = Turns(), list[int]()
    for act in range(100):
        turns.add("caller", lambda act=act: done.append(act))
    for _ in range(3):
        await asyncio.sleep(0)
        clock.now += 0.05
    assert 40 < len(done) < 60


async def test_what_is_added_in_a_turn_has_one_of_its_own() -> None:
    turns, done = Turns(), list[str]()

    def add_another() -> None:
        done.append("one")
        turns.add("caller", lambda: done.append("another"))

    turns.add("caller", add_another)
    await turns.mine("other")
    assert done == ["one"]
    await turns.mine("other")
    assert done == ["one", "another"]


async def test_who_has_stopped_waiting_holds_nobody_up() -> None:
    turns = Turns()
    gone = asyncio.create_task(turns.mine("caller"))
    await asyncio.sleep(0)
    gone.cancel()
    await turns.mine("caller")
