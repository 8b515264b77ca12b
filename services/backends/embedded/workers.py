"""The worker processes of an embedded backend: leased for an envelope each, watched, killed and replaced."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gantry.v1 import worker_pb2
from services.backends.base import BackendUnavailableError, ModelKey, WorkerLostError
from services.backends.embedded.process import WorkerProcess
from services.backends.embedded.vigilance import Vigilance
from services.backends.envelope import Envelope, left_unrun, nobody_waits

# How long a worker may go on with what nobody awaits any more.
GRACE_SECONDS = 1.0
# A worker that takes so much longer than expected hangs, even where somebody is patient.
_TIMES_EXPECTED = 10.0
_LEAST_LIMIT_SECONDS = 10.0
# A model is to blame for an envelope that was deserted only where it took so much longer than expected, and longer than
# a busy machine may take with a short one.
_BLAMED_TIMES_EXPECTED = 2.0
_LEAST_BLAMED_SECONDS = 2.0
# A wait for a worker that is being replaced, not for one that is idle.
_NOTABLE_WAIT_SECONDS = 0.005
# The ends of workers with which nothing is lost: one goes on with what nobody awaits any more, and one has other models
# than those that are served now.
_DESERTED, _OUTDATED = "deserted", "outdated"

_log = logging.getLogger(__name__)


class DesertedError(WorkerLostError):
    """The worker was killed only because nobody awaited its envelope any more; the model is not at fault."""


class Workers:
    """A fixed number of worker processes, any of which runs any model."""

    def __init__(
        self,
        start: Callable[[int], Awaitable[WorkerProcess]],
        vigilance: Vigilance,
        on_loss: Callable[[str], None],
    ) -> None:
        """Begin with none.

        Args:
            start: Starts the worker of a place, or raises BackendUnavailableError.
            vigilance: How closely they are watched.
            on_loss: Called where one was lost, with the reason: "crashed", "overdue", "deserted", "silent", "memory"
                or "cancelled".
        """
        self._start, self._vigilance, self._on_loss = start, vigilance, on_loss
        self._idle: asyncio.LifoQueue[WorkerProcess] = asyncio.LifoQueue()
        self._all: set[WorkerProcess] = set()
        self._replacing: set[asyncio.Task[None]] = set()
        self._running: dict[WorkerProcess, ModelKey] = {}
        self._outdated: set[WorkerProcess] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def add(self, place: int) -> None:
        """Start the worker of a place, and another whenever that one ends.

        Raises:
            BackendUnavailableError: It cannot be started.
        """
        worker = await self._start(place)
        self._all.add(worker)
        self._idle.put_nowait(worker)
        replacing = asyncio.create_task(self._replace_at_end(worker, place))
        self._replacing.add(replacing)
        replacing.add_done_callback(self._replacing.discard)

    async def watch(self) -> None:
        """Look at every worker again and again, and kill those that are silent or hold too much memory.

        Raises:
            BackendUnavailableError: One that was lost could not be replaced.
        """
        while not self._failed.done():
            for worker in list(self._all):
                if worker.unanswered >= self._vigilance.missed_heartbeats:
                    self._kill(worker, "silent")
                elif fault := self._vigilance.memory_fault(worker.memory()):
                    self._outgrown(worker, fault)
                else:
                    worker.ping()
            await asyncio.wait({self._failed}, timeout=self._vigilance.heartbeat_seconds)
        self._failed.result()

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Run an envelope on the next worker that is free; errors as of `Backend.run`."""
        began = _now()
        worker = await self._lease()
        self._running[worker] = key
        if (waited := _now() - began) >= _NOTABLE_WAIT_SECONDS:
            envelope.age(waited)
        try:
            if envelope.is_unwanted:
                return left_unrun(len(envelope.request.items))
            return await self._run_in_time(worker, key, envelope)
        finally:
            self._release(worker)

    def replace_all(self) -> None:
        """Replace the workers that there are: idle ones now, busy ones once they have answered.

        From now on envelopes go to those that are started later. The others do not count as lost.
        """
        self._outdated |= self._all
        for worker in self._all - self._running.keys():
            self._kill(worker, _OUTDATED)

    async def stop(self) -> None:
        """Kill all workers."""
        replacing = list(self._replacing)
        for task in replacing:
            task.cancel()
        # None is started any more once these have ended.
        await asyncio.gather(*replacing, return_exceptions=True)
        for worker in self._all:
            worker.kill("stopped")
        await asyncio.gather(*(worker.ended() for worker in self._all))
        for worker in self._all:
            worker.close()
        self._all.clear()

    async def _lease(self) -> WorkerProcess:
        while (worker := await self._idle.get()).has_ended or worker.end:
            """It has been replaced."""
        return worker

    def _release(self, worker: WorkerProcess) -> None:
        """Let a worker have its next envelope, unless it has been lost or is to be replaced."""
        del self._running[worker]
        if worker.has_ended or worker.end:
            return
        if worker in self._outdated:
            self._kill(worker, _OUTDATED)
        else:
            self._idle.put_nowait(worker)

    async def _run_in_time(self, worker: WorkerProcess, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Run an envelope; kill the worker where it goes on with it after its time."""
        loop, timers = asyncio.get_running_loop(), []
        blamed = _now() + _LEAST_BLAMED_SECONDS + _BLAMED_TIMES_EXPECTED * envelope.expected_seconds

        def kill_overdue() -> None:
            is_blameless = envelope.is_deserted and _now() < blamed
            self._kill(worker, _DESERTED if is_blameless else "overdue")

        if (limit := _limit(envelope)) is not None:
            timers.append(loop.call_later(limit, kill_overdue))
        envelope.on_deserted = lambda: timers.append(loop.call_later(GRACE_SECONDS, kill_overdue))
        try:
            return await worker.run(key, envelope)
        except WorkerLostError:
            if worker.end == _DESERTED:
                raise DesertedError("nobody awaited the envelope") from None
            raise
        except asyncio.CancelledError:
            # The gateway stops, or the model has left.
            self._kill(worker, "cancelled")
            raise
        finally:
            envelope.on_deserted = nobody_waits
            for timer in timers:
                timer.cancel()

    def _outgrown(self, worker: WorkerProcess, fault: str) -> None:
        """Kill a worker that holds too much memory; where it has run nothing, so would every one after it."""
        if not worker.has_run:
            self._fail(BackendUnavailableError(f"a worker that has run nothing {fault}"))
        self._kill(worker, "memory", f"it {fault}, and ")

    def _kill(self, worker: WorkerProcess, reason: str, why: str = "") -> None:
        if not worker.end:
            key = self._running.get(worker)
            work = f"runs {key.name} {key.version}" if key else "is idle"
            level = logging.INFO if reason in (_DESERTED, _OUTDATED) else logging.ERROR
            _log.log(level, "worker %d is killed (%s): %s%s", worker.pid, reason, why or "it ", work)
            worker.kill(reason)

    async def _replace_at_end(self, worker: WorkerProcess, place: int) -> None:
        await worker.ended()
        try:
            self._let_go(worker)
            await self.add(place)
        except BackendUnavailableError as error:
            self._fail(error)
        except Exception as error:
            # A place that nobody fills any more would still count as a worker.
            _log.exception("worker %d cannot be replaced", worker.pid)
            self._fail(BackendUnavailableError(f"a worker cannot be replaced: {error!r}"))

    def _let_go(self, worker: WorkerProcess) -> None:
        """Note the end of a worker."""
        if not worker.end:
            _log.error("worker %d has ended by itself", worker.pid)
        if worker.end != _OUTDATED:
            self._on_loss(worker.end or "crashed")
        self._all.remove(worker)
        self._outdated.discard(worker)
        self._forget(worker)
        worker.close()

    def _fail(self, error: BackendUnavailableError) -> None:
        """Have `watch` end with an error, the first of several."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def _forget(self, worker: WorkerProcess) -> None:
        """Take a worker that has ended out of the idle ones, whose order stays."""
        idle = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        for other in reversed(idle):
            if other is not worker:
                self._idle.put_nowait(other)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _limit(envelope: Envelope) -> float | None:
    """Seconds after which a worker is held to hang; None where nothing is known of the envelope."""
    limits = [] if envelope.seconds_wanted is None else [max(envelope.seconds_wanted, 0.0) + GRACE_SECONDS]
    if envelope.expected_seconds:
        limits.append(_LEAST_LIMIT_SECONDS + _TIMES_EXPECTED * envelope.expected_seconds)
    return min(limits, default=None)
