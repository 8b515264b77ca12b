"""Room that is kept for a caller who was refused and asked to come back.

Who comes back when asked should be let in, though others came meanwhile. Many never come back; so as much room is kept
as the caller has used of what was kept before, or all callers have, where it is new.
"""

from bisect import insort
from typing import NamedTuple

# The most that are remembered of one caller and model.
_MOST = 1024
# Room is kept for a caller this much later than asked.
_WAITED_SECONDS = 0.05
# A caller later than this, in seconds and as a share of the delay, has gone elsewhere.
_GRACE_SECONDS, _GRACE_SHARE = 0.25, 0.1
# What one booking that was used, or was not, says of the next.
_STEP = 0.1
_UNKNOWN_SHARE = 0.8


class _Booking(NamedTuple):
    due: float
    lapses: float
    seconds: float
    connection: str


class Experience:
    """How many bookings are used.

    Attributes:
        used_share: That, as a share, as far as is known.
    """

    def __init__(self, used_share: float = _UNKNOWN_SHARE) -> None:
        """Begin with what is thought."""
        self.used_share = used_share

    def learn(self, used: bool) -> None:
        """Note that one was used, or was not."""
        self.used_share += _STEP * (used - self.used_share)


class Bookings:
    """What one caller was asked to come back with, for one model."""

    def __init__(self, of_all: Experience) -> None:
        """Begin with none.

        Args:
            of_all: Experience with all callers of the model.
        """
        self._booked: list[_Booking] = []
        self._of_all: Experience = of_all
        self._own: Experience | None = None

    @property
    def used_share(self) -> float:
        """How many of them the caller uses, as far as is known."""
        return (self._own or self._of_all).used_share

    @property
    def likelihood(self) -> float:
        """How likely the caller comes back when asked, from 0 to 1; 1 as long as nothing speaks against it."""
        return min(self.used_share / _UNKNOWN_SHARE, 1.0)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._booked)

    def add(self, now: float, due: float, seconds: float, connection: str = "") -> None:
        """Note that the caller was asked to come back.

        Args:
            now: The time.
            due: When.
            seconds: Of one slot, that its work is predicted to take.
            connection: That it came by.
        """
        if len(self._booked) < _MOST:
            lapses = due + _GRACE_SECONDS + _GRACE_SHARE * (due - now)
            insort(self._booked, _Booking(due, lapses, seconds, connection))

    def use(self, now: float, connection: str = "") -> bool:
        """Say whether a call of the caller is one that was asked for, and if so let its booking go.

        A call that was not asked for looks the same. So that it does not take the room of one that is about to come,
        only what came by the same connection counts at first.

        Args:
            now: The time.
            connection: That the call came by.
        """
        self._lapse(now)
        for booking in self._booked:
            if booking.due > now:
                break
            if booking.connection == connection or booking.due + _WAITED_SECONDS < now:
                self._booked.remove(booking)
                self._learn(used=True)
                return True
        return False

    def seconds(self, now: float, until: float) -> float:
        """Return the seconds that are kept for calls that are due by a time."""
        self._lapse(now)
        total = 0.0
        for booking in self._booked:
            if booking.due > until:
                break
            # No slot stays empty for a late caller, who is still let in.
            if booking.due + _WAITED_SECONDS >= now:
                total += booking.seconds
        return self.used_share * total

    def _lapse(self, now: float) -> None:
        while self._booked and self._booked[0].lapses < now:
            self._booked.pop(0)
            self._learn(used=False)

    def _learn(self, *, used: bool) -> None:
        self._own = self._own or Experience(self._of_all.used_share)
        self._own.learn(used)
        self._of_all.learn(used)
