"""What a caller may take of the gateway: images a second, and images at once. Says no, and when to ask again.

Only callers with limits are remembered, and each only until it would be as if it had never called.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from services.gateway.call import Caller, CallerLimits
from services.gateway.errors import LimitError

_SWEEP_SECONDS = 60.0
# Of an image: what floating-point numbers may be off.
_ROUNDING = 1e-6


@dataclass
class _Account:
    """What a caller has taken.

    Attributes:
        spent: Images that its rate has not paid for yet, as of `since`.
        since: When that was so.
        at_once: Images that it has not given back.
    """

    spent: float
    since: float
    at_once: int = 0

    def settle(self, limits: CallerLimits, now: float) -> None:
        """Let the rate pay for what was spent."""
        rate = limits.images_per_second
        self.spent = 0.0 if rate is None else max(0.0, self.spent - rate * (now - self.since))
        self.since = now


class Allowances:
    """Keeps every caller within its own limits."""

    def __init__(self, max_images: int, clock: Callable[[], float]) -> None:
        """Begin with no caller.

        Args:
            max_images: The most images of one request, which a caller may always take at once after a pause.
            clock: Seconds.
        """
        self._max_images, self._clock = max_images, clock
        self._accounts: dict[str, tuple[CallerLimits, _Account]] = {}
        self._swept = clock()

    def __len__(self) -> int:
        """Return the number of callers that are remembered."""
        return len(self._accounts)

    def take(self, caller: Caller, images: int, frees_seconds: Callable[[], float] = lambda: 1.0) -> None:
        """Let a caller have images, all or none.

        Args:
            caller: Who asks.
            images: How many.
            frees_seconds: Says how long what the caller has at once is expected to take, for the refusal.

        Raises:
            LimitError: They would pass a limit; the message names it, and `retry_seconds` says when to ask again.
        """
        now, limits = self._clock(), caller.limits
        self._sweep(now)
        if limits.images_per_second is None and limits.concurrent_images is None:
            return
        _, account = self._accounts.get(caller.id, (limits, _Account(0.0, now)))
        account.settle(limits, now)
        self._check_at_once(limits, account, images, frees_seconds)
        self._check_rate(limits, account, images)
        account.spent += images
        account.at_once += images
        self._accounts[caller.id] = limits, account

    def give_back(self, caller: Caller, images: int) -> None:
        """Note that images which a caller took are made, have failed, or are wanted no more."""
        if known := self._accounts.get(caller.id):
            known[1].at_once = max(0, known[1].at_once - images)

    def _check_at_once(
        self, limits: CallerLimits, account: _Account, images: int, frees_seconds: Callable[[], float]
    ) -> None:
        most = limits.concurrent_images
        if most is None or account.at_once + images <= most:
            return
        if images > most:
            raise LimitError(f"{images} images in one request; this caller's concurrent_images is {most}", None)
        raise LimitError(
            f"{account.at_once} images of this caller are under way and {images} more are asked for; "
            f"its concurrent_images is {most}",
            frees_seconds(),
        )

    def _check_rate(self, limits: CallerLimits, account: _Account, images: int) -> None:
        rate = limits.images_per_second
        if rate is None:
            return
        excess = account.spent + images - max(rate, self._max_images)
        if excess > _ROUNDING:
            # RetryInfo is in milliseconds, and who comes back then is to be served.
            seconds = math.ceil(excess / rate * 1000) / 1000
            raise LimitError(
                f"this caller's images_per_second is {rate:g}; {images} more are free in {seconds:.2f} s", seconds
            )

    def _sweep(self, now: float) -> None:
        """Forget callers that have given everything back and whose rate has paid for everything."""
        if now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = now
        for caller, (limits, account) in list(self._accounts.items()):
            account.settle(limits, now)
            if not account.at_once and not account.spent:
                del self._accounts[caller]
