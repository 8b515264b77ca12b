"""Whether and when a refused call is tried again: only where the gateway says that it helps, and in time."""

from services.client.errors import GantryError

MAX_ATTEMPTS = 4


def pause_before_retry(error: GantryError, attempts: int, seconds_left: float) -> float | None:
    """Decide what follows a refused call.

    Args:
        error: The refusal.
        attempts: How often the call has been tried, at least 1.
        seconds_left: Until the caller's deadline; may be infinite.

    Returns:
        Seconds to wait before the next attempt, or None where there is to be none.
    """
    if error.retry_seconds is None or attempts >= MAX_ATTEMPTS or error.retry_seconds >= seconds_left:
        return None
    return error.retry_seconds
