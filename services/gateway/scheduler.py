"""The heart: admits work or refuses it now, groups what waits into envelopes, and never runs what nobody awaits.

Each model has a lane: a bounded queue and a few runners. A free runner takes whatever waits, up to the model's batch
size, and never idles to fill a batch; under load batches grow by themselves, since work piles up while one is away.
An item whose caller has gone, or whose deadline has passed, is dropped when its turn comes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import Backend, BackendError, BackendFailedError, BackendUnavailableError, ModelKey
from services.backends.envelope import Envelope
from services.gateway.call import Ride
from services.gateway.errors import DeadlineError, QueueFullError, ShuttingDownError, UnknownModelError
from services.gateway.telemetry.metrics import Metrics

# Weight of the newest envelope in the running mean of seconds per item.
_NEWEST_WEIGHT = 0.2
# Before the first envelope is back nothing is known of the wait.
_LEAST_RETRY_SECONDS = 0.1

_log = logging.getLogger(__name__)


class Made(NamedTuple):
    """What came of an item.

    Attributes:
        result: Its picture or its error.
        execution: The plan that it was run under.
        queue_seconds: How long it waited.
        ride: The envelope that it came in.
    """

    result: worker_pb2.WorkResult
    execution: str
    queue_seconds: float
    ride: Ride


def abandon(results: Iterable[asyncio.Future[Made]]) -> None:
    """Say that nobody awaits these results any more: what has not run is not run, what has failed is not reported."""
    for result in results:
        if not result.cancel() and not result.cancelled():
            result.exception()


@dataclass(frozen=True)
class _Entry:
    """One item in a queue, which rides in envelopes of at most `batch_items`.

    Its future is cancelled when its caller goes.
    """

    item: worker_pb2.WorkItem
    bytes: int
    result: asyncio.Future[Made]
    deadline: float | None
    admitted: float
    batch_items: int


class Scheduler:
    """Hands items of any number of callers to one backend, model by model."""

    def __init__(
        self,
        backend: Backend,
        metrics: Metrics,
        *,
        queue_items: int,
        queue_bytes: int,
        envelopes_in_flight: int,
        clock: Callable[[], float],
    ) -> None:
        """Make a lane per model of the backend; `start` sets them going.

        Args:
            backend: A started backend.
            metrics: Where queues, batches and times are counted.
            queue_items: The most items that wait per model.
            queue_bytes: The most bytes that all waiting items have together.
            envelopes_in_flight: The most envelopes of one model that are away at once.
            clock: Seconds on the clock that deadlines are given in.
        """
        self._backend, self._metrics, self._queue_items, self._clock = backend, metrics, queue_items, clock
        self._queue_bytes, self._envelopes_in_flight = queue_bytes, envelopes_in_flight
        self._lanes: dict[ModelKey, _Lane] = {}
        self._awaited: set[asyncio.Future[Made]] = set()
        self._is_open, self._is_started = True, False
        self.follow(backend.models)

    def start(self) -> None:
        """Begin to run work; needs a running event loop."""
        self._is_started = True
        for lane in self._lanes.values():
            lane.start(self._envelopes_in_flight)

    def follow(self, models: Mapping[ModelKey, models_pb2.LoadedModel]) -> None:
        """Take work for these models from now on, and for no others.

        What waits or is away for a model that left fails. So does what is for one whose archive is another now: which
        of the two makes its pictures cannot be told.

        Args:
            models: The models of the backend.
        """
        for key, lane in list(self._lanes.items()):
            if key not in models or models[key].digest != lane.digest:
                self._lanes.pop(key).close(_gone(key, models))
        for key, loaded in models.items():
            if key not in self._lanes:
                self._lanes[key] = _Lane(self._backend, loaded, self._metrics, self._queue_items, self._clock)
                if self._is_started:
                    self._lanes[key].start(self._envelopes_in_flight)

    def submit(
        self,
        loaded: models_pb2.LoadedModel,
        items: Sequence[worker_pb2.WorkItem],
        deadline: float | None,
        batch_items: int | None = None,
    ) -> list[asyncio.Future[Made]]:
        """Admit all items or none.

        Args:
            loaded: The model, as it was found.
            items: The work, in order.
            deadline: When the caller stops waiting, on the scheduler's clock; None for never.
            batch_items: The most items of an envelope that these ride in: the fewer, the sooner the first is back.
                Default: the model's batch size.

        Returns:
            One future per item. Each gives what was made, or raises BackendError or DeadlineError. Cancel those that
            nobody awaits any more, and they are not run.

        Raises:
            QueueFullError: There is no room, or the wait would outlast the deadline. It says when to retry.
            ShuttingDownError: The gateway is stopping.
            UnknownModelError: The model has left since it was found.
            BackendUnavailableError: Its archive is another now.
        """
        if not self._is_open:
            raise ShuttingDownError("the gateway is shutting down")
        key = key_of(loaded)
        lane, size = self._lanes.get(key), sum(item.ByteSize() for item in items)
        if lane is None or lane.digest != loaded.digest:
            raise _gone(key, self._lanes)
        if self._refusal(lane, len(items), size, deadline):
            for each in self._lanes.values():
                each.forget_abandoned()
        if refusal := self._refusal(lane, len(items), size, deadline):
            raise refusal
        results = lane.admit(items, deadline, batch_items)
        for result in results:
            self._awaited.add(result)
            result.add_done_callback(self._awaited.discard)
        return results

    def _refusal(self, lane: "_Lane", items: int, size: int, deadline: float | None) -> QueueFullError | None:
        if refusal := lane.refusal(items, deadline):
            return refusal
        waiting = sum(each.bytes for each in self._lanes.values())
        if waiting + size <= self._queue_bytes:
            return None
        wait = max(each.expected_wait() for each in self._lanes.values())
        return QueueFullError(
            f"what waits has {waiting} of {self._queue_bytes} bytes, and this request {size}",
            retry_seconds=max(wait, _LEAST_RETRY_SECONDS),
        )

    async def stop(self) -> None:
        """Refuse new work, finish what somebody still awaits, and end the runners."""
        self._is_open = False
        if self._awaited:
            await asyncio.wait(self._awaited)
        runners = [runner for lane in self._lanes.values() for runner in lane.stop()]
        await asyncio.gather(*runners, return_exceptions=True)


class _Lane:
    """The queue of one model, and the runners that empty it."""

    def __init__(
        self,
        backend: Backend,
        loaded: models_pb2.LoadedModel,
        metrics: Metrics,
        queue_items: int,
        clock: Callable[[], float],
    ) -> None:
        self._backend, self._metrics, self._clock = backend, metrics, clock
        self._key, self.digest = key_of(loaded), loaded.digest
        self._batch_items, self._queue_items = loaded.card.execution.max_batch_items, queue_items
        self._runners: list[asyncio.Task[None]] = []
        self._end: Exception = BackendUnavailableError("the backend gave the envelope up")
        """Why what is away fails where its runner is cancelled."""
        self._queue: deque[_Entry] = deque()
        self.bytes = 0
        """Bytes of the items that wait."""
        self._seconds_per_item = 0.0
        self._has_work = asyncio.Event()
        self._note_queue()

    def admit(
        self, items: Sequence[worker_pb2.WorkItem], deadline: float | None, batch_items: int | None
    ) -> list[asyncio.Future[Made]]:
        now, loop = self._clock(), asyncio.get_running_loop()
        entries = [
            _Entry(item, item.ByteSize(), loop.create_future(), deadline, now, batch_items or self._batch_items)
            for item in items
        ]
        self._queue.extend(entries)
        self.bytes += sum(entry.bytes for entry in entries)
        self._note_queue()
        return [entry.result for entry in entries]

    def refusal(self, items: int, deadline: float | None) -> QueueFullError | None:
        wait = self.expected_wait()
        if len(self._queue) + items > self._queue_items:
            reason = f"{len(self._queue)} of {self._queue_items} places in the queue are taken"
        elif deadline is not None and self._clock() + wait >= deadline:
            reason = f"the wait of about {wait:.2f} s would outlast the deadline"
        else:
            return None
        return QueueFullError(f"model {self._key.name}: {reason}", retry_seconds=max(wait, _LEAST_RETRY_SECONDS))

    def start(self, runners: int) -> None:
        self._runners = [asyncio.create_task(self._run_forever()) for _ in range(runners)]

    def stop(self) -> list[asyncio.Task[None]]:
        """End the runners, and return what is left to be awaited."""
        for runner in self._runners:
            runner.cancel()
        return self._runners

    def close(self, error: Exception) -> None:
        """End for good: what waits or is away fails with this error."""
        self._end = error
        self.stop()
        _fail(self._queue, error)
        for gauge in (self._metrics.queue_items, self._metrics.queue_wait_seconds):
            gauge.remove(*self._key)

    async def _run_forever(self) -> None:
        while True:
            await self._has_work.wait()
            if batch := self._take_batch():
                await self._run(batch)

    def _take_batch(self) -> list[_Entry]:
        """Take the oldest items that somebody still awaits."""
        batch: list[_Entry] = []
        now, room = self._clock(), self._batch_items
        while self._queue and len(batch) < min(room, self._queue[0].batch_items):
            entry = self._queue.popleft()
            self.bytes -= entry.bytes
            if entry.result.done():
                continue
            self._metrics.queue_seconds.labels(self._key.name).observe(now - entry.admitted)
            if entry.deadline is not None and entry.deadline <= now:
                entry.result.set_exception(DeadlineError("the deadline passed while the request waited"))
                continue
            batch.append(entry)
            room = min(room, entry.batch_items)
        self._note_queue()
        return batch

    async def _run(self, batch: Sequence[_Entry]) -> None:
        started = self._clock()
        self._metrics.batch_items.labels(self._key.name).observe(len(batch))
        try:
            reply = await self._backend.run(
                self._key,
                Envelope(worker_pb2.WorkRequest(items=[entry.item for entry in batch]), _time_left(batch, started)),
            )
            if len(reply.results) != len(batch):
                raise BackendFailedError(f"{len(batch)} items went out and {len(reply.results)} results came back")
        except BackendError as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, self._end)
            if (runner := asyncio.current_task()) and runner.cancelling():
                raise
        except Exception as error:
            # A lane must outlive anything a backend does.
            _log.exception("model %s: unexpected error of the backend", self._key.name)
            _fail(batch, BackendFailedError("the backend failed"), cause=error)
        else:
            self._settle(batch, reply, started)

    def _settle(self, batch: Sequence[_Entry], reply: worker_pb2.WorkReply, started: float) -> None:
        ride = Ride(self._clock() - started, reply.encode_seconds)
        self._metrics.encode_seconds.labels(self._key.name).observe(ride.encode_seconds)
        self._learn(ride.seconds, len(batch))
        for entry, result in zip(batch, reply.results, strict=True):
            if not entry.result.done():
                entry.result.set_result(Made(result, reply.execution, started - entry.admitted, ride))

    def _learn(self, seconds: float, items: int) -> None:
        self._metrics.backend_seconds.labels(self._key.name).observe(seconds)
        newest = seconds / items
        before = self._seconds_per_item or newest
        self._seconds_per_item = before + _NEWEST_WEIGHT * (newest - before)
        self._note_queue()

    def expected_wait(self) -> float:
        """Seconds until what waits now is done, judged by the last envelopes."""
        return len(self._queue) * self._seconds_per_item

    def forget_abandoned(self) -> None:
        """Make room: places of callers that have gone are free."""
        self._queue = deque(entry for entry in self._queue if not entry.result.done())
        self.bytes = sum(entry.bytes for entry in self._queue)
        self._note_queue()

    def _note_queue(self) -> None:
        self._metrics.queue_items.labels(*self._key).set(len(self._queue))
        self._metrics.queue_wait_seconds.labels(*self._key).set(self.expected_wait())
        if self._queue:
            self._has_work.set()
        else:
            self._has_work.clear()


def key_of(loaded: models_pb2.LoadedModel) -> ModelKey:
    """Return the key of a model in its backend."""
    return ModelKey(loaded.card.name, loaded.card.version)


def _gone(key: ModelKey, models: Container[ModelKey]) -> Exception:
    """Return the error of work for a model that was found and is no more what it was."""
    if key in models:
        return BackendUnavailableError(f"model {key.name} {key.version} has another archive now")
    return UnknownModelError(f"model {key.name} {key.version} is not loaded any more")


def _time_left(batch: Sequence[_Entry], now: float) -> float | None:
    """Seconds until the last deadline of a batch; None where an item has none."""
    deadlines = [entry.deadline for entry in batch]
    known = [deadline for deadline in deadlines if deadline is not None]
    return max(known) - now if len(known) == len(deadlines) else None


def _fail(batch: Iterable[_Entry], error: Exception, cause: Exception | None = None) -> None:
    error.__cause__ = cause or error.__cause__
    for entry in batch:
        if not entry.result.done():
            entry.result.set_exception(error)
