"""Thousands of calls of every kind, half of which are cancelled: the others get their answers, and nothing is left."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc

from benchmarks.faults.case import Case, Finding, at_most, beside
from benchmarks.faults.questions import (
    Answer,
    Question,
    sample,
    sample_stream,
    translate,
    translate_stream,
    traverse,
)
from benchmarks.faults.scene import Gateway, Scene, connection
from services.client.errors import read_error

CALLERS, CONNECTIONS, VARIANTS = 240, 8, 6
_CLASSES, _CODES, _TRANSLATION = "mnist-cgan", "mnist-infogan", "horse2zebra"
# Some are done before they are cancelled.
_CANCELLED = 0.65
_PATIENCE_SECONDS = 120.0
_REST_SECONDS = 10.0


def _questions(variant: int) -> list[Question]:
    """One call of every kind."""
    side = 16 + 8 * (variant % 3)
    return [
        sample(_CLASSES, variant, 1 + variant),
        sample_stream(_CLASSES, variant, 2 + variant),
        traverse(_CODES, variant, 2 + variant),
        translate(_TRANSLATION, variant, side),
        translate_stream(_TRANSLATION, variant, side),
    ]


@dataclass
class _Outcome:
    """What came of all calls.

    Attributes:
        counts: How often each way of ending came: "cancelled", "same", "changed", "refused", or a status.
        seconds: About how long each call takes that is not cancelled.
    """

    counts: Counter[str] = field(default_factory=Counter)
    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(lambda: 1.0))


async def _gateway(scene: Scene) -> list[Finding]:
    with scene.gateway(_CLASSES, _CODES, _TRANSLATION) as gateway:
        questions = [question for variant in range(VARIANTS) for question in _questions(variant)]
        async with connection(gateway.address) as channel:
            alone = [await question.ask(channel, _PATIENCE_SECONDS) for question in questions]
        before = await _at_rest(gateway, None)
        outcome, calls = _Outcome(), scene.pick(10_000, 1_000)
        numbers = iter(range(calls))
        async with AsyncExitStack() as open_:
            channels = [await open_.enter_async_context(connection(gateway.address)) for _ in range(CONNECTIONS)]
            await asyncio.gather(*(_call(channels[caller % CONNECTIONS], numbers, questions, alone, outcome)
                                   for caller in range(CALLERS)))  # fmt: skip
        return _figures(calls, outcome, before, await _at_rest(gateway, before))


async def _call(
    channel: grpc.aio.Channel,
    numbers: Iterator[int],
    questions: list[Question],
    alone: list[Answer],
    outcome: _Outcome,
) -> None:
    """Make one call after another for as long as there are numbers, and cancel many."""
    for number in numbers:
        rng = random.Random(number)
        which, begun = rng.randrange(len(questions)), time.perf_counter()
        calling = asyncio.ensure_future(_patiently(questions[which], channel, outcome))
        if rng.random() < _CANCELLED:
            asyncio.get_running_loop().call_later(rng.uniform(0.0, 1.2) * outcome.seconds[which], calling.cancel)
        try:
            answer = await calling
        except asyncio.CancelledError:
            outcome.counts["cancelled"] += 1
        except grpc.aio.AioRpcError as error:
            outcome.counts[error.code().name] += 1
        else:
            outcome.counts["same" if answer == alone[which] else "changed"] += 1
            outcome.seconds[which] += 0.2 * (time.perf_counter() - begun - outcome.seconds[which])


async def _patiently(question: Question, channel: grpc.aio.Channel, outcome: _Outcome) -> Answer:
    """Make a call, and again where it is refused for now."""
    while True:
        try:
            return await question.ask(channel, _PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            seconds = read_error(error).retry_seconds
            if seconds is None or error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            outcome.counts["refused"] += 1
            await asyncio.sleep(seconds)


@dataclass(frozen=True)
class _Rest:
    """What a gateway has when nobody calls.

    Attributes:
        calls: Calls that are served now.
        waiting: Items that wait.
        held: Bytes of messages, pictures and answers.
        unended: Calls that began, by its counters, and did not end.
        broken: Items that failed or expired.
        descriptors: Open ones, of all its processes.
        processes: Their ids.
    """

    calls: float
    waiting: float
    held: float
    unended: float
    broken: float
    descriptors: int
    processes: frozenset[int]


async def _at_rest(gateway: Gateway, before: _Rest | None) -> _Rest:
    """Wait a few seconds until a gateway has what it had before, and return what it has then."""
    give_up = time.monotonic() + _REST_SECONDS
    while True:
        await asyncio.sleep(1.0)
        if (now := await _look(gateway)) == before or time.monotonic() > give_up:
            return now


async def _look(gateway: Gateway) -> _Rest:
    tree = gateway.tree()
    return _Rest(
        calls=await gateway.metric("gantry_calls_in_flight"),
        waiting=await gateway.metric("gantry_queue_items"),
        held=await gateway.metric("gantry_memory_bytes", state="taken"),
        unended=await gateway.metric("grpc_server_started_total") - await gateway.metric("grpc_server_handled_total"),
        broken=sum([await gateway.metric("gantry_items_total", outcome=end) for end in ("failed", "expired")]),
        descriptors=sum(process.num_fds() for process in tree),
        processes=frozenset(process.pid for process in tree),
    )


def _figures(calls: int, outcome: _Outcome, before: _Rest, after: _Rest) -> list[Finding]:
    counts = outcome.counts
    others = calls - counts["cancelled"] - counts["same"] - counts["changed"]
    return [
        beside("calls", calls),
        beside("cancelled", counts["cancelled"]),
        at_most("answers that are not, byte for byte, those of the same call alone", counts["changed"], 0),
        at_most("other statuses", others, 0),
        beside("refused for now, and made again", counts["refused"]),
        at_most("calls served, afterwards", after.calls, before.calls),
        at_most("items waiting, afterwards", after.waiting, before.waiting),
        at_most("bytes held, afterwards", after.held, before.held),
        at_most("calls begun that did not end, by the metrics", after.unended, before.unended),
        at_most("items that failed or expired", after.broken - before.broken, 0),
        at_most("descriptors more than before", after.descriptors - before.descriptors, 0),
        at_most("processes more or other than before", len(after.processes ^ before.processes), 0),
    ]


CASE = Case(
    "cancelled",
    "Cancelled calls",
    f"{CALLERS} callers make calls of five kinds, of pictures and streams of them, over {CONNECTIONS} connections. "
    "About half are cancelled, each at a random moment. The others are compared with what the same calls bring alone.",
    _gateway,
)
