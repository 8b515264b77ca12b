"""How many items may be with the gateway at once: more while it keeps up, half as many when it says that it does not.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), as in TCP: one more after each round of successes, a
half after a refusal. Refusals of items that were sent before the last halving are of the same overload and do not
halve again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A place in a window.

    Attributes:
        epoch: Number of halvings before it was taken.
    """

    epoch: int


class Window:
    """Places for items; for one event loop."""

    def __init__(
        self,
        most: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with all places.

        Args:
            most: The most places, at least 1.
            clock: Monotonic seconds.
            sleep: Waits the seconds it is given.
        """
        self._most, self._limit = most, float(most)
        self._clock, self._sleep = clock, sleep
        self._taken, self._epoch, self._resume = 0, 0, clock()
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """The places there are now, at least 1."""
        return int(self._limit)

    async def take(self) -> Place:
        """Wait for a place, and for the end of a pause."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken < self.limit)
            self._taken += 1
        try:
            while (pause := self._resume - self._clock()) > 0:
                await self._sleep(pause)
        except BaseException:
            self._taken -= 1
            raise
        return Place(self._epoch)

    async def give_back(self) -> None:
        """Free a place."""
        async with self._changed:
            self._taken -= 1
            # No more than there is room for: to wake everybody for each place would cost more than a picture's I/O.
            self._changed.notify(max(0, self.limit - self._taken))

    def succeeded(self) -> None:
        """Count a success: as many as there are places make one place more."""
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def refused(self, place: Place, pause: float) -> bool:
        """Count a refusal: half the places, and a pause for all.

        Args:
            place: The place that the refused item had.
            pause: Seconds, at least 0.

        Returns:
            Whether it was the first of its overload.
        """
        self._resume = max(self._resume, self._clock() + pause)
        if place.epoch < self._epoch:
            return False
        self._epoch += 1
        self._limit = max(1.0, self._limit / 2)
        return True
