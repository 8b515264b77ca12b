"""When to start something again that has ended, and when to give it up."""

import math
from collections.abc import Callable

# Seconds before each start of a row. What was killed once comes back at once; what cannot run is given up after half a
# dozen lives, so that whoever watches the process learns of it from its end.
PAUSES = (0.0, 1.0, 4.0, 15.0, 60.0)
# A life so long is no failure of the start before it: the row begins anew.
STEADY_SECONDS = 300.0


class Restarts:
    """The starts of something that is meant to run for ever."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with something that has just been started.

        Args:
            clock: Monotonic seconds.
        """
        self._clock = clock
        self._in_a_row = 0
        self._up_since = clock()

    def next_pause(self) -> float | None:
        """Note that it has ended, or did not start.

        Returns:
            Seconds to wait before it is started again; None to give it up.
        """
        if self._clock() - self._up_since >= STEADY_SECONDS:
            self._in_a_row = 0
        self._up_since = math.inf
        self._in_a_row += 1
        return PAUSES[self._in_a_row - 1] if self._in_a_row <= len(PAUSES) else None

    def note_start(self) -> None:
        """Note that it runs again."""
        self._up_since = self._clock()
