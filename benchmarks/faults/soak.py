"""A mix of all calls for a long time, at four fifths of what the gateway can serve: does anything grow?"""

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass

import grpc
import psutil  # type: ignore[import-untyped]

from benchmarks.faults.callers import generation, noise
from benchmarks.faults.case import Case, Finding, at_most, beside
from benchmarks.faults.questions import Question, Tally, sample, sample_stream, translate, translate_stream, traverse
from benchmarks.faults.scene import Gateway, Scene, connection
from gantry.v1 import generation_pb2
from services.client.errors import read_error

SHARE, CANCELLED, BAD, SECONDS = 0.8, 0.05, 0.05, 30.0
MORE_MEMORY, MORE_BYTES, MORE_PROCESS_PARTS = 1.05, 20 << 20, 3
_SAMPLED, _WALKED, _TRANSLATED, _SIDE = "mnist-cgan", "mnist-infogan", "horse2zebra", 64
_CONNECTIONS, _CALLERS = 4, 16
_CAPACITY_SECONDS, _SETTLE_SECONDS = 10.0, 5.0
# A look a minute, more often in a short soak.
_LOOKS = 18
_LONGEST_LOOK_SECONDS = 60.0
_SHARES = 5
_MIX: list[tuple[float, list[Question]]] = [
    (0.4, [sample(_SAMPLED, seed) for seed in range(32)]),
    (0.15, [sample(_SAMPLED, seed, 16) for seed in range(8)]),
    (0.15, [sample_stream(_SAMPLED, seed, 16) for seed in range(8)]),
    (0.1, [traverse(_WALKED, seed, 9) for seed in range(8)]),
    (0.15, [translate(_TRANSLATED, seed, _SIDE) for seed in range(8)]),
    (0.05, [translate_stream(_TRANSLATED, 4 * seed, _SIDE) for seed in range(4)]),
]
_BAD_CODES = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


@dataclass(frozen=True)
class _Look:
    """What the gateway's processes hold at a moment.

    Attributes:
        memory: Bytes; pages that they share are counted once each.
        threads: Threads of all of them.
        descriptors: Their open files and sockets.
        waiting: Items in the queues.
    """

    memory: float
    threads: float
    descriptors: float
    waiting: float


class _Mix:
    """Callers of the mix, over a few connections; notes what becomes of the calls."""

    def __init__(self, channels: Sequence[grpc.aio.Channel]) -> None:
        self.tally = Tally()
        self.others = Counter[str]()
        self._channels, self._rng = channels, random.Random(0)

    async def learn(self) -> None:
        """Learn what every question brings alone."""
        await self.tally.learn(self._channels[0], [question for _, questions in _MIX for question in questions])

    async def capacity(self) -> float:
        """Return the calls of the mix that are answered a second, with as many callers as keep the gateway busy."""
        begun, done = time.perf_counter(), 0

        async def calling() -> None:
            nonlocal done
            while time.perf_counter() - begun < _CAPACITY_SECONDS:
                await self._one(self._draw())
                done += 1

        await asyncio.gather(*(calling() for _ in range(_CALLERS)))
        return done / (time.perf_counter() - begun)

    async def call(self) -> None:
        """Make one call: of the mix, one that is cancelled, or one that is at fault."""
        draw = self._rng.random()
        if draw < CANCELLED:
            await self._cancelled(self._draw())
        elif draw < CANCELLED + BAD:
            await self._bad()
        else:
            await self._one(self._draw())

    def _draw(self) -> Question:
        (questions,) = self._rng.choices([kind for _, kind in _MIX], [weight for weight, _ in _MIX])
        return self._rng.choice(questions)

    def _channel(self) -> grpc.aio.Channel:
        return self._rng.choice(self._channels)

    async def _one(self, question: Question) -> None:
        await self.tally.ask(self._channel(), question, SECONDS)

    async def _cancelled(self, question: Question) -> None:
        calling = asyncio.ensure_future(question.ask(self._channel(), SECONDS))
        await asyncio.sleep(self._rng.uniform(0.0, 0.05))
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        self.others["cancelled"] += 1

    async def _bad(self) -> None:
        stub, sampled = generation(self._channel()), generation_pb2.SampleRequest
        translated = generation_pb2.TranslateRequest(
            model=_TRANSLATED, direction=generation_pb2.DIRECTION_A_TO_B, image=noise(_SIDE)[:100]
        )
        try:
            await self._rng.choice((
                lambda: stub.Sample(sampled(model="none"), timeout=SECONDS),
                lambda: stub.Sample(sampled(model=_SAMPLED, label_ids=[99]), timeout=SECONDS),
                lambda: stub.Translate(translated, timeout=SECONDS),
            ))()  # fmt: skip
        except grpc.aio.AioRpcError as error:
            if error.code() in _BAD_CODES:
                self.others["at fault"] += 1
            else:
                self.tally.note(read_error(error), error.code())
        else:
            self.tally.lost["a call at fault was answered"] += 1


