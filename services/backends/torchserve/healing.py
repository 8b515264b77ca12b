"""When a worker of TorchServe counts as hung or lost, and how it is replaced.

TorchServe restarts a worker that ends, with growing pauses where it ends while it loads. It does not notice one that
hangs before its own response timeout, nor one that is stopped. Workers of the gateway's own TorchServe are killed, so
that their calls end at once; those of another are scaled away over REST, where a call may be put back in its queue.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.backends.base import BackendUnavailableError, ModelKey
from services.backends.envelope import Envelope
from services.backends.torchserve.rest import Worker
from services.backends.torchserve.roster import Served

# A worker may end a little after the last caller has gone.
_GRACE_SECONDS = 1.0
# A worker is late when it takes so many times what was expected, and a little more.
_LATE_TIMES, _LATE_SECONDS = 5.0, 2.0
# How often TorchServe is asked whether workers are ready, where the model has none, and where it has some.
_POLL_SECONDS, _SLOW_POLL_SECONDS = 0.2, 1.0
# A worker of the gateway's own that ended is started by TorchServe at once, or else not before a pause of its own.
_NO_PROCESS_SECONDS = 3.0
# Of another TorchServe no processes can be seen: a worker that is so late may be waiting for a pause to end.
_NO_WORKER_SECONDS = 20.0
# A TorchServe of the gateway's own that still hangs then is started anew.
_MOST_REPLACEMENTS = 3
# A model that has had no worker for so long takes no work.
_SET_ASIDE_SECONDS = 10.0
# When callers that are refused meanwhile are to come back.
_RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Rest(Protocol):
    """What healing asks of TorchServe's REST management API."""

    async def workers(self, key: ModelKey) -> Sequence[Worker]:
        """Return the workers of a model."""

    async def scale(self, key: ModelKey, workers: int) -> None:
        """Set how many workers a model has."""


class Processes(Protocol):
    """What healing asks of a TorchServe of the gateway's own."""

    async def worker_processes(self) -> Mapping[str, bool]:
        """Return the ids of the workers that have a process, and whether it is stopped."""

    def kill_workers(self, ids: Collection[str]) -> None:
        """Kill those processes of these workers that were found last."""

    def kill(self) -> None:
        """Kill all of TorchServe."""


def limit_of(envelope: Envelope, waited: float) -> float | None:
    """Return the seconds after which an envelope's worker counts as hung; None where that cannot be told.

    Args:
        envelope: The envelope.
        waited: Seconds since its departure, before it is sent.
    """
    limits = []
    if envelope.seconds_wanted is not None:
        limits.append(envelope.seconds_wanted - waited + _GRACE_SECONDS)
    if envelope.expected_seconds > 0:
        limits.append(_LATE_SECONDS + _LATE_TIMES * envelope.expected_seconds)
    return max(min(limits), _LATE_SECONDS) if limits else None


@dataclass
class _Case:
    """A model whose workers are not all well, or may not be.

    Attributes:
        served: The model.
        is_hung: Whether its workers are still to be removed.
        ready: How many workers are known to be ready.
        up: Set while it is not known to have none, and when nothing more is done for it.
        down_since: When it was last found to have none.
    """

    served: Served
    is_hung: bool = False
    ready: int = 0
    up: asyncio.Event = field(default_factory=asyncio.Event)
    down_since: float = 0.0

    def note(self, ready: int, now: float) -> None:
        """Note how many workers are ready."""
        self.ready = ready
        if ready:
            self.up.set()
        elif self.up.is_set():
            self.up.clear()
            self.down_since = now


