"""How a gateway stops: it refuses new calls, finishes admitted ones within a grace, and ends the rest with a status.

While it drains its port still listens, so that a caller gets a refusal that says when to retry, not a dropped
connection.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from services.gateway.errors import ShuttingDownError, answered
from services.gateway.interceptors.base import Handler, Wrapping, wrap
from services.gateway.telemetry.metrics import Metrics

# gRPC's end of a server is not clean: a call that arrives in its last moments is cut off without a status. So the end
# comes when no call has arrived for a while, as refused callers pause; but callers who do not pause cannot put it off.
_QUIET_SECONDS = 0.1
_LONGEST_UNREST_SECONDS = 0.5
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_log = logging.getLogger(__name__)


class Moment:
    """Something that happens once, and ends the blocks that are to last no longer."""

    def __init__(self) -> None:
        self.has_come = False
        self._blocks: set[asyncio.Timeout] = set()

    def come(self) -> None:
        """Let it happen: all blocks end, and those that begin later end at once."""
        if not self.has_come:
            self.has_come = True
            for block in self._blocks:
                block.reschedule(0)

    @asynccontextmanager
    async def ends(self) -> AsyncIterator[None]:
        """End the block when the moment comes.

        Raises:
            ShuttingDownError: The moment has come before the block's end.
        """
        block = asyncio.timeout(0 if self.has_come else None)
        try:
            async with block:
                self._blocks.add(block)
                try:
                    yield
                finally:
                    self._blocks.discard(block)
        except TimeoutError:
            if not block.expired():
                raise
            raise ShuttingDownError("the gateway is shutting down") from None


class Drain(Wrapping):
    """Knows which calls are served, and stands before all of them.

    Attributes:
        begun: The moment from which on new calls are refused.
        over: The moment at which calls that are still served are ended.
    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with no call.

        Args:
            metrics: Where `gantry_draining` stands.
            clock: Monotonic seconds.
            pause: Lets a number of seconds pass on that clock.
        """
        self.begun, self.over = Moment(), Moment()
        self._metrics, self._clock, self._pause = metrics, clock, pause
        self._calls = 0
        self._last_arrival = -math.inf
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def wrapped(self, handler: Handler, method: str) -> Handler:
        """Count and refuse calls, but for those that ask for the gateway's health."""
        service = method.removeprefix("/").partition("/")[0]
        # Streams that stay open for as long as a client is there, and make nothing that it waits for.
        if service == _HEALTH:
            return wrap(handler, self._attended) if handler.response_streaming else handler
        return wrap(handler, self._attended_or_refused if service == reflection.SERVICE_NAME else self._admitted)

    def begin(self) -> None:
        """Refuse new calls from now on."""
        self._metrics.draining.set(1)
        self.begun.come()

    async def finish(self, grace: float) -> None:
        """Wait until every admitted call is finished, then end what is left.

        Args:
            grace: The most seconds to wait; `over` may come sooner.
        """
        try:
            async with asyncio.timeout(grace):
                await self._is_idle.wait()
        except TimeoutError:
            _log.warning("%d calls are ended: they outlast the grace of %g s", self._calls, grace)
        self.over.come()
        unrest_ends = self._clock() + min(grace, _LONGEST_UNREST_SECONDS)
        while (seconds := min(self._last_arrival + _QUIET_SECONDS, unrest_ends) - self._clock()) > 0:
            await self._pause(seconds)

    @asynccontextmanager
    async def _admitted(self, context: Any) -> AsyncIterator[None]:
        self._last_arrival = self._clock()
        async with answered(context):
            if self.begun.has_come:
                raise ShuttingDownError("the gateway is shutting down")
            self._calls += 1
            self._is_idle.clear()
            try:
                async with self.over.ends():
                    yield
            finally:
                self._calls -= 1
                if not self._calls:
                    self._is_idle.set()

    def _attended_or_refused(self, context: Any) -> AbstractAsyncContextManager[None]:
        return self._admitted(context) if self.begun.has_come else self._attended(context)

    @asynccontextmanager
    async def _attended(self, context: Any) -> AsyncIterator[None]:  # noqa: ARG002 (of every block around a call)
        try:
            async with self.over.ends():
                yield
        except ShuttingDownError:
            """The stream has told all there was to tell."""
