"""How one model gets its workers back: they are watched, killed or scaled away, until all are ready."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from services.backends.base import BackendUnavailableError, ModelKey
from services.backends.torchserve.rest import WorkerStatus
from services.backends.torchserve.roster import Served

# How often TorchServe is asked whether workers are ready, where the model has none, and where it has some.
_POLL_SECONDS, _SLOW_POLL_SECONDS = 0.2, 1.0
# A worker of the gateway's own that ended is started by TorchServe at once, or else not before a pause of its own.
_NO_PROCESS_SECONDS = 3.0
# Of another TorchServe no processes can be seen: a worker that is so late, and has had the time that it is given to
# load, may be waiting for a pause to end. One that loads would begin anew.
_NO_WORKER_SECONDS = 20.0
# What a gateway that stops leaves to a scaling that is under way.
_LAST_SCALING_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Rest(Protocol):
    """What healing asks of TorchServe's REST management API."""

    async def workers(self, key: ModelKey) -> Sequence[WorkerStatus]:
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


class Recovery:
    """A model whose workers are not all well, or may not be.

    Attributes:
        served: The model.
        ready: How many workers are known to be ready.
        up: Set while it is not known to have none, and when nothing more is done for it.
        down_since: When it was last found to have none.
    """

    def __init__(
        self,
        served: Served,
        rest: Rest,
        processes: Processes | None,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        """Begin with a model that may be well.

        Args:
            served: The model.
            rest: The REST management API.
            processes: The TorchServe, where it is the gateway's own.
            clock: Monotonic seconds.
            pause: Lets a number of seconds pass on that clock.
        """
        self.served, self._rest, self._processes = served, rest, processes
        self._clock, self._pause = clock, pause
        self._is_hung = False
        self._seen = clock()
        self.ready = 0
        self.down_since = 0.0
        self.up = asyncio.Event()
        self.up.set()

    def note(self, ready: int) -> None:
        """Note how many workers are ready."""
        self.ready = ready
        if ready:
            self.up.set()
        elif self.up.is_set():
            self.up.clear()
            self.down_since = self._clock()

    def replace_all(self) -> None:
        """Have all workers removed: one of them hangs."""
        self._is_hung = True
        self.note(0)

    async def run(self) -> None:
        """Care for the model until all its workers are ready."""
        while self._is_hung or self.ready < self.served.workers:
            was_up = self.up.is_set()
            try:
                if self._is_hung:
                    await self._remove()
                # First of all: TorchServe needs a moment to notice that a worker has ended.
                await self._pause(_SLOW_POLL_SECONDS if self.ready else _POLL_SECONDS)
                await self._see()
            except BackendUnavailableError as error:
                _log.warning("model %s %s: its workers cannot be cared for: %s", *self.served.key, error)
                await self._pause(_SLOW_POLL_SECONDS)
            if self.ready and not was_up:
                seconds = self._clock() - self.down_since
                _log.warning("model %s %s: a worker serves again after %.1f s", *self.served.key, seconds)

    async def _see(self) -> None:
        """See how many workers there are, and have one started where there is none and TorchServe waits with it."""
        alive = await self._alive(await self._rest.workers(self.served.key))
        self.note(0 if self._is_hung else sum(worker.is_ready for worker in alive))
        patience = _NO_PROCESS_SECONDS if self._processes else max(_NO_WORKER_SECONDS, self.served.startup_seconds)
        # One of its own that loads for ever is ended by TorchServe.
        if self.ready or (alive and self._processes):
            self._seen = self._clock()
        elif self._clock() - self._seen >= patience:
            _log.warning("model %s %s: TorchServe starts no worker: scaling from 0", *self.served.key)
            await self._scale_anew()

    async def _remove(self) -> None:
        """Kill all workers for certain."""
        if self._processes is None:
            await self._scale_anew()
        else:
            workers = await self._rest.workers(self.served.key)
            await self._processes.worker_processes()
            self._processes.kill_workers([worker.id for worker in workers])
        self._is_hung = False

    async def _scale_anew(self) -> None:
        """Scale the model to 0 and back; to the end, even where that is cancelled meanwhile."""
        scaling = asyncio.create_task(self._scale_down_and_up())
        try:
            await asyncio.shield(scaling)
        except asyncio.CancelledError:
            await asyncio.wait({scaling}, timeout=_LAST_SCALING_SECONDS)
            raise
        self._seen = self._clock()

    async def _scale_down_and_up(self) -> None:
        try:
            await self._rest.scale(self.served.key, 0)
        finally:
            # Whatever was answered, it may have none now.
            await self._rest.scale(self.served.key, self.served.workers)

    async def _alive(self, workers: Sequence[WorkerStatus]) -> list[WorkerStatus]:
        """Of these workers return those that have a process, as far as that can be seen."""
        if self._processes is None:
            return list(workers)
        processes = await self._processes.worker_processes()
        return [worker for worker in workers if not processes.get(worker.id, True)]
