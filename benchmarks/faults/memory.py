"""Uploads of more bytes than the gateway may hold, at once, and uploads that never end."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import grpc
import psutil  # type: ignore[import-untyped]

from benchmarks.faults.callers import (
    Call,
    Steady,
    alone,
    child,
    delay_in,
    directly_sampling,
    directly_translating,
    generation,
    noise,
    retry_seconds,
    sampling,
    steadily,
    translating,
)
from benchmarks.faults.case import Case, Finding, at_most, beside
from benchmarks.faults.scene import Gateway, Scene, connection
from gantry.v1 import generation_pb2

_SAMPLED, _TRANSLATED = "mnist-cgan", "horse2zebra"
_MIB = 1 << 20
_BUDGET_BYTES, _BESIDES_BYTES = 512 * _MIB, 300 * _MIB
# A picture of noise with so long a side has 4 MB.
_SIDE, _LEAST_DEADLINE_SECONDS, _LONG_SECONDS = 1152, 20.0, 300.0
_CHILDREN, _CONNECTIONS, _DIRECT_UPLOADS = 4, 4, 64
_IDLE_SECONDS = 10.0
_PICTURES, _PICTURE_BYTES, _CHUNK_BYTES = 2, 30 * _MIB, 2 * _MIB
# To look for processes that are new takes much longer than to look at those that are known.
_WATCH_SECONDS, _LOOKS_FOR_PROCESSES = 0.05, 10
# grpc.aio cannot say why a call was ended while a message was on its way.
_CUT_OFF = (grpc.StatusCode.INTERNAL, "Internal error from Core")
_REFUSED, _AGREED = "refused with a delay", ("OK", "DEADLINE_EXCEEDED", "ended while it sent")

_SETTINGS: dict[str, Any] = {
    "memory_bytes": _BUDGET_BYTES,
    "stream_idle_seconds": _IDLE_SECONDS,
    # A slow machine takes longer for such a picture than a request may by default.
    "max_request_seconds": 1000,
}

Children = list[Callable[..., Awaitable[Any]]]


class _Peak:
    """The most bytes that were seen."""

    bytes = 0


async def _gateway(scene: Scene) -> list[Finding]:
    provocations = (("uploads", upload, scene.pick(1024, 256)), ("endless streams", begin_streams, scene.pick(48, 16)))
    with scene.gateway(_SAMPLED, _TRANSLATED, **_SETTINGS) as gateway:
        async with AsyncExitStack() as open_:
            channel = await open_.enter_async_context(connection(gateway.address))
            children = [await open_.enter_async_context(child()) for _ in range(_CHILDREN)]
            sample, translate = sampling(channel, _SAMPLED), translating(channel, _TRANSLATED, _SIDE)
            process = psutil.Process(gateway.process.pid)
            rest, deadline, findings = await _at_rest(process, sample, translate)
            for kind, provoke, number in provocations:
                with _watched(process) as peak:
                    steady, statuses = await _beside(children, provoke, gateway.address, number, deadline, sample)
                findings += _figures(kind, steady, statuses)
                most = rest + _BUDGET_BYTES + _BESIDES_BYTES
                findings.append(at_most(f"{kind}: memory at its peak", peak.bytes / _MIB, most / _MIB, "MiB"))
            findings.append(at_most("bytes of the budget that stay taken", await _still_taken(gateway), 0))
    return findings


async def _direct(scene: Scene) -> list[Finding]:
    async with scene.torchserve(_SAMPLED, _TRANSLATED) as server, connection(server.address) as channel:
        process = psutil.Process(server.pid)
        sample, translate = directly_sampling(channel, _SAMPLED), directly_translating(channel, _TRANSLATED, _SIDE)
        _, deadline, findings = await _at_rest(process, sample, translate)
        statuses = Counter[str]()
        with _watched(process) as peak:
            running = [asyncio.create_task(_noted(translate, deadline, statuses)) for _ in range(_DIRECT_UPLOADS)]
            steady = await steadily(sample, deadline, deadline)
            await asyncio.gather(*running)
    kind = f"uploads ({_DIRECT_UPLOADS} at TorchServe)"
    return [
        *findings,
        *_figures(kind, steady, statuses, wanted=False),
        beside(f"{kind}: memory at its peak", peak.bytes / _MIB, "MiB"),
    ]


def _figures(kind: str, steady: Steady, statuses: Counter[str], *, wanted: bool = True) -> list[Finding]:
    others = sum(number for status, number in statuses.items() if status not in (_REFUSED, *_AGREED))
    failures, lost, other = sum(steady.failures.values()), f"{kind}: samples lost", f"{kind}: other statuses"
    p99 = steady.p99 * 1000
    return [
        Finding(f"{kind}: statuses", ", ".join(f"{number:,} {status}" for status, number in statuses.most_common())),
        at_most(other, others, 0) if wanted else beside(other, others),
        at_most(lost, failures, 0) if wanted else beside(lost, failures),
        beside(f"{kind}: p99 of the samples", p99, "{:.0f} ms"),
    ]


async def _at_rest(process: psutil.Process, sample: Call, translate: Call) -> tuple[int, float, list[Finding]]:
    """Measure what the processes take for the models: the most while two of the pictures are translated.

    Returns:
        The bytes; a deadline that a picture can meet; and what was found.
    """
    solo = await alone(sample, 5.0)
    begun = time.perf_counter()
    with _watched(process) as peak:
        await asyncio.gather(translate(_LONG_SECONDS), translate(_LONG_SECONDS))
    findings = [
        beside("p99 of the samples alone", solo.p99 * 1000, "{:.0f} ms"),
        beside("memory while two pictures are translated", peak.bytes / _MIB, "MiB"),
    ]
    return peak.bytes, max(_LEAST_DEADLINE_SECONDS, 1.2 * (time.perf_counter() - begun)), findings


async def _beside(
    children: Children,
    provoke: Callable[[str, int, float], Counter[str]],
    address: str,
    number: int,
    deadline: float,
    sample: Call,
) -> tuple[Steady, Counter[str]]:
    """Let the children provoke while somebody samples; return what became of both."""
    share = number // len(children)
    running = [asyncio.ensure_future(run(provoke, address, share, deadline)) for run in children]
    steady = await steadily(sample, deadline, deadline)
    return steady, sum(await asyncio.gather(*running), Counter[str]())


@contextmanager
def _watched(process: psutil.Process) -> Iterator[_Peak]:
    """Look at the memory of a process and all that it started, all the time, in a thread."""
    peak, end = _Peak(), threading.Event()

    def watch() -> None:
        for number in itertools.count():
            if not number % _LOOKS_FOR_PROCESSES:
                processes = [process, *process.children(recursive=True)]
            peak.bytes = max(peak.bytes, sum(map(_resident, processes)))
            if end.wait(_WATCH_SECONDS):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        end.set()
        thread.join()


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:  # it ended meanwhile
        return 0


async def _still_taken(gateway: Gateway) -> float:
    """Bytes of the budget that are taken once all has ended."""
    for _ in range(round(2 * _IDLE_SECONDS)):
        if not (taken := await gateway.metric("gantry_memory_bytes", state="taken")):
            break
        await asyncio.sleep(1.0)
    return taken


def upload(address: str, number: int, deadline: float) -> Counter[str]:
    """Upload pictures at once, in this process; return the statuses."""
    return asyncio.run(_upload(address, number, deadline))


async def _upload(address: str, number: int, deadline: float) -> Counter[str]:
    statuses = Counter[str]()
    async with AsyncExitStack() as open_:
        calls = [translating(await open_.enter_async_context(connection(address)), _TRANSLATED, _SIDE)
                 for _ in range(_CONNECTIONS)]  # fmt: skip
        await asyncio.gather(*(_noted(calls[place % _CONNECTIONS], deadline, statuses) for place in range(number)))
    return statuses


async def _noted(call: Call, deadline: float, statuses: Counter[str]) -> None:
    """Call, and note the status."""
    try:
        await call(deadline)
    except grpc.aio.AioRpcError as error:
        statuses[_status(error)] += 1
    else:
        statuses["OK"] += 1


def _status(error: grpc.aio.AioRpcError) -> str:
    if retry_seconds(error) is not None:
        return _REFUSED
    if (error.code(), error.details()) == _CUT_OFF:
        return "ended while it sent"
    name = error.code().name
    return name if name in _AGREED else f"{name} ({error.details()})"


def begin_streams(address: str, number: int, _deadline: float) -> Counter[str]:
    """Begin streams of pictures that never end, in this process; return what came of each picture, and each stream."""
    return asyncio.run(_begin_streams(address, number))


async def _begin_streams(address: str, number: int) -> Counter[str]:
    statuses = Counter[str]()
    async with AsyncExitStack() as open_:
        channels = [await open_.enter_async_context(connection(address)) for _ in range(_CONNECTIONS)]
        await asyncio.gather(*(_begin_stream(channels[place % _CONNECTIONS], statuses) for place in range(number)))
    return statuses


async def _begin_stream(channel: grpc.aio.Channel, statuses: Counter[str]) -> None:
    try:
        async for answer in generation(channel).TranslateStream(_endless(), timeout=_LONG_SECONDS):
            delay = delay_in(answer.error.details)
            statuses["a picture answered" if delay is None else _REFUSED] += 1
    except grpc.aio.AioRpcError as error:
        statuses[_status(error)] += 1


async def _endless() -> AsyncIterator[generation_pb2.TranslateStreamRequest]:
    """All chunks of some pictures but the last, and then nothing."""
    chunk, direction = noise(_SIDE)[:_CHUNK_BYTES], generation_pb2.DIRECTION_A_TO_B
    for name in map(str, range(_PICTURES)):
        begun = generation_pb2.TranslateRequest(model=_TRANSLATED, direction=direction, image=chunk)
        yield generation_pb2.TranslateStreamRequest(id=name, translate=begun, more=True)
        for _ in range(_PICTURE_BYTES // _CHUNK_BYTES - 1):
            yield generation_pb2.TranslateStreamRequest(id=name, chunk=chunk, more=True)
    await asyncio.sleep(_LONG_SECONDS)


CASE = Case(
    "memory",
    "More bytes than there is memory for",
    f"The budget for messages, pictures and answers (memory_bytes) is {_BUDGET_BYTES // _MIB} MiB. Callers in other "
    "processes upload 1,024 pictures of 4 MB at once, to be translated within 20 s, or a fifth more "
    "than two of them take where that is more; then they begin 48 streams of "
    "60 MiB each and never complete a picture. Beside them somebody begins a sample of another model every 20 ms, with "
    "the same deadline. "
    "Memory is that of all processes (RSS; what they share counts in each), looked at every 50 ms; wanted is no more "
    f"than while two such pictures are translated, and the budget, and {_BESIDES_BYTES // _MIB} MiB.",
    _gateway,
    _direct,
)
