"""One budget of bytes for the whole process: messages, pictures and answers take from it before they are held.

Pictures never take the last eighth: calls without any, which take little, find room beside any number of uploads. Nor
does one caller take more than half of what pictures may: others find room beside uploads that it never finishes.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple, Self

from services.gateway.call import current_call
from services.gateway.errors import BudgetError
from services.gateway.telemetry.metrics import Metrics
from services.waiting import is_done_within

PICTURE_SHARE = 7 / 8
CALLER_SHARE = 1 / 2
# Bytes held for each byte of a picture: in the request, in the work item, in the envelope, and in the envelope as it is
# sent to a worker. Measured: beside 1,024 uploads of 4 MB the process grows by 1.2 to 1.5 times the total.
PICTURE_COPIES = 4


class _Waiter(NamedTuple):
    size: int
    caller: str
    grows: bool
    granted: asyncio.Future[None]


class Budget:
    """Bytes that may be held at once; who finds none left waits in line for a while."""

    def __init__(
        self,
        total: int,
        patience: float,
        metrics: Metrics,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with nothing taken.

        Args:
            total: The most bytes.
            patience: The most seconds to wait for some.
            metrics: Where `gantry_memory_bytes` stands.
            pause: Lets a number of seconds pass.
        """
        self._total, self._patience, self._pause = total, patience, pause
        self._taken = metrics.memory_bytes.labels("taken")
        metrics.memory_bytes.labels("total").set(total)
        self._lines: dict[bool, list[_Waiter]] = {False: [], True: []}
        # What each caller has for pictures.
        self._held: Counter[str] = Counter()
        self.taken = 0

    def largest(self, *, pictures: bool) -> int:
        """Return the most bytes that can be taken at once, with or without pictures."""
        return int(self._total * PICTURE_SHARE) if pictures else self._total

    async def take(self, size: int, *, pictures: bool, caller: str = "", grows: bool = False) -> None:
        """Take bytes, after all who have asked for the same before.

        Args:
            size: How many; no more than `largest`.
            pictures: Whether they are for pictures from a caller.
            caller: Whose share they are from; empty for nobody's.
            grows: Whether they are for something that has some already, which no share holds up.

        Raises:
            BudgetError: There were not so many left for as long as the patience lasts.
        """
        line, waiter = self._lines[pictures], _Waiter(size, caller, grows, asyncio.get_running_loop().create_future())
        if not line and self._has(size, pictures=pictures) and not self._has_its_share(waiter):
            self._note(size, caller)
            return
        line.append(waiter)
        # Thousands of a caller who has its share are not gone through for each that comes or goes.
        if not self._has_its_share(waiter):
            self._grant()
        if waiter.granted.done():
            return
        try:
            await is_done_within(waiter.granted, self._patience, self._pause)
        except asyncio.CancelledError:
            if waiter.granted.done():
                self.give(size, caller)
            raise
        finally:
            if not waiter.granted.done():
                line.remove(waiter)
                # Who stood behind may ask for less.
                if not self._has_its_share(waiter):
                    self._grant()
        if not waiter.granted.done():
            if self._has_its_share(waiter):
                raise BudgetError(f"pictures of this caller hold {self._held[caller]} bytes, as many as one may have")
            raise BudgetError(f"the gateway holds {self.taken} of {self._total} bytes, and this needs {size} more")

    def give(self, size: int, caller: str = "") -> None:
        """Give bytes back that a caller had."""
        self._note(-size, caller)
        self._grant()

    def _grant(self) -> None:
        for pictures, line in self._lines.items():
            for waiter in list(line):
                if self._has_its_share(waiter):
                    continue
                if not self._has(waiter.size, pictures=pictures):
                    break
                line.remove(waiter)
                self._note(waiter.size, waiter.caller)
                waiter.granted.set_result(None)

    def _has_its_share(self, waiter: _Waiter) -> bool:
        """Whether a caller has as much already as one may; the first that it asks for may be more."""
        held = 0 if waiter.grows else self._held[waiter.caller]
        return bool(held) and held + waiter.size > CALLER_SHARE * self.largest(pictures=True)

    def _has(self, size: int, *, pictures: bool) -> bool:
        return self.taken + size <= self.largest(pictures=pictures)

    def _note(self, size: int, caller: str) -> None:
        if caller:
            self._held[caller] += size
            if not self._held[caller]:
                del self._held[caller]
        self.taken += size
        self._taken.set(self.taken)


class Hold:
    """What one call, or one picture of a stream, has of the budget: `with Hold(budget) as hold: ...` gives it back."""

    def __init__(self, budget: Budget | None, *, pictures: bool) -> None:
        """Begin with nothing.

        Args:
            budget: Where to take from; None where nothing is counted.
            pictures: Whether it is for pictures from a caller.
        """
        self._budget, self.pictures = budget, pictures
        self._caller = current_call().caller.id if pictures else ""
        self.bytes = 0

    def __enter__(self) -> Self:
        """Do nothing: it has nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what it has."""
        self.shrink(self.bytes)

    async def grow(self, size: int) -> None:
        """Take more.

        Args:
            size: How many bytes; of more than can ever be had, all that can.

        Raises:
            BudgetError: As of `Budget.take`; it keeps what it had.
        """
        if self._budget:
            size = max(0, min(size, self._budget.largest(pictures=self.pictures) - self.bytes))
            await self._budget.take(size, pictures=self.pictures, caller=self._caller, grows=self.bytes > 0)
            self.bytes += size

    def shrink(self, size: int) -> None:
        """Give a part back."""
        size = max(0, min(size, self.bytes))
        self.bytes -= size
        if self._budget and size:
            self._budget.give(size, self._caller)

    async def resize(self, size: int) -> None:
        """Take or give back what is missing to a size; errors as of `grow`."""
        if size > self.bytes:
            await self.grow(size - self.bytes)
        else:
            self.shrink(self.bytes - size)

    def use(self) -> None:
        """Have `current_hold` return it in this task, and in tasks that it begins."""
        _current.set(self)


_current: ContextVar[Hold | None] = ContextVar("gantry_hold", default=None)


def current_hold() -> Hold:
    """Return what the call that is being served has; outside of any, a hold of no budget."""
    return _current.get() or Hold(None, pictures=False)
