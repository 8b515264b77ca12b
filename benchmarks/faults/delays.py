"""Callers who are refused, wait as they are asked to, and call again."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc

from benchmarks.faults.callers import Call, median_seconds, retry_seconds, translating
from benchmarks.faults.case import Case, Finding, at_least, at_most, beside
from benchmarks.faults.scene import Scene, connection

_MODEL, _SIDE = "horse2zebra", 64
_CONNECTIONS, _AT_ONCE = 12, 8
_OVERLOAD = 2.5
_TRIES = 3
# What one call takes alone, so many times.
_DEADLINE_COSTS = 8.0
_LONG_SECONDS = 60.0


@dataclass
class _Came:
    """What came of many calls.

    Attributes:
        tries: Statuses of the first tries, of the second, and so on.
        unsaid: Refusals that did not say how long to wait.
    """

    tries: list[Counter[str]] = field(default_factory=lambda: [Counter() for _ in range(_TRIES)])
    unsaid: int = 0

    def share(self, number: int) -> float:
        """Which part of the tries of this number were served."""
        return self.tries[number]["OK"] / max(self.tries[number].total(), 1)


async def _gateway(scene: Scene) -> list[Finding]:
    with scene.gateway(_MODEL) as gateway:
        async with AsyncExitStack() as open_:
            calls = [translating(await open_.enter_async_context(connection(gateway.address)), _MODEL, _SIDE)
                     for _ in range(_CONNECTIONS)]  # fmt: skip
            cost, rate = await median_seconds(calls[0]), await _rate(calls[:_AT_ONCE])
            many = scene.pick(400, 120)
            at_once = await _call(calls, many, 0.0, _DEADLINE_COSTS * cost)
            one_by_one = await _call(calls, many, 1 / (_OVERLOAD * rate), _DEADLINE_COSTS * cost)
    return [
        beside("one call alone", cost * 1000, "{:.0f} ms"),
        beside("served a second, of 8 at a time", rate, "{:.0f}"),
        *_figures("all at once", at_once),
        *_figures(f"{_OVERLOAD} times too many", one_by_one),
    ]


def _figures(kind: str, came: _Came) -> list[Finding]:
    return [
        beside(f"{kind}: served at the first try", came.share(0), "{:.0%}"),
        beside(f"{kind}: second tries", came.tries[1].total()),
        at_least(f"{kind}: served at the second try", came.share(1), 0.95, "{:.0%}", timed=True),
        beside(f"{kind}: served at the third try", came.share(2), "{:.0%}"),
        at_most(f"{kind}: refused without a delay", came.unsaid, 0),
    ]


async def _call(calls: list[Call], many: int, every: float, deadline: float) -> _Came:
    """Begin a call every so often; each is tried again as it is asked to be."""
    came = _Came()

    async def one(call: Call) -> None:
        for statuses in came.tries:
            try:
                await call(deadline)
            except grpc.aio.AioRpcError as error:
                statuses[error.code().name] += 1
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    return
                delay = retry_seconds(error)
                came.unsaid += delay is None
                await asyncio.sleep(delay or 0.0)
            else:
                statuses["OK"] += 1
                return

    begun, running = time.perf_counter(), []
    for number in range(many):
        await asyncio.sleep(max(0.0, begun + number * every - time.perf_counter()))
        running.append(asyncio.create_task(one(calls[number % len(calls)])))
    await asyncio.gather(*running)
    return came


async def _rate(calls: list[Call], seconds: float = 4.0) -> float:
    """Calls that are served a second, where so many are always under way."""
    begun, served = time.perf_counter(), 0

    async def press(call: Call) -> None:
        nonlocal served
        while time.perf_counter() < begun + seconds:
            await call(_LONG_SECONDS)
            served += 1

    await asyncio.gather(*map(press, calls))
    return served / (time.perf_counter() - begun)


CASE = Case(
    "delays",
    "Callers who come back as asked",
    f"Many callers want a picture of {_SIDE}×{_SIDE} translated, with a deadline of {_DEADLINE_COSTS:g} times what one "
    "takes alone. Who is refused waits exactly as long as the refusal says, and calls again with as long a deadline. "
    f"First all call at once; then they begin {_OVERLOAD} times as fast as they can be served, so that those who come "
    "back meet others who call for the first time.",
    _gateway,
)
