"""More calls than the machine can serve, with deadlines that many of them cannot meet."""

import asyncio
import random
import statistics
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc

from benchmarks.faults.callers import Call, directly_translating, median_seconds, translating
from benchmarks.faults.case import Case, Finding, at_least, at_most, beside
from benchmarks.faults.scene import Gateway, Scene, connection

CALLERS, OVERLOAD, SEEDS = 12, 3.6, (1, 2, 3)
SIDE = 64
_MODEL = "horse2zebra"
# Deadlines of 2 to 80 ms where an item takes 10 ms of work, and longer by as much as it takes longer.
_SHORTEST, _LONGEST = 0.2, 8.0
# An answer may be read a while after it came: the callers share this process.
_COARSE_SECONDS = 0.1


@dataclass
class _Storm:
    """What came of one storm.

    Attributes:
        cost: Seconds that a call takes alone.
        ceiling: Calls that one caller after the other would have had answered in the same time.
        statuses: How often each status came.
        next_seconds: How long a call right after it took.
        answered: Items whose answers were sent, by the gateway's own count.
        unawaited: Items that ran although nobody awaited them.
    """

    cost: float
    ceiling: float
    statuses: Counter[str]
    next_seconds: float
    answered: float = 0.0
    unawaited: float = 0.0

    @property
    def in_time(self) -> float:
        return self.statuses["OK"] / self.ceiling


async def _gateway(scene: Scene) -> list[Finding]:
    with scene.gateway(_MODEL) as gateway:
        async with AsyncExitStack() as open_:
            calls = [translating(await open_.enter_async_context(connection(gateway.address)), _MODEL, SIDE)
                     for _ in range(CALLERS)]  # fmt: skip
            cost = await median_seconds(calls[0])
            storms = [await _counted(gateway, calls, cost, scene, seed) for seed in SEEDS]
    executed = sum(storm.answered + storm.unawaited for storm in storms)
    return [
        *_figures(storms),
        at_most("items run that nobody awaited", sum(s.unawaited for s in storms) / executed, 0.03, "{:.1%}"),
        at_most("answers after their deadline", sum(s.statuses["late"] for s in storms), 0),
    ]


async def _direct(scene: Scene) -> list[Finding]:
    async with scene.torchserve(_MODEL) as server, AsyncExitStack() as open_:
        calls = [directly_translating(await open_.enter_async_context(connection(server.address)), _MODEL, SIDE)
                 for _ in range(CALLERS)]  # fmt: skip
        cost = await median_seconds(calls[0])
        return _figures([await _storm(calls, cost, scene, seed) for seed in SEEDS], wanted=False)


def _figures(storms: list[_Storm], wanted: bool = True) -> list[Finding]:
    in_time = statistics.median(storm.in_time for storm in storms)
    # An item of 10 ms may be followed within 50 ms: five times what it takes.
    next_call, most = statistics.median(storm.next_seconds for storm in storms), 5 * storms[0].cost
    what, after = "answered in time, of the serial ceiling", "the next call"
    milliseconds = "{:.0f} ms"
    return [
        beside("one call alone", storms[0].cost * 1000, milliseconds),
        at_least(what, in_time, 0.85, "{:.0%}", timed=True) if wanted else beside(what, in_time, "{:.0%}"),
        at_most(after, next_call * 1000, most * 1000, milliseconds, timed=True) if wanted
        else beside(after, next_call * 1000, milliseconds),
    ]  # fmt: skip


async def _counted(gateway: Gateway, calls: list[Call], cost: float, scene: Scene, seed: int) -> _Storm:
    async def counts() -> tuple[float, float]:
        return (
            await gateway.metric("gantry_items_total", model=_MODEL, outcome="answered"),
            await gateway.metric("gantry_unawaited_items_total", model=_MODEL),
        )

    before = await counts()
    storm = await _storm(calls, cost, scene, seed)
    storm.answered, storm.unawaited = (after - was for after, was in zip(await counts(), before, strict=True))
    return storm


async def _storm(calls: list[Call], cost: float, scene: Scene, seed: int) -> _Storm:
    """Begin a call every so often, whatever became of those before."""
    rng, statuses = random.Random(seed), Counter[str]()

    async def one(call: Call, seconds: float) -> None:
        begun = time.perf_counter()
        try:
            await call(seconds)
        except grpc.aio.AioRpcError as error:
            statuses[error.code().name] += 1
        else:
            statuses["OK"] += 1
            statuses["late"] += time.perf_counter() - begun > seconds + _COARSE_SECONDS

    begun, running = time.perf_counter(), []
    for number in range(scene.pick(1800, 400)):
        await asyncio.sleep(max(0.0, begun + number * cost / OVERLOAD - time.perf_counter()))
        seconds = rng.uniform(_SHORTEST, _LONGEST) * cost
        running.append(asyncio.create_task(one(calls[number % len(calls)], seconds)))
    await asyncio.gather(*running)
    ceiling = (time.perf_counter() - begun) / cost
    begun = time.perf_counter()
    await calls[0](600.0)
    return _Storm(cost, ceiling, statuses, time.perf_counter() - begun)


CASE = Case(
    "storm",
    "A storm of calls",
    f"{CALLERS} callers begin 3.6 times as many translations of {SIDE}×{SIDE} as one after the other would be served, "
    "with deadlines from a fifth of what one takes to eight times that; three seeds, medians.",
    _gateway,
    _direct,
)
