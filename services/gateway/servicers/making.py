"""From planned items to pictures: hands them to the scheduler with the caller's deadline, and notes what is made."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from gantry.v1 import models_pb2, worker_pb2
from services.gateway.call import current_call
from services.gateway.errors import QueueFullError
from services.gateway.scheduler import Made, Scheduler
from services.gateway.telemetry.metrics import Metrics, kind_label

# How long an item of a stream waits at most before it asks again for a place in a full queue.
_LONGEST_PAUSE_SECONDS = 0.5


class Maker:
    """What all calls that make pictures share."""

    def __init__(
        self,
        scheduler: Scheduler,
        metrics: Metrics,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Keep what the calls need.

        Args:
            scheduler: Where work goes.
            metrics: Where pictures are counted.
            clock: The scheduler's clock, in seconds.
            pause: Lets a number of seconds pass on that clock.
        """
        self._scheduler, self._metrics, self._clock, self._pause = scheduler, metrics, clock, pause

    def deadline_of(self, context: grpc.aio.ServicerContext[Any, Any]) -> float | None:
        """Return when the caller stops waiting, on the scheduler's clock; None for never."""
        remaining = context.time_remaining()
        return None if remaining is None else self._clock() + remaining

    def submit(
        self,
        loaded: models_pb2.LoadedModel,
        items: Sequence[worker_pb2.WorkItem],
        deadline: float | None,
        batch_items: int | None = None,
    ) -> list[asyncio.Future[Made]]:
        """Hand items to the scheduler; arguments, result and errors as of `Scheduler.submit`."""
        return self._scheduler.submit(loaded, items, deadline, batch_items)

    async def submit_patiently(
        self, loaded: models_pb2.LoadedModel, item: worker_pb2.WorkItem, deadline: float | None
    ) -> asyncio.Future[Made]:
        """Hand an item to the scheduler, and wait for a place where the queue is full.

        Args:
            loaded: The model.
            item: The work.
            deadline: When the caller stops waiting, on the scheduler's clock; None for never.

        Returns:
            What `Scheduler.submit` gives for the item.

        Raises:
            QueueFullError: There was no place, and none can be had in time.
            Exception: Whatever else `Scheduler.submit` raises.
        """
        while True:
            try:
                return self._scheduler.submit(loaded, [item], deadline)[0]
            except QueueFullError as full:
                seconds = min(full.retry_seconds, _LONGEST_PAUSE_SECONDS)
                if deadline is not None and self._clock() + seconds >= deadline:
                    raise
            await self._pause(seconds)

    def note(self, loaded: models_pb2.LoadedModel, *pictures: Made) -> None:
        """Note pictures that were made: in the metrics, and for the log line of the call."""
        self._metrics.images.labels(loaded.card.name, kind_label(loaded.card.kind)).inc(len(pictures))
        call = current_call()
        for picture in pictures:
            call.note_picture(picture.queue_seconds, picture.ride)
