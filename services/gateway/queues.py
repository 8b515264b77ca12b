"""What waits for the models and what is away for them: callers' shares, their lines, and a queue per model.

Bookkeeping only: what is admitted, and what leaves when, is for `services.gateway.scheduler`.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import BackendUnavailableError, ModelKey
from services.backends.envelope import Envelope
from services.gateway.bookings import Bookings, Experience
from services.gateway.call import BatchRun, Caller
from services.gateway.errors import DeadlineError
from services.gateway.prices import Prices, Work

# How long less than a chunk waits for more, in times of what all work would take in full chunks. Measured on two cores:
# less of it leaves chunks half empty where many call, more of it makes few callers wait for each other.
_HELD_TIMES = 2.0
LONGEST_ENVELOPE_SECONDS = 0.05
"""The longest envelope of several items, in predicted seconds: what another caller has to wait for at most."""
_LEAST_ITEM_SECONDS = 1e-6


class Output(NamedTuple):
    """What came of an item.

    Attributes:
        result: Its picture or its error.
        execution: The plan that it was run under.
        queue_seconds: How long it waited.
        run: The envelope that it was in.
    """

    result: worker_pb2.WorkResult
    execution: str
    queue_seconds: float
    run: BatchRun


def abandon(outputs: Iterable[asyncio.Future[Output]]) -> None:
    """Say that nobody awaits these any more: what has not run is not run, what has failed is not reported."""
    for output in outputs:
        if not output.cancel() and not output.cancelled():
            output.exception()


def expire_at(deadline: float, outputs: Sequence[asyncio.Future[Output]], clock: Callable[[], float]) -> None:
    """Let outputs fail at their deadline, whatever becomes of their items.

    Args:
        deadline: On the clock.
        outputs: At least one.
        clock: Seconds.
    """

    def expire() -> None:
        for output in outputs:
            if not output.done():
                output.set_exception(DeadlineError("the deadline passed before the picture was made"))

    timer = asyncio.get_running_loop().call_later(max(deadline - clock(), 0.0), expire)
    left = len(outputs)

    def note(_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            timer.cancel()

    for output in outputs:
        output.add_done_callback(note)


@dataclass(eq=False)
class Share:
    """What a caller has had, for as long as that matters.

    Attributes:
        weight: Its weight beside others.
        served: Predicted seconds that it has been served, divided by its weight, on the clock of all shares.
        waiting: Items that wait, of all models.
    """

    weight: float
    served: float
    waiting: int = 0


@dataclass(eq=False)
class Entry:
    """One item, from its admission until it has an output.

    Attributes:
        seconds: What it was predicted to cost those behind it when it was admitted.
        line: Where it waits.
        is_probe: Whether no caller asked for it.
        losses: Workers that were lost with it.
        envelope: The envelope that it is away in, and its place there.
    """

    item: worker_pb2.WorkItem
    work: Work
    seconds: float
    line: "Line"
    deadline: float
    admitted: float
    batch_items: int
    output: asyncio.Future[Output]
    is_probe: bool = False
    losses: int = 0
    envelope: tuple[Envelope, int] | None = None


@dataclass(eq=False)
class Line:
    """The items of one caller that wait for one model, in order."""

    caller: Caller
    share: Share
    bookings: Bookings
    items: dict[Entry, None] = field(default_factory=dict)
    seconds: float = 0.0

    def join(self, item: Entry) -> None:
        """Put an item at the end."""
        self.items[item] = None
        self.seconds += item.seconds
        self.share.waiting += 1

    def leave(self, item: Entry) -> None:
        """Take an item out."""
        del self.items[item]
        # Not what rounding leaves over.
        self.seconds = self.seconds - item.seconds if self.items else 0.0
        self.share.waiting -= 1


@dataclass(eq=False)
class Away:
    """An envelope that has a slot.

    Attributes:
        started: When it left.
        expected: How many seconds it is expected to take.
        items: How many it has.
        callers: Ids of those who await them.
    """

    started: float
    expected: float
    items: int
    callers: frozenset[str] = frozenset()

    def remaining(self, now: float) -> float:
        """Return the seconds until it is back, as far as can be known: one that is late may be as late again."""
        return abs(self.started + self.expected - now)


class ModelQueue:
    """What waits for one model, and what is away for it."""

    def __init__(self, loaded: models_pb2.LoadedModel) -> None:
        self.loaded, self.key = loaded, key_of(loaded)
        self.prices = Prices(max(loaded.card.execution.chunk_items, 1))
        self.batch_items = loaded.card.execution.max_batch_items
        self.lines: dict[str, Line] = {}
        # Probes, and items whose envelope failed: they leave before all others, in envelopes of their own.
        self.first: deque[Sequence[Entry]] = deque()
        self.away: dict[asyncio.Task[None], Away] = {}
        self.end: Exception = BackendUnavailableError("the backend gave the envelope up")
        """Why what is away fails where its run is cancelled."""
        self.experience = Experience()
        """How many of those who were refused come back when they are asked to."""
        self.booked = 0.0
        """Until when refused work was asked to wait, one behind the other."""

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return sum(len(line.items) for line in self.lines.values()) + sum(map(len, self.first))

    @property
    def waiting_seconds(self) -> float:
        """How long these will take."""
        return self.first_seconds + sum(line.seconds for line in self.lines.values())

    @property
    def first_seconds(self) -> float:
        """How long probes, and items that run again, will take."""
        return sum(self.prices.envelope([entry.work for entry in entries]) for entries in self.first)

    def entries(self) -> list[Entry]:
        """Return all items that wait."""
        return [*chain.from_iterable(self.first), *chain.from_iterable(line.items for line in self.lines.values())]

    def forget_done(self) -> None:
        """Free the places of items that have ended at this moment, of which their lines are yet to learn."""
        for line in self.lines.values():
            for item in [item for item in line.items if item.output.done()]:
                line.leave(item)

    def first_share(self) -> float:
        """Return how much the caller has been served that is next."""
        if self.first:
            return -math.inf
        return min((line.share.served for line in self.lines.values() if line.items), default=math.inf)

    def whole_chunks(self, items: int) -> int:
        """Round a number of items up to full chunks."""
        return -(-items // self.prices.chunk_items) * self.prices.chunk_items

    def full(self, seconds: float, left: float) -> int:
        """Return how many items leave together while many wait.

        An item waits for one envelope and rides in another, so both go into the time that it has left.

        Args:
            seconds: What such an item adds to an envelope.
            left: Seconds until its deadline.
        """
        each = max(seconds, _LEAST_ITEM_SECONDS)
        most = self.whole_chunks(max(int(LONGEST_ENVELOPE_SECONDS / each), 1))
        in_time = max((left / 2 - self.prices.fixed) / each, 1.0)
        return int(min(most, in_time, self.batch_items))

    def seconds_in_line(self, seconds: float, left: float) -> float:
        """Return what an item costs those behind it: its own seconds, and its part of what its envelope costs at all.

        Args:
            seconds: What such an item adds to an envelope.
            left: Seconds until its deadline.
        """
        return seconds + self.prices.fixed / self.full(seconds, left)

    def held_seconds(self, now: float) -> float:
        """Return how long to wait for more to fill a chunk, while an envelope is away.

        An envelope of less than a chunk costs as much as a full one. Like a small packet in a network (Nagle, 1984) it
        waits for one to come back, where its deadlines allow it; and the longer the more is away and waits. So few
        callers do not wait for each other, and many fill chunks.
        """
        if self.first or not self.away or self.waiting >= self.prices.chunk_items:
            return 0.0
        soonest = min(away.remaining(now) for away in self.away.values())
        if soonest >= _HELD_TIMES * self.prices.place * (self.waiting + sum(away.items for away in self.away.values())):
            return 0.0
        entries = self.entries()
        alone = self.prices.envelope([entry.work for entry in entries]) * (1 + self.prices.deviation)
        is_in_time = all(now + soonest + alone < entry.deadline for entry in entries)
        return soonest if is_in_time else 0.0


def key_of(loaded: models_pb2.LoadedModel) -> ModelKey:
    """Return the key of a model in its backend."""
    return ModelKey(loaded.card.name, loaded.card.version)
