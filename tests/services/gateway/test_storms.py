"""Many callers over many simulated seconds: the clock is the event loop's own, and jumps from one event to the next."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import ModelKey
from services.backends.envelope import Envelope
from services.gateway.admission import QueueLimits
from services.gateway.allowances import Allowances
from services.gateway.call import Caller
from services.gateway.errors import DeadlineError, QueueFullError, TooExpensiveError
from services.gateway.queues import abandon
from services.gateway.scheduler import Scheduler
from services.gateway.telemetry.metrics import Metrics
from services.gateway.turns import Turns
from tests.services.gateway.fakes import DrivenBackend, reply_to

KEY = ModelKey("tiny", "1.0.0")
FIXED_SECONDS, ITEM_SECONDS, NOISE, BATCH_ITEMS = 0.03, 0.05, 0.2, 8
COST = FIXED_SECONDS + ITEM_SECONDS
OVERLOAD = 3.6


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where nothing is to be done, the time jumps to what comes next."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def jump(timeout: float | None = None) -> list[Any]:
            events = select(0)
            if not events and timeout:
                self._now += timeout
            return events

        self._selector.select = jump  # type: ignore[method-assign]

    def time(self) -> float:
        return self._now


class SlowBackend(DrivenBackend):
    """Takes a while for every envelope, more or less, and leaves abandoned items unrun."""

    def __init__(self, rng: random.Random, slots: int) -> None:
        execution = models_pb2.ExecutionSpec(chunk_items=1, max_batch_items=BATCH_ITEMS)
        super().__init__(models_pb2.ModelCard(name=KEY.name, version=KEY.version, execution=execution), slots=slots)
        self._rng = rng

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        await self._work(FIXED_SECONDS)
        reply = reply_to(envelope.request)
        reply.encode_seconds = 0.0
        for place, result in enumerate(reply.results):
            if place in envelope.abandoned:
                result.Clear()
                result.unrun = True
            else:
                await self._work(ITEM_SECONDS)
        return reply

    async def _work(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._rng.lognormvariate(0.0, NOISE))


class Scene:
    """A scheduler whose prices are known, and callers that each want one item."""

    def __init__(self, slots: int, seed: int) -> None:
        self.rng, self.metrics, clock = random.Random(seed), Metrics(), asyncio.get_running_loop().time
        self._backend = SlowBackend(self.rng, slots)
        limits, allowances = QueueLimits(1024, 15.0), Allowances(256, clock)
        self._scheduler = Scheduler(self._backend, self.metrics, limits, allowances, clock, Turns())
        self._scheduler.start()

    async def warm_up(self) -> None:
        await self._scheduler.probe(KEY)
        for _ in range(20):
            await self.call("first", 100.0)

    async def call(self, caller: str, seconds: float) -> None:
        item = worker_pb2.WorkItem(generate=worker_pb2.GenerateWork())
        deadline = asyncio.get_running_loop().time() + seconds
        results = self._scheduler.submit(Caller(caller), self._backend.models[KEY], [item], deadline)
        try:
            await results[0]
        finally:
            abandon(results)

    @property
    def unawaited(self) -> float:
        return self.metrics.registry.get_sample_value("gantry_unawaited_items_total", {"model": KEY.name}) or 0.0


@contextmanager
def jumping() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        yield runner


async def begun(calls: list[Coroutine[Any, Any, None]], every: float) -> None:
    """Begin a call every so often, and wait for all."""
    running = []
    for call in calls:
        running.append(asyncio.create_task(call))
        await asyncio.sleep(every)
    await asyncio.gather(*running)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("slots", [1, 2])
def test_what_a_storm_asks_for_in_vain_costs_the_others_nothing(slots: int, seed: int) -> None:
    """Deadlines from a fifth of what an item takes to eight times that; who is refused never comes back."""
    ends: Counter[str] = Counter()

    async def one(scene: Scene, number: int) -> None:
        try:
            await scene.call(f"caller-{number % 12}", scene.rng.uniform(0.2, 8.0) * COST)
        except (QueueFullError, TooExpensiveError, DeadlineError) as error:
            ends[type(error).__name__] += 1
        else:
            ends["answered"] += 1

    async def storm() -> tuple[float, Scene]:
        scene, time = Scene(slots, seed), asyncio.get_running_loop().time
        await scene.warm_up()
        started = time()
        await begun([one(scene, number) for number in range(1000)], COST / OVERLOAD)
        return (time() - started) / COST, scene

    with jumping() as runner:
        ceiling, scene = runner.run(storm())
    assert ends["answered"] >= 0.85 * slots * ceiling
    assert scene.unawaited <= 0.03 * ends["answered"]
    assert ends["DeadlineError"] <= 0.1 * ends["answered"], "what is admitted is in time"


@pytest.mark.parametrize("callers", [1, 12, 300])
@pytest.mark.parametrize("every", [0.0, COST / OVERLOAD], ids=["at once", "one by one"])
def test_who_comes_back_as_asked_is_served(every: float, callers: int) -> None:
    """Also where others come for the first time meanwhile, faster than they can be served."""
    second: Counter[str] = Counter()
    late: list[int] = []

    async def one(scene: Scene, number: int) -> None:
        caller, seconds = f"caller-{number % callers}", 6 * COST
        try:
            await scene.call(caller, seconds)
        except QueueFullError as refusal:
            # Not to the microsecond.
            await asyncio.sleep(refusal.retry_seconds + scene.rng.uniform(0.0005, 0.003))
            try:
                await scene.call(caller, seconds)
            except (QueueFullError, DeadlineError) as error:
                second[type(error).__name__] += 1
            else:
                second["served"] += 1
        except DeadlineError:
            late.append(number)

    async def crowd() -> None:
        scene = Scene(slots=2, seed=1)
        await scene.warm_up()
        await begun([one(scene, number) for number in range(300)], every)

    with jumping() as runner:
        runner.run(crowd())
    assert second["served"] >= 0.95 * second.total(), second
    assert second.total() > 200
    assert len(late) < 15
