"""Refuses calls beyond the most that are served at once: each costs some memory before its request is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.gateway.errors import TooManyCallsError, answered
from services.gateway.interceptors.base import Handler, Wrapping, wrap

# What asks for the gateway's health or its methods is counted apart: it tells whether the rest is served.
_OPEN = "/grpc."
_MOST_OPEN = 1024


class CallLimit(Wrapping):
    """Counts the calls of the whole process."""

    def __init__(self, most: int) -> None:
        """Begin with no call.

        Args:
            most: The most calls at once.
        """
        self._others, self._open = _Count(most), _Count(_MOST_OPEN)

    def wrapped(self, handler: Handler, method: str) -> Handler:
        """Count the calls of a method."""
        return wrap(handler, (self._open if method.startswith(_OPEN) else self._others).taken)


class _Count:
    """Calls that share a limit."""

    def __init__(self, most: int) -> None:
        self._most, self._calls = most, 0

    @asynccontextmanager
    async def taken(self, context: Any) -> AsyncIterator[None]:
        async with answered(context):
            if self._calls >= self._most:
                raise TooManyCallsError(f"the gateway serves {self._most} calls, which is the most")
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