async def _gateway(scene: Scene) -> list[Finding]:
    async with AsyncExitStack() as open_:
        gateway = open_.enter_context(scene.gateway(_SAMPLED, _WALKED, _TRANSLATED))
        channels = [await open_.enter_async_context(connection(gateway.address)) for _ in range(_CONNECTIONS)]
        mix = _Mix(channels)
        await mix.learn()
        capacity = await mix.capacity()
        mix.tally = Tally(mix.tally.right)
        looks = await _soak(gateway, mix, SHARE * capacity, 60.0 * scene.soak_minutes)
        await asyncio.sleep(_SETTLE_SECONDS)
        left = await _left(gateway)
    return [beside("capacity, calls a second", capacity), *_ends(mix), *_growth(looks), at_most(*left, 0)]


async def _soak(gateway: Gateway, mix: _Mix, rate: float, seconds: float) -> list[_Look]:
    """Begin so many calls a second, whatever became of those before, and look at the gateway meanwhile."""
    begun, running = time.perf_counter(), set[asyncio.Task[None]]()
    looking = asyncio.create_task(_looks(gateway, seconds))
    rng, due = random.Random(1), 0.0
    while (due := due + rng.expovariate(rate)) < seconds:
        await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
        task = asyncio.create_task(mix.call())
        running.add(task)
        task.add_done_callback(running.discard)
    looks = await looking
    await asyncio.gather(*running)
    return looks


async def _looks(gateway: Gateway, seconds: float) -> list[_Look]:
    every, looks = min(seconds / _LOOKS, _LONGEST_LOOK_SECONDS), []
    for _ in range(int(seconds / every)):
        await asyncio.sleep(every)
        looks.append(await _look(gateway))
    return looks


async def _look(gateway: Gateway) -> _Look:
    memory, parts = await asyncio.to_thread(gateway.resident_bytes), [_parts(process) for process in gateway.tree()]
    threads, descriptors = (sum(part) for part in zip(*parts, strict=True))
    return _Look(memory, threads, descriptors, await gateway.metric("gantry_queue_items"))


def _parts(process: psutil.Process) -> tuple[int, int]:
    try:
        return process.num_threads(), process.num_fds()
    except psutil.NoSuchProcess:  # it ended meanwhile
        return 0, 0


async def _left(gateway: Gateway) -> tuple[str, float]:
    """Count what is still there when nobody calls."""
    calls, items = await gateway.metric("gantry_calls_in_flight"), await gateway.metric("gantry_queue_items")
    return "calls, items and bytes still held afterwards", calls + items + await gateway.metric(
        "gantry_memory_bytes", state="taken"
    )


def _ends(mix: _Mix) -> list[Finding]:
    calls = mix.tally.calls + mix.others.total()
    refused = mix.tally.refused.total() / calls
    return [
        beside("calls", calls),
        beside("of these cancelled by their callers", mix.others["cancelled"]),
        beside("of these at fault, and refused as such", mix.others["at fault"]),
        at_most("calls refused by contract", refused, 0.005, "{:.2%}", timed=True),
        *mix.tally.findings(),
    ]


def _growth(looks: Sequence[_Look]) -> list[Finding]:
    """Compare the second fifth of the time with the last."""
    fifth = len(looks) // _SHARES
    before, after = _middle(looks[fifth : 2 * fifth]), _middle(looks[-fifth:])
    # Where something else takes the cores, calls wait, and they are memory too.
    mib, memory = 1 << 20, "memory of all processes in the last fifth"
    threads, descriptors = after.threads - before.threads, after.descriptors - before.descriptors
    return [
        beside("memory of all processes in the second fifth", before.memory / mib, "MiB"),
        at_most(memory, after.memory / mib, (MORE_MEMORY * before.memory + MORE_BYTES) / mib, "MiB", timed=True),
        beside("threads in the second fifth", before.threads),
        at_most("threads more or less in the last fifth", abs(threads), MORE_PROCESS_PARTS),
        beside("descriptors in the second fifth", before.descriptors),
        at_most("descriptors more or less in the last fifth", abs(descriptors), MORE_PROCESS_PARTS),
        beside("items that wait, in the last fifth", after.waiting),
    ]


def _middle(looks: Sequence[_Look]) -> _Look:
    return _Look(*map(statistics.median, zip(*map(astuple, looks), strict=True)))


CASE = Case(
    "soak",
    "A long time near the limit",
    f"A mix of all calls that make pictures begins at random moments, at {SHARE:.0%} of the rate that {_CALLERS} "
    f"callers reach before, with deadlines of {SECONDS:.0f} s; {CANCELLED:.0%} are cancelled and {BAD:.0%} are at "
    "fault. What the gateway's processes hold is looked at throughout; medians of the second and the last fifth of the "
    "time.",
    _gateway,
)
