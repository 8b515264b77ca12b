"""Hands outputs to the calls that await them: a request's at a time, callers in turn.

An answer keeps the event loop for about a millisecond. What answers a hundred calls at once keeps all others out until
the last is answered; one after the other, what has arrived meanwhile gets its turn between them.
"""

import asyncio
from collections import deque
from collections.abc import Mapping

from services.gateway.queues import Output

# Turns of the event loop between two: grpc takes several to let one call in. Measured beside a caller who has 100 calls
# under way all the time: with 8 another's median is 60 ms, with none 150 ms, and the former loses nothing.
_TURNS = 8

Outputs = Mapping[asyncio.Future[Output], Output]


class Outbox:
    """Outputs that are made and not handed over yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lines: dict[str, deque[Outputs]] = {}

    def put(self, caller: str, outputs: Outputs) -> None:
        """Hand outputs over soon.

        Args:
            caller: Id of the caller who awaits them.
            outputs: Of one request, by what its call awaits.
        """
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._lines.setdefault(caller, deque()).append(outputs)

    def _hand_over(self) -> None:
        caller = next(iter(self._lines))
        line = self._lines.pop(caller)
        for future, output in line.popleft().items():
            # Its deadline may have passed meanwhile.
            if not future.done():
                future.set_result(output)
        if line:
            self._lines[caller] = line
        if self._lines:
            asyncio.get_running_loop().call_soon(self._pause, _TURNS)

    def _pause(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if turns > 1:
            loop.call_soon(self._pause, turns - 1)
        else:
            loop.call_soon(self._hand_over)
