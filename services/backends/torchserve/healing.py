"""When a worker of TorchServe counts as hung or lost, and how it is replaced.

TorchServe restarts a worker that ends, with growing pauses where it ends while it loads. It does not notice one that
hangs before its own response timeout, nor one that is stopped. Workers of the gateway's own TorchServe are killed, so
that their calls end at once; those of another are scaled away over REST, where a call may be put back in its queue.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from services.backends.base import BackendUnavailableError, ModelKey
from services.backends.envelope import Envelope
from services.backends.torchserve.recovery import Processes, Recovery, Rest
from services.backends.torchserve.roster import Served
from services.waiting import is_done_within

# A worker may end a little after the last caller has gone.
_GRACE_SECONDS = 1.0
# A worker is late when it takes so many times what was expected, and a little more.
_LATE_TIMES, _LATE_SECONDS = 5.0, 2.0
# A TorchServe of the gateway's own that still hangs then is started anew; another is left to end the call itself.
_MOST_REPLACEMENTS = 3
# A model that has had no worker for so long takes no work.
_SET_ASIDE_SECONDS = 10.0
# When callers that are refused meanwhile are to come back.
_RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


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
        # How often the workers of a model were replaced.
        self._replacements: Counter[ModelKey] = Counter()
        self._recoveries: dict[ModelKey, Recovery] = {}
        self._tasks: dict[ModelKey, asyncio.Task[None]] = {}

    def slots(self, served: Served) -> int:
        """Return how many workers of a model are known to be ready, at least one.

        Args:
            served: The model.
        """
        recovery = self._recoveries.get(served.key)
        return max(1, recovery.ready if recovery else served.workers)

    def check(self, key: ModelKey) -> None:
        """Refuse work for a model that has had no worker for long.

        Args:
            key: The model.

        Raises:
            BackendUnavailableError: It cannot take work now.
        """
        recovery = self._recoveries.get(key)
        if recovery and not recovery.up.is_set() and self._clock() - recovery.down_since >= _SET_ASIDE_SECONDS:
            raise _being_replaced()

    async def healed(self, key: ModelKey, seconds: float | None = None) -> None:
        """Wait until a model has a worker, where its workers are being replaced.

        Args:
            key: The model.
            seconds: The most seconds to wait; None for no limit.

        Raises:
            BackendUnavailableError: It has none in time.
        """
        if (recovery := self._recoveries.get(key)) is None or recovery.up.is_set():
            return
        waiting = asyncio.ensure_future(recovery.up.wait())
        try:
            if not await is_done_within(waiting, math.inf if seconds is None else seconds, self._pause):
                raise _being_replaced()
        finally:
            waiting.cancel()

    async def see_through(self, served: Served, calling: asyncio.Future[Any], limit: float | None) -> bool:
        """Wait until a call has ended, and replace the model's workers where it takes too long.

        Args:
            served: The model.
            calling: The call.
            limit: Seconds after which its worker counts as hung; None for never.

        Returns:
            Whether the call may be the reason where its worker was lost: its workers were not replaced for another's.
        """
        limit, replaced = None if limit is None else max(limit, _LATE_SECONDS), 0
        before = self._replacements[served.key]
        while not await is_done_within(calling, math.inf if limit is None else limit, self._pause):
            is_new, recovery = served.key not in self._recoveries, self._begin(served)
            if recovery is None:
                _log.warning("model %s %s: a worker hangs; torchserve_rest_address is not set", *served.key)
                limit = None
                continue
            if replaced == _MOST_REPLACEMENTS:
                self._give_up(served.key)
                limit = None
                continue
            if is_new or recovery.up.is_set():
                _log.warning("model %s %s: a worker hangs and is replaced", *served.key)
                replaced += 1
                self._replacements[served.key] += 1
                recovery.replace_all()
                self._on_loss("overdue")
            # TorchServe ends the call, or puts it back in its queue: then its time begins when a worker is ready.
            up = asyncio.ensure_future(recovery.up.wait())
            await asyncio.wait({calling, up}, return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
        return replaced > 0 or self._replacements[served.key] == before

    def note_lost(self, served: Served) -> None:
        """Begin to see to it that a model whose worker was lost gets it back.

        Args:
            served: The model.
        """
        if served.key not in self._recoveries and (recovery := self._begin(served)):
            recovery.note(0)
            self._on_loss("crashed")

    def look_after(self, served: Served) -> None:
        """Begin to see to it that a model that may have lost a worker gets it back.

        Args:
            served: The model.
        """
        self._begin(served)

    def follow(self, models: Mapping[ModelKey, Served]) -> None:
        """Care for models as they are now, and no longer for those that have left.

        Args:
            models: The models that serve.
        """
        for key, recovery in self._recoveries.items():
            if key in models:
                recovery.served = models[key]
            else:
                self._tasks[key].cancel()

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

    async def stop(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _give_up(self, key: ModelKey) -> None:
        """Have a call ended that hangs every worker."""
        if self._processes:
            _log.error("model %s %s: replacing its workers does not help; TorchServe is killed", *key)
            self._processes.kill()
        else:
            # A call that is cancelled would be put back and run all the same, where nobody sees it.
            _log.error(
                "model %s %s: replacing its workers does not help; TorchServe's response timeout is to end the call",
                *key,
            )

    def _begin(self, served: Served) -> Recovery | None:
        """Return the recovery of a model, a new one where there is none; None where nothing can be done."""
        if self._rest is None:
            return None
        if served.key not in self._recoveries:
            recovery = Recovery(served, self._rest, self._processes, self._clock, self._pause)
            self._recoveries[served.key] = recovery
            task = self._tasks[served.key] = asyncio.create_task(recovery.run())
            task.add_done_callback(partial(self._close, served.key))
        return self._recoveries[served.key]

    def _close(self, key: ModelKey, _: asyncio.Task[None]) -> None:
        del self._tasks[key]
        self._recoveries.pop(key).up.set()


def _being_replaced() -> BackendUnavailableError:
    return BackendUnavailableError("the model's workers are being replaced", _RETRY_SECONDS)
