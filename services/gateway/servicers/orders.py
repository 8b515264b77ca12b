"""From planned items to outputs: hands them to the scheduler for who calls, and notes what comes of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from gantry.v1 import models_pb2, worker_pb2
from services.gateway.call import current_call
from services.gateway.errors import LimitError, QueueFullError
from services.gateway.queues import Output
from services.gateway.scheduler import Scheduler
from services.gateway.telemetry.metrics import Metrics, kind_label


class Orders:
    """What all calls that make pictures share."""

    def __init__(
        self,
        scheduler: Scheduler,
        metrics: Metrics,
        clock: Callable[[], float],
        deadline_seconds: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Keep what the calls need.

        Args:
            scheduler: Where work goes.
            metrics: Where pictures are counted.
            clock: The scheduler's clock, in seconds.
            deadline_seconds: How long a caller waits who does not say.
            pause: Lets a number of seconds pass on that clock.
        """
        self._scheduler, self._metrics, self._clock, self._pause = scheduler, metrics, clock, pause
        self._deadline_seconds = deadline_seconds

    def place(
        self,
        loaded: models_pb2.LoadedModel,
        items: Sequence[worker_pb2.WorkItem],
        context: grpc.aio.ServicerContext[Any, Any],
        batch_items: int | None = None,
    ) -> list[asyncio.Future[Output]]:
        """Hand the items of the call that is being served to the scheduler.

        Args:
            loaded: The model.
            items: The work, in order.
            context: The call's.
            batch_items: As of `Scheduler.submit`, and so are result and errors.
        """
        deadline = self._deadline_of(context)
        return self._scheduler.submit(current_call().caller, loaded, items, deadline, batch_items)

    async def place_patiently(
        self,
        loaded: models_pb2.LoadedModel,
        items: Sequence[worker_pb2.WorkItem],
        context: grpc.aio.ServicerContext[Any, Any],
        batch_items: int | None = None,
    ) -> list[asyncio.Future[Output]]:
        """Hand items of a stream to the scheduler; where it has no place for them, come back as it asks.

        Args:
            loaded: The model.
            items: The work, in order.
            context: The call's.
            batch_items: As of `Scheduler.submit`.

        Returns:
            What `Scheduler.submit` gives.

        Raises:
            QueueFullError: There was no place, and none can be had in time.
            LimitError: The caller has reached a limit of its own, and the limit does not free in time, or never.
            Exception: Whatever else `Scheduler.submit` raises.
        """
        deadline = self._deadline_of(context)
        while True:
            try:
                return self._scheduler.submit(current_call().caller, loaded, items, deadline, batch_items)
            except (QueueFullError, LimitError) as refusal:
                seconds = refusal.retry_seconds
                if seconds is None or self._clock() + seconds >= deadline:
                    raise
            await self._pause(seconds)

    def note(self, loaded: models_pb2.LoadedModel, *outputs: Output) -> None:
        """Note pictures that were made: in the metrics, and for the log line of the call."""
        self._metrics.images.labels(loaded.card.name, kind_label(loaded.card.kind)).inc(len(outputs))
        call = current_call()
        for output in outputs:
            call.note_picture(output.queue_seconds, output.run)

    def _deadline_of(self, context: grpc.aio.ServicerContext[Any, Any]) -> float:
        """Return when the caller stops waiting, on the scheduler's clock."""
        remaining = context.time_remaining()
        return self._clock() + (self._deadline_seconds if remaining is None else remaining)
