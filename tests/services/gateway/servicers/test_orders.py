"""How the calls use the scheduler: deadlines on its clock, and patience where a stream meets a full queue."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gantry.v1 import worker_pb2
from services.backends.base import ModelKey
from services.gateway.admission import QueueLimits
from services.gateway.allowances import Allowances
from services.gateway.call import Caller, CallerLimits, identify
from services.gateway.errors import LimitError, QueueFullError
from services.gateway.queues import Output, abandon
from services.gateway.scheduler import Scheduler
from services.gateway.servicers.orders import Orders
from services.gateway.telemetry.metrics import Metrics
from services.gateway.turns import Turns
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.fakes import Clock, DrivenBackend, settled

KEY = ModelKey("tiny", "1.0.0")
ITEM = worker_pb2.WorkItem()
DEFAULT_SECONDS = 7.0


class Context:
    """A call whose caller gave a deadline, or none."""

    def __init__(self, clock: Clock, deadline: float | None) -> None:
        self._clock, self._until = clock, None if deadline is None else clock.now + deadline

    def time_remaining(self) -> float | None:
        """As grpc's."""
        return None if self._until is None else self._until - self._clock.now


class Bench:
    """A scheduler with two places, both taken; pauses end when the test says so."""

    def __init__(self) -> None:
        self.clock, self.backend = Clock(), DrivenBackend(tiny_card())
        metrics = Metrics()
        self.scheduler = Scheduler(
            self.backend, metrics, QueueLimits(items=2), Allowances(2, self.clock), self.clock, Turns()
        )
        self.pauses: list[float] = []
        self.goes_on = asyncio.Event()
        self.orders = Orders(self.scheduler, metrics, self.clock, DEFAULT_SECONDS, self._pause)
        self.waiting = self.scheduler.submit(Caller("one"), self.backend.models[KEY], [ITEM, ITEM], None)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.now += seconds
        await self.goes_on.wait()

    def patiently(self, deadline: float | None) -> "asyncio.Task[list[asyncio.Future[Output]]]":
        """Place one more item; the deadline counts from now."""
        context: Any = Context(self.clock, deadline)
        return asyncio.create_task(self.orders.place_patiently(self.backend.models[KEY], [ITEM], context))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    yield Bench()


async def test_an_item_of_a_stream_waits_for_a_place(bench: Bench) -> None:
    submitting = bench.patiently(None)
    await settled()
    assert not submitting.done()
    bench.waiting[0].cancel()
    bench.goes_on.set()
    (result,) = await submitting
    assert isinstance(result, asyncio.Future)
    assert bench.pauses == [0.05]


async def test_it_waits_until_the_deadline_and_not_beyond(bench: Bench) -> None:
    bench.goes_on.set()
    with pytest.raises(QueueFullError, match="2 of 2 places"):
        await bench.patiently(0.97)
    assert len(bench.pauses) == 19
    assert sum(bench.pauses) < 0.97


async def test_an_item_of_a_stream_waits_for_the_limits_of_its_caller(bench: Bench) -> None:
    abandon(bench.waiting)
    caller = Caller("two", limits=CallerLimits(concurrent_images=1))
    (first,) = bench.scheduler.submit(caller, bench.backend.models[KEY], [ITEM], None)
    identify(caller)
    submitting = bench.patiently(None)
    await settled()
    assert not submitting.done()
    first.cancel()
    bench.goes_on.set()
    (result,) = await submitting
    assert isinstance(result, asyncio.Future)
    assert bench.pauses == [0.05]


async def test_it_does_not_wait_for_what_its_caller_may_never_have(bench: Bench) -> None:
    abandon(bench.waiting)
    identify(Caller("two", limits=CallerLimits(concurrent_images=1)))
    context: Any = Context(bench.clock, None)
    with pytest.raises(LimitError, match="2 images in one request"):
        await bench.orders.place_patiently(bench.backend.models[KEY], [ITEM, ITEM], context)


async def test_a_call_of_its_own_does_not_wait(bench: Bench) -> None:
    context: Any = Context(bench.clock, None)
    with pytest.raises(QueueFullError):
        bench.orders.place(bench.backend.models[KEY], [ITEM], context)
    assert bench.pauses == []


async def test_who_gives_no_deadline_has_the_default_one(bench: Bench) -> None:
    abandon(bench.waiting)
    bench.scheduler.start()
    context: Any = Context(bench.clock, None)
    (result,) = bench.orders.place(bench.backend.models[KEY], [ITEM], context)
    envelope = await bench.backend.away.get()
    assert envelope.timeout == DEFAULT_SECONDS
    envelope.come_back()
    await result
