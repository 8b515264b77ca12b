"""One envelope on its way to a worker: its items, and who still awaits them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gantry.v1 import worker_pb2

# What is left to an item that waited too long: 0 would stand for no limit.
_LEAST_WANTED_SECONDS = 1e-6


def nobody_listens(place: int) -> None:
    """A backend that cannot tell its worker lets it go on."""


def nobody_waits() -> None:
    """A backend that cannot stop its worker lets it go on."""


@dataclass
class Envelope:
    """One envelope on its way to a worker.

    Attributes:
        request: Its items.
        seconds_wanted: Seconds from its departure after which nobody awaits any of them; None for no limit.
        expected_seconds: How long a worker is expected to take; 0 where that is not known.
        on_abandon: Called with the place of an item that nobody awaits any more. Set by the backend that has it.
        abandoned: The places of these items.
        on_deserted: Called once nobody awaits any item. Set by the backend too.
    """

    request: worker_pb2.WorkRequest
    seconds_wanted: float | None = None
    expected_seconds: float = 0.0
    on_abandon: Callable[[int], None] = nobody_listens
    abandoned: set[int] = field(default_factory=set)
    on_deserted: Callable[[], None] = nobody_waits

    def abandon(self, place: int) -> None:
        """Note that nobody awaits an item any more."""
        self.abandoned.add(place)
        self.on_abandon(place)
        if self.is_deserted:
            self.on_deserted()

    @property
    def is_deserted(self) -> bool:
        """Whether the callers of all items have gone."""
        return len(self.abandoned) == len(self.request.items)

    @property
    def is_unwanted(self) -> bool:
        """Whether nobody awaits any item any more."""
        return self.is_deserted or (self.seconds_wanted is not None and self.seconds_wanted <= 0)

    def age(self, seconds: float) -> None:
        """Take the seconds that it waited for its worker off those for which it and its items are wanted."""
        if self.seconds_wanted is not None:
            self.seconds_wanted -= seconds
        age(self.request.items, seconds)


def age(items: Iterable[worker_pb2.WorkItem], seconds: float) -> None:
    """Take the seconds for which items waited on their way off those for which they are wanted.

    Args:
        items: The items, which are changed.
        seconds: How long they waited.
    """
    for item in items:
        if item.wanted_seconds:
            item.wanted_seconds = max(item.wanted_seconds - seconds, _LEAST_WANTED_SECONDS)


def left_unrun(count: int) -> worker_pb2.WorkReply:
    """Return the answer to an envelope of so many items that was not run, since nobody awaits it any more."""
    return worker_pb2.WorkReply(results=[worker_pb2.WorkResult(unrun=True)] * count)
