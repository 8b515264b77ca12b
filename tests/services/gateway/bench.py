"""A scheduler on a bench: with a clock and a backend that tests drive by hand."""

import asyncio
from collections.abc import Sequence

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import (
    ModelKey,
)
from services.gateway.admission import QueueLimits
from services.gateway.allowances import Allowances
from services.gateway.call import Caller
from services.gateway.queues import Output
from services.gateway.scheduler import Scheduler
from services.gateway.telemetry.metrics import Metrics
from services.gateway.turns import Turns
from tests.services.gateway.fakes import Away, Clock, DrivenBackend

BATCH_ITEMS = 4
QUEUE_ITEMS = 10
REQUEST_SECONDS = 30.0
ONE = Caller("one")
TINY, OTHER, NEW = ModelKey("tiny", "1.0.0"), ModelKey("other", "2.0.0"), ModelKey("tiny", "1.1.0")

Results = list[asyncio.Future[Output]]


def item(seed: int) -> worker_pb2.WorkItem:
    return worker_pb2.WorkItem(generate=worker_pb2.GenerateWork(seed=seed))


def card(key: ModelKey, chunk_items: int = 1, batch_items: int = BATCH_ITEMS) -> models_pb2.ModelCard:
    execution = models_pb2.ExecutionSpec(chunk_items=chunk_items, max_batch_items=batch_items)
    return models_pb2.ModelCard(name=key.name, version=key.version, execution=execution)


class Bench:
    """A scheduler with all that it stands on."""

    def __init__(
        self,
        slots: int = 1,
        workers: int | None = None,
        cards: Sequence[models_pb2.ModelCard] = (card(TINY), card(OTHER)),
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.clock, self.metrics = Clock(), Metrics()
        self.backend = DrivenBackend(*cards, slots=slots, workers=workers, answers_probes=False, encode_seconds=0.0)
        self.scheduler = Scheduler(
            self.backend,
            self.metrics,
            QueueLimits(QUEUE_ITEMS, request_seconds),
            Allowances(QUEUE_ITEMS, self.clock),
            self.clock,
            Turns(),
        )
        self.awaited: Results = []

    def submit(
        self,
        *seeds: int,
        deadline: float | None = None,
        key: ModelKey = TINY,
        batch_items: int | None = None,
        caller: Caller = ONE,
    ) -> Results:
        """Submit one item per seed; the deadline counts from now."""
        until = None if deadline is None else self.clock.now + deadline
        items = [item(seed) for seed in seeds]
        return self.scheduler.submit(caller, self.backend.models[key], items, until, batch_items)

    async def occupy(self, seconds: float = 0.0) -> Away:
        """Send the backend away with one item, after it has learnt how long an item takes."""
        if seconds:
            await self.learn(seconds)
        self.awaited = self.submit(901)
        return await self.backend.away.get()

    async def learn(self, seconds: float, key: ModelKey = TINY) -> None:
        """Let an item of a model take so long."""
        items = self.submit(900, key=key)
        envelope = await self.backend.away.get()
        self.clock.now += seconds
        envelope.come_back()
        await asyncio.gather(*items)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"model": "tiny", **labels})