class Healing:
    """Replaces workers that hang, and sees to it that those that are lost come back soon."""

    def __init__(
        self,
        rest: Rest | None,
        processes: Processes | None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_loss: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin with models that are well.

        Args:
            rest: The REST management API; None where there is none, and no worker can be replaced.
            processes: The TorchServe, where it is the gateway's own.
            clock: Monotonic seconds.
            pause: Lets a number of seconds pass on that clock.
            on_loss: Called where a worker was lost, with the reason: "crashed", "overdue" or "silent".
        """
        self._on_loss = on_loss
        self._rest, self._processes, self._clock, self._pause = rest, processes, clock, pause
        self._workers: Mapping[str, bool] = {}
        self._cases: dict[ModelKey, _Case] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def slots(self, served: Served) -> int:
        """Return how many workers of a model are known to be ready, at least one.

        Args:
            served: The model.
        """
        case = self._cases.get(served.key)
        return max(1, case.ready if case else served.workers)

    def check(self, key: ModelKey) -> None:
        """Refuse work for a model that has had no worker for long.

        Args:
            key: The model.

        Raises:
            BackendUnavailableError: It cannot take work now.
        """
        case = self._cases.get(key)
        if case and not case.up.is_set() and self._clock() - case.down_since >= _SET_ASIDE_SECONDS:
            raise _being_replaced()

    async def healed(self, key: ModelKey, seconds: float | None = None) -> None:
        """Wait until a model has a worker, where its workers are being replaced.

        Args:
            key: The model.
            seconds: The most seconds to wait; None for no limit.

        Raises:
            BackendUnavailableError: It has none in time.
        """
        if (case := self._cases.get(key)) is None or case.up.is_set():
            return
        waiting = asyncio.ensure_future(case.up.wait())
        try:
            if not await self._is_done(waiting, seconds):
                raise _being_replaced()
        finally:
            waiting.cancel()

    async def see_through(self, served: Served, calling: asyncio.Future[Any], limit: float | None) -> None:
        """Wait until a call has ended, and replace the model's workers where it takes too long.

        Args:
            served: The model.
            calling: The call.
            limit: Seconds after which its worker counts as hung; None for never.
        """
        limit, replaced = None if limit is None else max(limit, _LATE_SECONDS), 0
        while not await self._is_done(calling, limit):
            is_new, case = served.key not in self._cases, self._begin(served)
            if case is None:
                _log.warning("model %s %s: a worker hangs; torchserve_rest_address is not set", *served.key)
                limit = None
                continue
            if replaced == _MOST_REPLACEMENTS and self._processes:
                _log.error("model %s %s: replacing its workers does not help; TorchServe is killed", *served.key)
                self._processes.kill()
                limit = None
                continue
            if is_new or case.up.is_set():
                _log.warning("model %s %s: a worker hangs and is replaced", *served.key)
                replaced += 1
                case.is_hung = True
                case.note(0, self._clock())
                self._on_loss("overdue")
            # TorchServe ends the call, or puts it back in its queue: then its time begins when a worker is ready.
            up = asyncio.ensure_future(case.up.wait())
            await asyncio.wait({calling, up}, return_when=asyncio.FIRST_COMPLETED)
            up.cancel()

    def note_lost(self, served: Served) -> None:
        """Begin to see to it that a model whose worker was lost gets it back.

        Args:
            served: The model.
        """
        if served.key not in self._cases and (case := self._begin(served)):
            case.note(0, self._clock())
            self._on_loss("crashed")

    def look_after(self, served: Served) -> None:
        """Begin to see to it that a model that may have lost a worker gets it back.

        Args:
            served: The model.
        """
        self._begin(served)

    async def look(self, models: Iterable[Served]) -> None:
        """Kill workers of the gateway's own that are stopped, and care for models that may have lost one.

        Args:
            models: The models that serve.
        """
        if self._processes is None:
            return
        before, self._workers = self._workers, await self._processes.worker_processes()
        stopped = [worker for worker, is_stopped in self._workers.items() if is_stopped]
        if stopped:
            _log.warning("%d workers of TorchServe are stopped (SIGSTOP) and are replaced", len(stopped))
            self._processes.kill_workers(stopped)
            self._on_loss("silent")
        for served in models if stopped or before.keys() - self._workers.keys() else ():
            # Which model's it was shows when TorchServe is asked.
            self.look_after(served)

    async def _is_done(self, task: asyncio.Future[Any], seconds: float | None) -> bool:
        """Wait for a task that goes on where the wait ends, and return whether it is done."""
        over = {asyncio.ensure_future(self._pause(seconds))} if seconds is not None else set()
        try:
            await asyncio.wait({task, *over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in over:
                one.cancel()
        return task.done()

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, served: Served) -> _Case | None:
        """Return the case of a model, a new one where there is none; None where nothing can be done."""
        if self._rest is None:
            return None
        if served.key not in self._cases:
            case = self._cases[served.key] = _Case(served)
            case.up.set()
            task = asyncio.create_task(self._heal(self._rest, case))
            self._tasks.add(task)
            task.add_done_callback(lambda _: self._close(case, task))
        return self._cases[served.key]

    def _close(self, case: _Case, task: asyncio.Task[None]) -> None:
        self._cases.pop(case.served.key, None)
        self._tasks.discard(task)
        case.up.set()

    async def _heal(self, rest: Rest, case: _Case) -> None:
        """Care for a model until all its workers are ready."""
        was_down, seen = not case.up.is_set(), self._clock()
        while case.is_hung or case.ready < case.served.workers:
            try:
                if case.is_hung:
                    await self._remove(rest, case)
                # First of all: TorchServe needs a moment to notice that a worker has ended.
                await self._pause(_SLOW_POLL_SECONDS if case.ready else _POLL_SECONDS)
                seen = await self._see(rest, case, seen)
            except BackendUnavailableError as error:
                _log.warning("model %s %s: its workers cannot be cared for: %s", *case.served.key, error)
                await self._pause(_SLOW_POLL_SECONDS)
            if was_down and case.ready:
                seconds = self._clock() - case.down_since
                _log.warning("model %s %s: a worker serves again after %.1f s", *case.served.key, seconds)
            was_down = not case.up.is_set()

    async def _see(self, rest: Rest, case: _Case, seen: float) -> float:
        """See how many workers a model has, and have one started where there is none and TorchServe waits with it.

        Args:
            rest: The REST management API.
            case: The model.
            seen: When one was there, or on its way, the last time.

        Returns:
            The new `seen`.
        """
        alive = await self._alive(await rest.workers(case.served.key))
        now = self._clock()
        case.note(0 if case.is_hung else sum(worker.is_ready for worker in alive), now)
        if case.ready or (alive and self._processes):
            # One that loads for ever is ended by TorchServe.
            return now
        if now - seen < (_NO_PROCESS_SECONDS if self._processes else _NO_WORKER_SECONDS):
            return seen
        _log.warning("model %s %s: TorchServe starts no worker: scaling from 0", *case.served.key)
        await self._scale_anew(rest, case.served)
        return now

    async def _remove(self, rest: Rest, case: _Case) -> None:
        """Kill all workers of a model for certain."""
        if self._processes is None:
            await self._scale_anew(rest, case.served)
        else:
            workers = await rest.workers(case.served.key)
            await self._processes.worker_processes()
            self._processes.kill_workers([worker.id for worker in workers])
        case.is_hung = False

    async def _scale_anew(self, rest: Rest, served: Served) -> None:
        await rest.scale(served.key, 0)
        await rest.scale(served.key, served.workers)

    async def _alive(self, workers: Sequence[Worker]) -> list[Worker]:
        """Of these workers return those that have a process, as far as that can be seen."""
        if self._processes is None:
            return list(workers)
        processes = await self._processes.worker_processes()
        return [worker for worker in workers if not processes.get(worker.id, True)]


def _being_replaced() -> BackendUnavailableError:
    return BackendUnavailableError("the model's workers are being replaced", _RETRY_SECONDS)
