"""Who finds no memory left waits in line, for as long as the test lets the patience last."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from services.gateway.budget import Budget, Hold, current_hold
from services.gateway.errors import BudgetError
from services.gateway.telemetry.metrics import Metrics
from tests.services.gateway.fakes import settled


class Bench:
    """A budget of 800 bytes, 700 of them for pictures, whose patience ends when the test says so."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.over = asyncio.Event()
        self.budget = Budget(800, 2.0, self.metrics, self._pause)

    async def _pause(self, seconds: float) -> None:
        assert seconds == 2.0
        await self.over.wait()

    async def asks(self, size: int, *, pictures: bool = True) -> "asyncio.Task[None]":
        """Let somebody ask."""
        task = asyncio.create_task(self.budget.take(size, pictures=pictures))
        await settled()
        return task

    def shown(self, state: str) -> float | None:
        """Read the metric."""
        registry: CollectorRegistry = self.metrics.registry
        return registry.get_sample_value("gantry_memory_bytes", {"state": state})


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_what_is_taken_and_given_back_is_shown(bench: Bench) -> None:
    await bench.budget.take(300, pictures=True)
    assert (bench.shown("taken"), bench.shown("total")) == (300, 800)
    bench.budget.give(300)
    assert bench.shown("taken") == 0


async def test_who_waits_is_served_in_order(bench: Bench) -> None:
    await bench.budget.take(600, pictures=True)
    large, small = await bench.asks(400), await bench.asks(50)
    assert not large.done()
    assert not small.done(), "there is room for it, but it came later"
    bench.budget.give(600)
    await asyncio.gather(large, small)
    assert bench.budget.taken == 450


async def test_what_has_no_pictures_finds_room_beside_them(bench: Bench) -> None:
    await bench.budget.take(700, pictures=True)
    waiting = await bench.asks(1)
    await bench.budget.take(100, pictures=False)
    assert not waiting.done()
    waiting.cancel()


async def test_one_caller_leaves_half_to_the_others(bench: Bench) -> None:
    await bench.budget.take(300, pictures=True, caller="one")
    more = asyncio.create_task(bench.budget.take(100, pictures=True, caller="one"))
    await settled()
    assert not more.done()
    await bench.budget.take(350, pictures=True, caller="another")
    bench.budget.give(300, "one")
    await more
    assert bench.budget.taken == 450
    more = asyncio.create_task(bench.budget.take(300, pictures=True, caller="one"))
    await settled()
    bench.over.set()
    with pytest.raises(BudgetError, match="pictures of this caller hold 100 bytes"):
        await more


async def test_a_caller_who_has_nothing_may_take_more_than_half_at_once(bench: Bench) -> None:
    await bench.budget.take(700, pictures=True, caller="one")
    assert bench.budget.taken == 700


async def test_patience_ends(bench: Bench) -> None:
    await bench.budget.take(600, pictures=True)
    large, small = await bench.asks(400), await bench.asks(100)
    bench.over.set()
    with pytest.raises(BudgetError, match="of 800 bytes, and this needs 400 more"):
        await large
    await small
    assert bench.budget.taken == 700, "who stood behind has what it asked for"


async def test_who_goes_while_it_waits_takes_nothing(bench: Bench) -> None:
    await bench.budget.take(700, pictures=True)
    leaving, granted = await bench.asks(100), await bench.asks(100)
    leaving.cancel()
    await settled()
    bench.budget.give(700)
    granted.cancel()
    await settled()
    assert bench.budget.taken == 0


async def test_a_hold_gives_back_what_it_has(bench: Bench) -> None:
    with Hold(bench.budget, pictures=True) as hold:
        await hold.grow(500)
        await hold.resize(200)
        assert bench.budget.taken == 200
        hold.shrink(1000)
        assert bench.budget.taken == 0
        await hold.grow(5000)
        assert bench.budget.taken == 700, "all that can ever be had"
    assert bench.budget.taken == 0


async def test_the_hold_of_a_call_is_found_in_its_tasks(bench: Bench) -> None:
    async def of_a_task() -> Hold:
        return current_hold()

    with Hold(bench.budget, pictures=False) as hold:
        hold.use()
        assert await asyncio.create_task(of_a_task()) is hold
