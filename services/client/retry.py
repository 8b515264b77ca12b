"""Whether and when a refused call is tried again: only where the gateway says that it helps, and in time."""

import math
from collections.abc import Callable

import grpc

from services.client.errors import GantryError, read_error

MAX_ATTEMPTS = 4


def pause_before_retry(
    error: GantryError, attempts: int, seconds_left: float, most: int = MAX_ATTEMPTS
) -> float | None:
    """Decide what follows a refusal.

    Args:
        error: The refusal.
        attempts: How often it has been tried, at least 1.
        seconds_left: Until the caller's deadline; may be infinite.
        most: The most attempts there are to be.

    Returns:
        Seconds to wait before the next attempt, or None where there is to be none.
    """
    if error.retry_seconds is None or attempts >= most or error.retry_seconds >= seconds_left:
        return None
    return error.retry_seconds


class Attempts:
    """The attempts of one call, and the time that is left for them."""

    def __init__(self, timeout: float | None, clock: Callable[[], float], most: int = MAX_ATTEMPTS) -> None:
        """Begin the call.

        Args:
            timeout: Deadline of the call in seconds, retries included; None for no deadline.
            clock: Monotonic seconds.
            most: The most attempts there are to be.
        """
        self._clock, self._most = clock, most
        self._deadline = math.inf if timeout is None else clock() + timeout
        self._failed = 0

    def seconds_left(self) -> float | None:
        """Return the seconds until the deadline, or None where there is no deadline."""
        return None if math.isinf(self._deadline) else self._deadline - self._clock()

    def pause_after(self, error: grpc.RpcError) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            error: What the attempt raised.

        Raises:
            GantryError: There is to be no other attempt.
        """
        self._failed += 1
        refusal = read_error(error)
        pause = pause_before_retry(refusal, self._failed, self._deadline - self._clock(), self._most)
        if pause is None:
            raise refusal from error
        return pause
