"""Whether work is admitted: it must be back before its deadline, behind what is away, what waits and what is booked.

A refusal says when to come back, and room is kept until then; see `services.gateway.bookings`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.backends.base import Backend, ModelKey
from services.gateway.errors import QueueFullError, TooExpensiveError
from services.gateway.prices import Work
from services.gateway.queues import Line, ModelQueue

LEAST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 60.0
# How often the beginning of work is looked for behind what is booked before it.
_BOOKING_ROUNDS = 8


@dataclass(frozen=True)
class QueueLimits:
    """What may wait.

    Attributes:
        items: The most items that wait per model.
        request_seconds: The most predicted seconds of one request; infinite for no limit.
    """

    items: int
    request_seconds: float = math.inf


class Price(NamedTuple):
    """What a request costs.

    Attributes:
        items: How many it has.
        seconds: Predicted, of one worker.
        in_line: Predicted, of one worker, with their part of what envelopes cost while many wait.
        alone: Predicted, until they are back where nothing else is to be done.
        accompanied: Predicted, from when they leave until they are back, where many wait.
        parallel: Workers that share them.
    """

    items: int
    seconds: float
    in_line: float
    alone: float
    accompanied: float
    parallel: int

    def from_then(self, wait: float) -> float:
        """Predict how long it takes after a wait, if there is one."""
        return self.accompanied if wait else self.alone


class Admission:
    """Prices work and refuses what would come too late."""

    def __init__(
        self,
        backend: Backend,
        limits: QueueLimits,
        queues: Mapping[ModelKey, ModelQueue],
        clock: Callable[[], float],
    ) -> None:
        """Look at some queues.

        Args:
            backend: Whose slots serve them.
            limits: What may wait.
            queues: All that there are, now and later.
            clock: Seconds on the clock that deadlines are given in.
        """
        self._backend, self._limits, self._queues, self._clock = backend, limits, queues, clock

    def price(self, queue: ModelQueue, works: Sequence[Work], left: float) -> Price:
        """Predict what a request costs.

        Args:
            queue: Of its model.
            works: Its items.
            left: Seconds until its deadline.
        """
        parallel = max(self._backend.slots(queue.key), 1)
        # Thousands of items may be alike.
        alike = [(queue.prices.seconds(work), items) for work, items in Counter(works).items()]
        total = sum(seconds * items for seconds, items in alike)
        in_line = sum(queue.seconds_in_line(seconds, left) * items for seconds, items in alike)
        # Items share the slots, but none is cut.
        alone = queue.prices.fixed + max(total / parallel, max((seconds for seconds, _ in alike), default=0.0))
        alone += queue.prices.padding(math.ceil(len(works) / parallel))
        full = max((queue.full(seconds, left) * seconds for seconds, _ in alike), default=0.0)
        return Price(len(works), total, in_line, alone, max(alone, queue.prices.fixed + full), parallel)

    def check(self, queue: ModelQueue, line: Line, connection: str, price: Price, deadline: float) -> None:
        """Raise where work is not to be admitted.

        Args:
            queue: Of its model.
            line: Of its caller.
            connection: That it came by.
            price: What it costs.
            deadline: When its caller stops waiting; infinite for never.

        Raises:
            QueueFullError: There is no room, or it would not be back before the deadline. It says when to retry.
            TooExpensiveError: It would take longer than a request may, or than the time until the deadline.
        """
        self._refuse_expensive(queue, price, deadline)
        now = self._clock()
        is_expected = line.bookings.use(now, connection)
        places, late = self._shortfall(queue, line, price, deadline)
        if places > 0 or late > 0:
            queue.forget_done()
            places, late = self._shortfall(queue, line, price, deadline)
        # A caller who was not expected also waits for those asked to come by then.
        if places <= 0 and late <= 0 and (is_expected or not self._is_booked(queue, line, price, deadline)):
            return
        if places > 0:
            taken = f"{queue.waiting} of {self._limits.items} places in the queue are taken"
            reason = f"{taken}, and {price.items} more are asked for"
            late = max(late, places * queue.waiting_seconds / max(queue.waiting, 1) / price.parallel)
        else:
            reason = f"the wait of about {self.wait(queue, line, price):.2f} s would outlast the deadline"
        # Whoever is refused comes back behind those who were refused before, with the margin that admission keeps.
        turn = price.in_line / price.parallel * (1 + queue.prices.deviation) * line.bookings.likelihood
        queue.booked = min(max(queue.booked, now + max(late, 0.0)) + turn, now + _LONGEST_RETRY_SECONDS)
        retry = max(queue.booked - now, LEAST_RETRY_SECONDS)
        line.bookings.add(now, now + retry, price.in_line, connection)
        raise QueueFullError(f"model {queue.key.name}: {reason}", retry_seconds=retry)

    def wait(self, queue: ModelQueue, line: Line, price: Price, booked_until: float = -math.inf) -> float:
        """Predict the seconds until work of a caller begins: for its model's slots, and for those that all share.

        Args:
            queue: Of its model.
            line: Of its caller.
            price: What it costs.
            booked_until: Until when what others were asked to come back with is counted; by default it is not.
        """
        wait = self._wait_for([queue], self._backend.slots(queue.key), line, price, booked_until)
        if (workers := self._backend.workers) is None:
            return wait
        others = [other for other in self._queues.values() if other is not queue]
        rivals = [other for other in others if len(other.away) < self._backend.slots(other.key)]
        # A model that has no slot left keeps its workers, and what waits for it takes no other.
        kept = sum(len(other.away) for other in others if other not in rivals)
        return max(wait, self._wait_for([queue, *rivals], workers - kept, line, price, booked_until))

    def _refuse_expensive(self, queue: ModelQueue, price: Price, deadline: float) -> None:
        name, limit, left = queue.key.name, self._limits.request_seconds, deadline - self._clock()
        if price.seconds > limit:
            raise TooExpensiveError(
                f"model {name}: this would take about {price.seconds:.1f} s; the most of one request is {limit:g} s "
                "(max_request_seconds): ask for fewer pictures, or for smaller ones (max_side of a translation)"
            )
        # Where others wait or were asked to, the gateway may have lost the time before it came to read the call.
        if price.alone > left and not (queue.waiting or queue.booked > self._clock()):
            raise TooExpensiveError(
                f"model {name}: this takes about {price.alone:.3f} s, and the deadline is in {max(left, 0.0):.3f} s"
            )

    def _shortfall(self, queue: ModelQueue, line: Line, price: Price, deadline: float) -> tuple[int, float]:
        """Return the places and the seconds that are missing for work to be admitted; none where not above 0."""
        wait = self.wait(queue, line, price)
        seconds = (wait + price.from_then(wait)) * (1 + queue.prices.deviation)
        return queue.waiting + price.items - self._limits.items, self._clock() + seconds - deadline

    def _is_booked(self, queue: ModelQueue, line: Line, price: Price, deadline: float) -> bool:
        """Say whether work would miss its deadline behind those who were asked to come back before it begins."""
        if not any(other.bookings for queue in self._queues.values() for other in queue.lines.values()):
            return False
        if not self.wait(queue, line, price):
            return False  # A free slot is kept for nobody.
        now = begins = self._clock()
        margin = 1 + queue.prices.deviation
        for _ in range(_BOOKING_ROUNDS):
            wait = self.wait(queue, line, price, begins)
            if now + (wait + price.from_then(wait)) * margin > deadline:
                return True
            if now + wait <= begins:
                return False
            begins = now + wait
        return False

    def _wait_for(
        self, queues: Sequence[ModelQueue], slots: int, line: Line, price: Price, booked_until: float
    ) -> float:
        """Predict the wait for slots that some queues share, the first of which is to get the work."""
        now, slots = self._clock(), max(slots, 1)
        away = [away.remaining(now) for queue in queues for away in queue.away.values()]
        before = {
            each: each.seconds + each.bookings.seconds(now, booked_until)
            for queue in queues
            for each in queue.lines.values()
            if each.items or each.bookings
        }
        if len(away) < slots and not any(before.values()) and not any(queue.first for queue in queues):
            return 0.0
        own = before.pop(line, 0.0)
        # While the caller's own is served, another is served as much times its weight.
        others = sum(
            min(seconds, (own + price.in_line) * other.share.weight / line.share.weight)
            for other, seconds in before.items()
        )
        # What runs again goes before all.
        again = sum(queue.first_seconds for queue in queues)
        return (min(away) if len(away) >= slots else 0.0) + (own + others + again) / slots
