"""How fast pictures are read: each keeps the event loop for as long as its bytes take to be copied.

Where a thousand of several megabytes are sent at once, reading them one after another would keep all other calls out
for as long as that takes. So reading stops for a while after every picture.
"""

import asyncio
from collections.abc import Awaitable, Callable

# Beside 1,024 uploads of 4 MB, reading one keeps the event loop of a machine of two cores for 17 to 30 ms. At twice
# this pace some of another caller's samples came too late there, and with none a third of them.
UPLOAD_BYTES_PER_SECOND = 16 << 20
# The weight of the last picture in what the next is expected to have.
_LAST_SHARE = 0.2


class Pace:
    """Spaces readings, so that no more bytes a second are read than it says."""

    def __init__(
        self,
        bytes_per_second: float,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with nothing read.

        Args:
            bytes_per_second: The most bytes a second, but for those of one picture.
            clock: Monotonic seconds.
            pause: Lets a number of seconds pass on that clock.
        """
        self._seconds_per_byte, self._clock, self._pause = 1 / bytes_per_second, clock, pause
        self._free, self._expected = clock(), 0.0

    async def wait(self) -> float:
        """Wait until a picture may be read.

        Returns:
            The bytes that it is expected to have, for `note`.
        """
        now, expected = self._clock(), self._expected
        begin = max(now, self._free)
        self._free = begin + expected * self._seconds_per_byte
        if begin > now:
            try:
                await self._pause(begin - now)
            except asyncio.CancelledError:
                self.note(expected, 0)
                raise
        return expected

    def note(self, expected: float, size: int) -> None:
        """Note how many bytes a picture had.

        Args:
            expected: What `wait` returned.
            size: The bytes; 0 where it was not read.
        """
        self._free += (size - expected) * self._seconds_per_byte
        if size:
            self._expected += _LAST_SHARE * (size - self._expected)
