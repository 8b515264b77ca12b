"""One envelope on its way to a worker: its items, and who still awaits them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gantry.v1 import worker_pb2


def nobody_listens(place: int) -> None:
    """A backend that cannot tell its worker lets it go on."""


@dataclass
class Envelope:
    """One envelope on its way to a worker.

    Attributes:
        request: Its items.
        seconds_wanted: Seconds from its departure after which nobody awaits any of them; None for no limit.
        expected_seconds: How long a worker is expected to take; 0 where that is not known.
        on_abandon: Called with the place of an item that nobody awaits any more. Set by the backend that has it.
        abandoned: The places of these items.
        deserted: Set once nobody awaits any item.
    """

    request: worker_pb2.WorkRequest
    seconds_wanted: float | None = None
    expected_seconds: float = 0.0
    on_abandon: Callable[[int], None] = nobody_listens
    abandoned: set[int] = field(default_factory=set)
    deserted: asyncio.Event = field(default_factory=asyncio.Event)

    def abandon(self, place: int) -> None:
        """Note that nobody awaits an item any more."""
        self.abandoned.add(place)
        self.on_abandon(place)
        if len(self.abandoned) == len(self.request.items):
            self.deserted.set()
