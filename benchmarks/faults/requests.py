"""Requests that are broken in thousands of ways, and connections that break the rules of HTTP/2."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc

from benchmarks.faults import attacks
from benchmarks.faults.attacks import ATTACKS
from benchmarks.faults.callers import generation
from benchmarks.faults.case import Case, Finding, at_least, at_most, beside
from benchmarks.faults.mutations import CLASSES, CODES, TRANSLATION, Request, requests
from benchmarks.faults.scene import Gateway, Scene, connection
from gantry.v1 import generation_pb2
from services.client.errors import read_error, read_item_error

CALLERS, CONNECTIONS, SEED = 64, 4, 1
_CONTRACT = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"}
# What gRPC answers by itself: to a deadline, a method that does not exist, and what is beyond its own limits.
_BY_GRPC = {
    "DEADLINE_EXCEEDED": "",
    "UNIMPLEMENTED": "",
    "RESOURCE_EXHAUSTED": "Received message larger than max",
}
# What grpc.aio makes of any status that comes while it still sends; the gateway's metrics have the true one.
_LOST_BY_CALLER = ("Internal error from Core", "Locally cancelled by application!")
_FAULTS = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS")
_STREAM = "TranslateStream"
_DEADLINES = (0.005, 5.0, 60.0, 60.0, 60.0, 60.0)
_PAUSE_SECONDS, _HEALTHY_SECONDS = 0.05, 30.0
_MIB = 1 << 20
_MOST_MORE_MIB = 128


@dataclass
class _Healthy:
    """What a caller met who did nothing wrong.

    Attributes:
        served: How many of its calls brought the right picture.
        failed: How many did not.
        longest: Seconds of the longest.
    """

    served: int = 0
    failed: int = 0
    longest: float = 0.0


@dataclass
class _Answers:
    """What came of mutated requests.

    Attributes:
        codes: How often each status came, those of pictures of streams too.
        odd: What is not in the contract, in words.
    """

    codes: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)

    def note(self, path: str, code: grpc.StatusCode, reason: str | None, text: str) -> None:
        """Count a status, and note where it is not in the contract."""
        if text in _LOST_BY_CALLER:
            self.codes["unknown: not done with sending"] += 1
            return
        self.codes[code.name] += 1
        is_of_grpc = code.name in _BY_GRPC and _BY_GRPC[code.name] in text
        has_reason = reason is not None or is_of_grpc or not path.startswith("/gantry.")
        if code.name not in _CONTRACT or not has_reason:
            self.odd[f"{path}: {code.name} {reason} {text[:200]}"] += 1


async def _gateway(scene: Scene) -> list[Finding]:
    with scene.gateway(CLASSES, CODES, TRANSLATION) as gateway:
        before = {process.pid for process in gateway.tree()}
        answers = _Answers()
        async with _healthy(gateway) as beside_mutated:
            await _send_all(gateway, scene.pick(20_000, 2_000), answers)
        resident = gateway.resident_bytes()
        async with _healthy(gateway) as beside_attacks:
            peak = await _attack(gateway, scene.pick(1.0, 0.1))
        await asyncio.sleep(5.0)
        grown = (gateway.resident_bytes() - resident) / _MIB
        ended = len(before - {process.pid for process in gateway.tree()})
        # One that is still busy a second after the last deadline is replaced: on a machine that others use, by chance.
        late = await gateway.metric("gantry_workers_lost_total", reason="overdue")
        faults = sum([await gateway.metric("grpc_server_handled_total", grpc_code=code) for code in _FAULTS])
        traces = gateway.log.read_text(errors="replace").count("Traceback")
    return [
        beside("mutated requests and their pictures answered", sum(answers.codes.values())),
        Finding("statuses", ", ".join(f"{code} {number:,}" for code, number in answers.codes.most_common())),
        at_most("answers that are not in the contract", answers.odd.total(), 0),
        *(Finding("such as", odd) for odd, _ in answers.odd.most_common(1)),
        at_most(f"calls that ended with {', '.join(_FAULTS)}, by the gateway's metrics", faults, 0),
        *_served("beside mutated requests", beside_mutated),
        *_served("beside attacks on connections", beside_attacks),
        beside("memory more than before, at most, under attacks", (peak - resident) / _MIB, "{:.0f} MiB"),
        at_most("memory more than before, afterwards", grown, _MOST_MORE_MIB, "{:.0f} MiB"),
        at_most("processes that ended, but for those that took too long", max(ended - late, 0), 0),
        at_most("workers that took too long", late, 0, timed=True),
        at_most("stack traces in the log", traces, 0),
    ]


def _served(where: str, healthy: _Healthy) -> list[Finding]:
    return [
        at_least(f"calls of a healthy caller served, {where}", healthy.served, 1),
        at_most(f"calls of a healthy caller that failed, {where}", healthy.failed, 0),
        beside(f"the longest of its calls, {where}", healthy.longest, "{:.1f} s"),
    ]


@asynccontextmanager
async def _healthy(gateway: Gateway) -> AsyncIterator[_Healthy]:
    """Make a valid call again and again meanwhile."""
    healthy, asked = _Healthy(), generation_pb2.SampleRequest(model=CLASSES, label_ids=[3], seed=3)

    async def call_on() -> None:
        expected = None
        while True:
            begun, answer = time.perf_counter(), None
            # Each over a connection of its own, as a caller who comes anew.
            with suppress(grpc.aio.AioRpcError, TimeoutError):
                async with asyncio.timeout(_HEALTHY_SECONDS), connection(gateway.address) as channel:
                    answer = await generation(channel).Sample(asked, timeout=_HEALTHY_SECONDS)
            expected = expected or answer
            healthy.served += answer is not None and answer == expected
            healthy.failed += answer is None or answer != expected
            healthy.longest = max(healthy.longest, time.perf_counter() - begun)
            await asyncio.sleep(_PAUSE_SECONDS)

    calling = asyncio.create_task(call_on())
    try:
        yield healthy
    finally:
        calling.cancel()
        await asyncio.wait({calling})


async def _send_all(gateway: Gateway, count: int, answers: _Answers) -> None:
    waiting = requests(count, SEED)
    async with AsyncExitStack() as open_:
        channels = [await open_.enter_async_context(connection(gateway.address)) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(_send_each(channels[n % CONNECTIONS], waiting, n, answers) for n in range(CALLERS)))


async def _send_each(channel: grpc.aio.Channel, waiting: Iterator[Request], number: int, answers: _Answers) -> None:
    """Send one request after another, as bytes, for as long as there are some."""
    rng = random.Random(number)
    for request in waiting:
        call = _call(channel, request, rng.choice(_DEADLINES))
        try:
            async for answer in call:
                if request.path.endswith(_STREAM):
                    _note_item(request.path, answer, answers)
        except grpc.aio.AioRpcError as error:
            answers.note(request.path, error.code(), read_error(error).reason, error.details() or "")
        except asyncio.CancelledError:
            # So grpc.aio gives a status that nobody here asked for.
            if not call.done():
                raise
            answers.note(request.path, await call.code(), None, await call.details())
        else:
            answers.codes["OK"] += 1


def _call(
    channel: grpc.aio.Channel, request: Request, seconds: float
) -> "grpc.aio.UnaryStreamCall[bytes, bytes] | grpc.aio.StreamStreamCall[bytes, bytes]":
    """Send a request, whatever its method takes and gives."""
    metadata = tuple(request.metadata)
    if len(request.messages) == 1:
        single: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(request.path)
        return single(request.messages[0], timeout=seconds, metadata=metadata)
    many: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(request.path)
    return many(iter(request.messages), timeout=seconds, metadata=metadata)


def _note_item(path: str, answer: bytes, answers: _Answers) -> None:
    """Note the error of one picture of a stream."""
    item = generation_pb2.TranslateStreamResponse.FromString(answer)
    if item.HasField("error"):
        error = read_item_error(item.error)
        answers.note(f"{path}, a picture", error.code, error.reason, error.message)


async def _attack(gateway: Gateway, share: float) -> int:
    """Attack in every way, one after the other; return the most memory that the gateway held meanwhile."""
    peak = 0
    for attack in ATTACKS:
        command = (sys.executable, "-m", attacks.__name__, attack, *gateway.address.split(":"), str(share))
        attacker = await asyncio.create_subprocess_exec(*command)
        ending = asyncio.create_task(attacker.wait())
        while not ending.done():
            await asyncio.wait({ending}, timeout=1.0)
            peak = max(peak, await asyncio.to_thread(gateway.resident_bytes))
        if ending.result():
            raise RuntimeError(f"the attack {attack} ended with {ending.result()}")
    return peak


CASE = Case(
    "requests",
    "Broken requests and attacks on connections",
    f"{CALLERS} callers send valid requests of every method that were mutated: bits flipped, cut, fields inserted, "
    "repeated and nested, numbers at borders, broken pictures, odd metadata, the wrong method. Then plain sockets send "
    "rapid resets, floods of CONTINUATION, SETTINGS and PING, streams without end, half a preface, and garbage, and "
    "thousands of connections say nothing. A caller who does nothing wrong calls all the time.",
    _gateway,
)
