"""How the calls use the scheduler: deadlines on its clock, and patience where a stream meets a full queue."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gantry.v1 import worker_pb2
from services.backends.base import ModelKey
from services.gateway.errors import QueueFullError
from services.gateway.scheduler import Scheduler
from services.gateway.servicers.making import Maker
from services.gateway.telemetry.metrics import Metrics
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.fakes import Clock, DrivenBackend, settled

KEY = ModelKey("tiny", "1.0.0")
ITEM = worker_pb2.WorkItem()


class Bench:
    """A scheduler with two places, both taken; pauses end when the test says so."""

    def __init__(self) -> None:
        self.clock, self.backend = Clock(), DrivenBackend(tiny_card())
        metrics = Metrics()
        self.scheduler = Scheduler(
            self.backend, metrics, queue_items=2, queue_bytes=100, envelopes_in_flight=1, clock=self.clock
        )
        self.pauses: list[float] = []
        self.goes_on = asyncio.Event()
        self.maker = Maker(self.scheduler, metrics, self.clock, self._pause)
        self.waiting = self.scheduler.submit(self.backend.models[KEY], [ITEM, ITEM], None)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.now += seconds
        await self.goes_on.wait()

    def patiently(self, deadline: float | None) -> "asyncio.Task[object]":
        """Submit one more item; the deadline counts from now."""
        until = None if deadline is None else self.clock.now + deadline
        return asyncio.create_task(self.maker.submit_patiently(self.backend.models[KEY], ITEM, until))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    yield Bench()


async def test_an_item_of_a_stream_waits_for_a_place(bench: Bench) -> None:
    submitting = bench.patiently(None)
    await settled()
    assert not submitting.done()
    bench.waiting[0].cancel()
    bench.goes_on.set()
    result = await submitting
    assert isinstance(result, asyncio.Future)
    assert bench.pauses == [0.1]


async def test_it_waits_until_the_deadline_and_not_beyond(bench: Bench) -> None:
    bench.goes_on.set()
    with pytest.raises(QueueFullError, match="2 of 2 places"):
        await bench.patiently(0.95)
    assert len(bench.pauses) == 9
    assert sum(bench.pauses) < 0.95


async def test_a_call_of_its_own_does_not_wait(bench: Bench) -> None:
    with pytest.raises(QueueFullError):
        bench.maker.submit(bench.backend.models[KEY], [ITEM], None)
    assert bench.pauses == []
