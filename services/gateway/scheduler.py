"""The heart: admits work or refuses it now, serves callers by their shares, and never runs what nobody awaits.

Work waits for a slot. A slot is one envelope that a worker may be running, and is free again only when the backend has
the worker's answer, or has stopped the worker for certain. A free slot takes what waits, as `services.gateway.filling`
says. Everything is measured in predicted seconds; see `services.gateway.prices`.

An envelope that fails, or loses its worker, is run again item by item, so that only the item at fault fails.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import (
    PROBE_SECONDS,
    Backend,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    ModelKey,
    WorkerLostError,
    probe_item,
)
from services.backends.envelope import Envelope
from services.gateway.admission import LEAST_RETRY_SECONDS, Admission, QueueLimits
from services.gateway.allowances import Allowances
from services.gateway.bookings import Bookings
from services.gateway.call import BatchRun, Caller
from services.gateway.errors import (
    DeadlineError,
    ItemFailedError,
    LimitError,
    QueueFullError,
    ShuttingDownError,
    TooExpensiveError,
    UnknownModelError,
)
from services.gateway.filling import Filling
from services.gateway.poison import MOST_LOSSES, Poison
from services.gateway.prices import Prices, Work, work_of
from services.gateway.queues import (
    Away,
    Entry,
    Line,
    ModelQueue,
    Output,
    Share,
    abandon,
    expire_at,
    key_of,
)
from services.gateway.telemetry.metrics import Metrics
from services.gateway.turns import Turns
from services.worker.inputs import PICTURE, takes

# Of the picture that tells what a pixel costs.
_MEASURED_SIDE = 256
# Shares of callers who have nothing waiting are looked through when there are more than so many.
_REMEMBERED_SHARES = 256

_log = logging.getLogger(__name__)


class Scheduler:
    """Hands items of any number of callers to one backend."""

    def __init__(
        self,
        backend: Backend,
        metrics: Metrics,
        limits: QueueLimits,
        allowances: Allowances,
        clock: Callable[[], float],
        turns: Turns,
    ) -> None:
        """Make a queue per model of the backend; `start` sets them going.

        Args:
            backend: A started backend.
            metrics: Where queues, batches and times are counted.
            limits: What may wait.
            allowances: What each caller may take.
            clock: Seconds on the clock that deadlines are given in.
            turns: Where outputs wait for their callers' turn.
        """
        self._backend, self._metrics, self._allowances, self._clock = backend, metrics, allowances, clock
        self._queues: dict[ModelKey, ModelQueue] = {}
        self._admission = Admission(backend, limits, self._queues, clock)
        self._shares: dict[str, Share] = {}
        self._filling = Filling(clock)
        self._poison = Poison(clock)
        self._turns, self._awaited = turns, set[asyncio.Future[Output]]()
        # Of which the gauges are yet to tell.
        self._changed: set[ModelQueue] = set()
        self._is_open, self._is_started, self._is_due = True, False, False
        self._timer: asyncio.TimerHandle | None = None
        self.follow(backend.models)

    def start(self) -> None:
        """Begin to run work; needs a running event loop."""
        self._is_started = True
        self._dispatch_soon()

    def follow(self, models: Mapping[ModelKey, models_pb2.LoadedModel]) -> None:
        """Take work for these models from now on, and for no others.

        What waits or is away for a model that left fails. So does what is for one whose archive is another now: which
        of the two makes its pictures cannot be told.

        Args:
            models: The models of the backend.
        """
        for key, queue in list(self._queues.items()):
            if key not in models or models[key].digest != queue.loaded.digest:
                self._close(self._queues.pop(key), _gone(key, models))
        for key, loaded in models.items():
            if key not in self._queues:
                self._queues[key] = ModelQueue(loaded)
                self._note(self._queues[key])

    def submit(
        self,
        caller: Caller,
        loaded: models_pb2.LoadedModel,
        items: Sequence[worker_pb2.WorkItem],
        deadline: float | None,
        batch_items: int | None = None,
    ) -> list[asyncio.Future[Output]]:
        """Admit all items or none.

        Args:
            caller: Who asks for them.
            loaded: The model, as it was found.
            items: The work, in order.
            deadline: When the caller stops waiting, on the scheduler's clock; None for never.
            batch_items: The most items of an envelope that these ride in: the fewer, the sooner the first is back.
                Default: the model's batch size.

        Returns:
            One future per item. Each gives its output, or raises BackendError, ItemFailedError or DeadlineError. Cancel
            those that nobody awaits any more, and they are not run.

        Raises:
            QueueFullError: There is no room, or the items would not be back before the deadline. It says when to retry.
            TooExpensiveError: They would take longer than a request may, or than the time until the deadline.
            LimitError: The caller has reached a limit of its own.
            ItemFailedError: One of them has cost several workers their lives a short while ago.
            ShuttingDownError: The gateway is stopping.
            UnknownModelError: The model has left since it was found.
            BackendUnavailableError: Its archive is another now, or it is down for a while.
        """
        if not self._is_open:
            raise ShuttingDownError("the gateway is shutting down")
        queue = self._queue_of(loaded)
        self._backend.check(queue.key)
        for item in items:
            self._poison.check(queue.key, item)
        share = self._share_of(caller)
        line = queue.lines.setdefault(caller.id, Line(caller, share, Bookings(queue.experience)))
        until = math.inf if deadline is None else deadline
        try:
            works = [work_of(loaded.card, item) for item in items]
            price = self._admission.price(queue, works, until - self._clock())
            self._admission.check(queue, line, caller.connection, price, until)
            self._allowances.take(caller, len(items), lambda: self._until_free(caller))
        except (QueueFullError, TooExpensiveError, LimitError):
            self._metrics.items.labels(queue.key.name, "refused").inc(len(items))
            raise
        if not line.items:
            # Behind those who wait already, where all have been served as much.
            queue.lines[caller.id] = queue.lines.pop(caller.id)
        if not share.waiting:
            # Nobody saves up shares by asking for nothing.
            share.served = max(share.served, self._filling.served)
        entries = self._admit(queue, line, items, works, until, batch_items or queue.batch_items)
        for entry in entries:
            line.join(entry)
        outputs = [entry.output for entry in entries]
        if deadline is not None:
            expire_at(deadline, outputs, self._clock)
        self._note(queue)
        self._dispatch_soon()
        return outputs

    async def probe(self, key: ModelKey) -> None:
        """Make a picture, the only proof that a model works: before all others, and alone.

        The first time some more are made, which tell what the model costs.

        Args:
            key: A model of the backend.

        Raises:
            BackendError: The model does not work.
        """
        if (queue := self._queues.get(key)) is None:
            raise BackendUnavailableError("the model is not loaded any more")
        card, least = queue.loaded.card, probe_item(queue.loaded.card)
        is_new = not queue.prices.is_known
        await self._try(queue, [least])
        if is_new:
            # The first is slow, and says nothing of those that follow.
            queue.prices = Prices(queue.prices.chunk_items)
            # Envelopes of one kind alone do not tell what an item, or a pixel, costs.
            chunk = queue.prices.chunk_items
            kinds = [[least], [least] * min(2 * chunk, queue.batch_items)]
            if takes(card, PICTURE):
                kinds.append([probe_item(card, _MEASURED_SIDE)])
            for items in 2 * kinds:
                await self._try(queue, items)

    async def _try(self, queue: ModelQueue, items: Sequence[worker_pb2.WorkItem]) -> None:
        """Run items before all others, in an envelope of their own."""
        self._backend.check(queue.key)
        line = Line(Caller(), Share(1.0, -math.inf), Bookings(queue.experience))
        works = [work_of(queue.loaded.card, item) for item in items]
        entries = self._admit(queue, line, items, works, math.inf, queue.batch_items, is_probe=True)
        queue.first.append(entries)
        self._dispatch_soon()
        outputs = [entry.output for entry in entries]
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                made = await asyncio.gather(*outputs)
        except TimeoutError as error:
            raise BackendUnavailableError(f"no picture came within {PROBE_SECONDS:g} s") from error
        except ItemFailedError as error:
            raise BackendFailedError(str(error)) from error
        finally:
            abandon(outputs)
        if not all(output.result.HasField("image") for output in made):
            raise BackendFailedError("the probe brought no picture back")

    async def stop(self) -> None:
        """Refuse new work, finish what somebody still awaits, and end what is away."""
        self._is_open = False
        if self._awaited:
            await asyncio.wait(self._awaited)
        tasks = [task for queue in self._queues.values() for task in queue.away]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Admission.

    def _queue_of(self, loaded: models_pb2.LoadedModel) -> ModelQueue:
        queue = self._queues.get(key_of(loaded))
        if queue is None or queue.loaded.digest != loaded.digest:
            raise _gone(key_of(loaded), self._queues)
        return queue

    def _until_free(self, caller: Caller) -> float:
        """Predict the seconds until an item of a caller is back, whatever its model; of what waits if none is away."""
        now, queues = self._clock(), self._queues.values()
        away = [away for queue in queues for away in queue.away.values() if caller.id in away.callers]
        waiting = sum(queue.lines[caller.id].seconds for queue in queues if caller.id in queue.lines)
        return max(min((each.remaining(now) for each in away), default=waiting), LEAST_RETRY_SECONDS)

    def _share_of(self, caller: Caller) -> Share:
        if caller.id not in self._shares and len(self._shares) >= _REMEMBERED_SHARES:
            self._forget_shares()
        share = self._shares.setdefault(caller.id, Share(caller.limits.weight, self._filling.served))
        share.weight = caller.limits.weight
        return share

    def _forget_shares(self) -> None:
        """Forget callers who have nothing waiting: those with no more than a newcomer, else those who came first."""
        idle = [name for name, share in self._shares.items() if not share.waiting]
        new = [name for name in idle if self._shares[name].served <= self._filling.served]
        for name in new or idle[: _REMEMBERED_SHARES // 2]:
            del self._shares[name]
            for queue in self._queues.values():
                queue.lines.pop(name, None)

    def _admit(
        self,
        queue: ModelQueue,
        line: Line,
        items: Sequence[worker_pb2.WorkItem],
        works: Sequence[Work],
        deadline: float,
        batch_items: int,
        *,
        is_probe: bool = False,
    ) -> list[Entry]:
        now, loop = self._clock(), asyncio.get_running_loop()
        # Those of thousands of alike items are found once.
        seconds = {work: queue.seconds_in_line(queue.prices.seconds(work), deadline - now) for work in set(works)}
        entries = [
            Entry(item, work, seconds[work], line, deadline, now, batch_items, loop.create_future(), is_probe)
            for item, work in zip(items, works, strict=True)
        ]
        for entry in entries:
            self._awaited.add(entry.output)
            entry.output.add_done_callback(partial(self._end, queue, entry))
        return entries

    def _end(self, queue: ModelQueue, entry: Entry, _: object) -> None:
        """Note that an item has its output, or that nobody awaits it: it is not run, or left by its worker."""
        self._awaited.discard(entry.output)
        self._allowances.give_back(entry.line.caller, 1)
        if entry in entry.line.items:
            entry.line.leave(entry)
            self._changed.add(queue)
            self._dispatch_soon()
        elif entry.envelope:
            envelope, place = entry.envelope
            envelope.abandon(place)
        if not entry.is_probe:
            self._metrics.items.labels(queue.key.name, _outcome(entry.output)).inc()

    # Dispatch.

    def _dispatch_soon(self, seconds: float = 0.0) -> None:
        """Hand out slots once all that arrives at this moment has arrived, or in some seconds."""
        if seconds:
            if self._timer:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(seconds, self._dispatch_soon)
        elif self._is_started and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._is_due = False
        while queue := self._next_queue():
            self._changed.add(queue)
            slots = self._backend.slots(queue.key) - len(queue.away)
            if batch := self._filling.take(queue, slots):
                self._send(queue, batch)
        while self._changed:
            self._note(self._changed.pop())

    def _next_queue(self) -> ModelQueue | None:
        """Return the model whose first caller has been served least, of those that have work and a free slot."""
        workers = self._backend.workers
        if workers is not None and sum(len(queue.away) for queue in self._queues.values()) >= workers:
            return None
        now = self._clock()
        free = [queue for queue in self._queues.values()
                if queue.waiting and len(queue.away) < self._backend.slots(queue.key)]  # fmt: skip
        held = {queue.key: queue.held_seconds(now) for queue in free}
        if soonest := min(filter(None, held.values()), default=None):
            self._dispatch_soon(soonest)
        ready = [queue for queue in free if not held[queue.key]]
        return min(ready, key=ModelQueue.first_share, default=None)

    def _send(self, queue: ModelQueue, batch: Sequence[Entry]) -> None:
        """Let an envelope have a slot."""
        now = self._clock()
        for entry in batch:
            self._metrics.queue_seconds.labels(queue.key.name).observe(now - entry.admitted)
            entry.item.wanted_seconds = 0.0 if entry.deadline == math.inf else entry.deadline - now
        last = max(entry.deadline for entry in batch)
        envelope = Envelope(
            worker_pb2.WorkRequest(items=[entry.item for entry in batch]),
            None if last == math.inf else last - now,
            queue.prices.envelope([entry.work for entry in batch]),
        )
        for place, entry in enumerate(batch):
            entry.envelope = envelope, place
        self._metrics.batch_items.labels(queue.key.name).observe(len(batch))
        task = asyncio.create_task(self._run(queue, batch, envelope))
        callers = frozenset(entry.line.caller.id for entry in batch)
        queue.away[task] = Away(now, envelope.expected_seconds, len(batch), callers)
        task.add_done_callback(lambda _: self._free(queue, task, batch))

    def _free(self, queue: ModelQueue, task: asyncio.Task[None], batch: Sequence[Entry]) -> None:
        """Note that a slot is free."""
        del queue.away[task]
        if task.cancelled():
            _fail(batch, queue.end)
        self._dispatch_soon()

    async def _run(self, queue: ModelQueue, batch: Sequence[Entry], envelope: Envelope) -> None:
        started = self._clock()
        try:
            reply = await self._backend.run(queue.key, envelope)
            if len(reply.results) != len(batch):
                raise BackendFailedError(f"{len(batch)} items went out and {len(reply.results)} results came back")
            self._settle(queue, batch, reply, started)
        except (BackendFailedError, WorkerLostError) as error:
            self._run_again(queue, batch, error)
        except BackendError as error:
            _fail(batch, error)
        except Exception as error:
            # A queue must outlive anything that goes wrong with an envelope.
            _log.exception("model %s: unexpected error with an envelope", queue.key.name)
            _fail(batch, BackendFailedError("the backend failed"), cause=error)

    def _run_again(self, queue: ModelQueue, batch: Sequence[Entry], error: BackendError) -> None:
        """Run the items of an envelope that failed again, each alone; one that failed alone fails for good."""
        is_lost = isinstance(error, WorkerLostError)
        counts = isinstance(error, WorkerLostError) and error.is_to_blame
        for entry in batch:
            entry.envelope = None
            entry.losses += counts
            if entry.output.done():
                continue
            if len(batch) > 1 or (is_lost and entry.losses < MOST_LOSSES):
                queue.first.append([entry])
            elif is_lost and not entry.is_probe:
                entry.output.set_exception(self._poison.note(queue.key, entry.item))
            else:
                entry.output.set_exception(error)

    def _settle(self, queue: ModelQueue, batch: Sequence[Entry], reply: worker_pb2.WorkReply, started: float) -> None:
        run = BatchRun(self._clock() - started, reply.encode_seconds)
        # Workers that were archived before they said so run what the card says.
        queue.prices.chunk_items = reply.chunk_items or queue.prices.chunk_items
        self._metrics.backend_seconds.labels(queue.key.name).observe(run.seconds)
        self._metrics.encode_seconds.labels(queue.key.name).observe(run.encode_seconds)
        ran = [entry for entry, result in zip(batch, reply.results, strict=True) if not result.unrun]
        if ran and all(result.HasField("image") or result.unrun for result in reply.results):
            queue.prices.learn([entry.work for entry in ran], run.seconds, run.encode_seconds)
        made: dict[tuple[Line, float], dict[asyncio.Future[Output], Output]] = {}
        for entry, result in zip(batch, reply.results, strict=True):
            entry.envelope = None
            if entry.output.done():
                if not result.unrun:
                    self._metrics.unawaited.labels(queue.key.name).inc()
            elif result.unrun:
                entry.output.set_exception(DeadlineError("the deadline passed before the picture was made"))
            else:
                # A request's items were admitted at one moment.
                outputs = made.setdefault((entry.line, entry.admitted), {})
                outputs[entry.output] = Output(result, reply.execution, started - entry.admitted, run)
        for (line, _), outputs in made.items():
            self._turns.add(line.caller.id, partial(self._hand_over, queue, outputs))

    def _hand_over(self, queue: ModelQueue, outputs: Mapping[asyncio.Future[Output], Output]) -> None:
        for future, output in outputs.items():
            if future.done():
                self._metrics.unawaited.labels(queue.key.name).inc()
            else:
                future.set_result(output)

    def _close(self, queue: ModelQueue, error: Exception) -> None:
        """End a queue for good: what waits or is away fails with this error."""
        queue.end = error
        for task in queue.away:
            task.cancel()
        _fail(queue.entries(), error)
        for gauge in (self._metrics.queue_items, self._metrics.queue_wait_seconds):
            gauge.remove(*queue.key)

    def _note(self, queue: ModelQueue) -> None:
        if self._queues.get(queue.key) is queue:
            self._metrics.queue_items.labels(*queue.key).set(queue.waiting)
            self._metrics.queue_wait_seconds.labels(*queue.key).set(queue.waiting_seconds)


def _gone(key: ModelKey, models: Container[ModelKey]) -> Exception:
    """Return the error of work for a model that was found and is no more what it was."""
    if key in models:
        return BackendUnavailableError(f"model {key.name} {key.version} has another archive now")
    return UnknownModelError(f"model {key.name} {key.version} is not loaded any more")


def _outcome(output: asyncio.Future[Output]) -> str:
    """Name what came of an item; one of a closed set, with "refused"."""
    if output.cancelled():
        return "abandoned"
    if error := output.exception():
        return "expired" if isinstance(error, DeadlineError) else "failed"
    return "answered" if output.result().result.HasField("image") else "failed"


def _fail(batch: Iterable[Entry], error: Exception, cause: Exception | None = None) -> None:
    error.__cause__ = cause or error.__cause__
    for entry in batch:
        if not entry.output.done():
            entry.output.set_exception(error)
