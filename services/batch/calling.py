"""Calls of a gateway that is at times full, restarting or gone: tried again until each has an answer of its own.

Overload and outages are never an item's fault. What the gateway says of the item itself is handed on.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from services.batch.faults import JobError, StoppedError
from services.batch.window import Place, Window
from services.client import GantryError

DEFAULT_PATIENCE = 300.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
# What a connection that breaks looks like; the gateway itself always gives a reason.
_BROKEN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
}
# Said of an item, but true of every item.
_OF_ALL = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
}

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class JobCalls:
    """Makes the calls of one job, as many at once as its window has places."""

    def __init__(
        self,
        window: Window,
        *,
        patience: float = DEFAULT_PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            window: How many calls may be under way.
            patience: Seconds that the gateway may be gone before the job is at fault.
            clock: Monotonic seconds.
        """
        self._window, self._patience, self._clock = window, patience, clock
        self._gone_since: float | None = None
        self._pause = _FIRST_PAUSE
        self._stopped = False

    def stop(self) -> None:
        """Begin no call any more; those under way may end."""
        self._stopped = True

    async def __call__(self, call: Callable[[], Awaitable[Answer]]) -> tuple[Answer, float]:
        """Call until there is an answer.

        Args:
            call: One attempt.

        Returns:
            The answer, and the milliseconds of the attempt that brought it.

        Raises:
            GantryError: The gateway found the item at fault, or failed to make it.
            JobError: The gateway is gone for too long, or refuses every item alike.
            StoppedError: The item is to be left alone.
        """
        while True:
            place = await self._window.take()
            try:
                if self._stopped:
                    raise StoppedError
                began = self._clock()
                answer = await call()
            except GantryError as error:
                self._judge(error, place)
            else:
                self._hear()
                self._window.succeeded()
                return answer, 1000 * (self._clock() - began)
            finally:
                await self._window.give_back()

    def _judge(self, error: GantryError, place: Place) -> None:
        """Prepare another attempt, or raise what ends the item or the job."""
        if error.code in _OF_ALL:
            raise JobError(f"the gateway refuses the job: {error}") from error
        is_down = error.code is grpc.StatusCode.UNAVAILABLE or (error.reason is None and error.code in _BROKEN)
        if not is_down:
            self._hear()
            if error.retry_seconds is None:
                raise error
            self._window.refused(place, error.retry_seconds)
            return
        if self._gone_since is None:
            self._gone_since = self._clock()
            if self._patience:
                _log.warning("the gateway does not answer; trying for %.0f s: %s", self._patience, error)
        gone = self._clock() - self._gone_since
        if gone >= self._patience:
            raise JobError(f"the gateway has not answered for {gone:.0f} s: {error}") from error
        if self._window.refused(place, error.retry_seconds or self._pause):
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)

    def _hear(self) -> None:
        self._gone_since, self._pause = None, _FIRST_PAUSE
