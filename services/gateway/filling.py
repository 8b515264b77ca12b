"""Fills envelopes: from whom, how much at once, and what is too late to go.

Callers are served by their shares: first who has had the least of its own, in predicted seconds divided by its weight
(start-time fair queueing; Goyal, Vin & Cheng, 1996). An envelope is no larger than its tightest deadline allows.
"""

import heapq
import math
from collections.abc import Callable

from services.gateway.errors import DeadlineError
from services.gateway.queues import LONGEST_ENVELOPE_SECONDS, Entry, ModelQueue


class Filling:
    """Takes out of a queue what is to go next.

    Attributes:
        served: What the caller who was served last had been served before: where newcomers begin.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with nobody served.

        Args:
            clock: Seconds on the clock that deadlines are given in.
        """
        self._clock, self.served = clock, 0.0

    def take(self, queue: ModelQueue, slots: int) -> list[Entry]:
        """Take the items of the next envelope; what cannot meet its deadline any more fails, and is not run.

        Args:
            queue: Of one model.
            slots: Those of it that are free.

        Returns:
            The items; none where all were too late.
        """
        while queue.first:
            if batch := [entry for entry in queue.first.popleft() if self._is_worth_running(queue, entry)]:
                return batch
        # The free slots share what waits, in whole chunks.
        room = min(queue.batch_items, queue.whole_chunks(math.ceil(queue.waiting / max(slots, 1))))
        batch = []
        seconds, tightest, has_whole_line = 0.0, math.inf, False
        lines = [(line.share.served, number, line) for number, line in enumerate(queue.lines.values()) if line.items]
        heapq.heapify(lines)
        while lines and len(batch) < room:
            _, number, line = heapq.heappop(lines)
            entry = next(iter(line.items))
            added = queue.prices.seconds(entry.work)
            if self._is_worth_running(queue, entry):
                tightest, seconds = min(tightest, entry.deadline), seconds + added
                # A chunk that has begun costs as much as a full one. Who asks for little waits for no more of one who
                # asks for much.
                is_long = seconds > LONGEST_ENVELOPE_SECONDS
                is_long |= has_whole_line and len(line.items) > queue.prices.chunk_items
                is_full = (is_long and not len(batch) % queue.prices.chunk_items) or len(batch) >= entry.batch_items
                if batch and (is_full or self._end_of(queue, len(batch) + 1, seconds) > tightest):
                    break
                batch.append(entry)
                room = min(room, entry.batch_items)
                self.served = max(self.served, line.share.served)
                line.share.served += added / line.share.weight
            line.leave(entry)
            if line.items:
                heapq.heappush(lines, (line.share.served, number, line))
            else:
                has_whole_line = True
        return batch

    def _is_worth_running(self, queue: ModelQueue, entry: Entry) -> bool:
        if entry.output.done():
            return False
        if self._end_of(queue, 1, queue.prices.seconds(entry.work)) < entry.deadline:
            return True
        entry.output.set_exception(DeadlineError("the request waited until its deadline could not be met any more"))
        return False

    def _end_of(self, queue: ModelQueue, items: int, seconds: float) -> float:
        """Predict when an envelope would be back that leaves now, with so many items that take so many seconds."""
        envelope = queue.prices.fixed + seconds + queue.prices.padding(items)
        return self._clock() + envelope * (1 + queue.prices.deviation)
