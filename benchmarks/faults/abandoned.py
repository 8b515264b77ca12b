"""A few requests of much work, whose callers do not wait for it, beside steady callers of another model."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import grpc
import numpy as np
from PIL import Image

from benchmarks.faults.callers import (
    Call,
    Steady,
    alone,
    directly_sampling,
    directly_translating,
    generation,
    predicting,
    sampling,
    steadily,
    translating,
)
from benchmarks.faults.case import Case, Finding, at_most, beside
from benchmarks.faults.scene import Gateway, Scene, connection
from gantry.v1 import generation_pb2, worker_pb2

_SAMPLED, _TRANSLATED = "mnist-cgan", "horse2zebra"
_REQUESTS, _SIDE, _PATIENCE_SECONDS = 4, 2048, 1.5
_LONG_SECONDS, _NEXT_SECONDS = 6000.0, 60.0
_DRAIN_SECONDS, _GRACE_SECONDS = 5, 3
# So that four such pictures are admitted.
_ADMITTING: dict[str, Any] = {
    "max_request_seconds": 10_000,
    "max_response_bytes": 60_000_000,
    "memory_bytes": 2_000_000_000,
    "drain_seconds": _DRAIN_SECONDS,
}
_MILLISECONDS = "{:.0f} ms"


async def _gateway(scene: Scene) -> list[Finding]:
    with scene.gateway(_SAMPLED, _TRANSLATED, **_ADMITTING) as gateway:
        async with connection(gateway.address) as own, connection(gateway.address) as other:
            findings = await _provoke(scene, sampling(own, _SAMPLED), _much(other), wanted=True)
            after = await _seconds_of(translating(other, _TRANSLATED, 64))
            stopped, code = await _stopped(gateway, _much(other))
    return [
        *findings,
        _next(after),
        at_most("SIGTERM amid such work obeyed after", stopped, _DRAIN_SECONDS + _GRACE_SECONDS, "{:.1f} s"),
        at_most("exit code", code, 0),
    ]


async def _direct(scene: Scene) -> list[Finding]:
    async with (
        scene.torchserve(_SAMPLED, _TRANSLATED) as server,
        connection(server.address) as own,
        connection(server.address) as other,
    ):
        much = worker_pb2.TranslateWork(
            image=_black(), direction=generation_pb2.DIRECTION_A_TO_B, cycle=True, max_pixels=_SIDE**2
        )
        item = worker_pb2.WorkItem(translate=much, format=generation_pb2.IMAGE_FORMAT_PNG)
        translate = predicting(other, _TRANSLATED, item)
        findings = await _provoke(scene, directly_sampling(own, _SAMPLED), translate, wanted=False)
        after = await _seconds_of(directly_translating(other, _TRANSLATED, 64))
    return [*findings, _next(after)]


async def _provoke(scene: Scene, sample: Call, translate: Call, *, wanted: bool) -> list[Finding]:
    """Measure the samples alone, beside calls whose deadline is short, and beside calls that are given up."""

    async def give_up() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(translate(_LONG_SECONDS), _PATIENCE_SECONDS)

    seconds = scene.pick(12.0, 6.0)
    solo = await alone(sample, seconds)
    findings = [beside("p99 of the samples alone", solo.p99 * 1000, _MILLISECONDS)]
    for kind, begin in (("deadlines of 1.5 s", lambda: translate(_PATIENCE_SECONDS)), ("callers gone", give_up)):
        steady, statuses = await _beside(sample, seconds, begin)
        p99, lost = f"{kind}: p99 of the samples", f"{kind}: samples lost"
        findings += [
            at_most(p99, steady.p99 * 1000, 2 * solo.p99 * 1000, _MILLISECONDS, timed=True) if wanted
            else beside(p99, steady.p99 * 1000, _MILLISECONDS),
            at_most(lost, sum(steady.failures.values()), 0) if wanted else beside(lost, sum(steady.failures.values())),
            Finding(f"{kind}: statuses", ", ".join(f"{number} {name}" for name, number in statuses.items())),
        ]  # fmt: skip
    return findings


async def _beside(sample: Call, seconds: float, begin: Callable[[], Awaitable[None]]) -> tuple[Steady, Counter[str]]:
    """Sample steadily from the moment on that the requests of much work begin; return what became of both."""
    statuses = Counter[str]()

    async def one() -> None:
        try:
            await begin()
        except grpc.aio.AioRpcError as error:
            statuses[error.code().name] += 1
        else:
            statuses["no answer awaited"] += 1

    running = [asyncio.create_task(one()) for _ in range(_REQUESTS)]
    steady = await steadily(sample, seconds)
    await asyncio.gather(*running)
    return steady, statuses


async def _seconds_of(call: Call) -> float:
    """How long a call takes; at most a minute is waited."""
    begun = time.perf_counter()
    with suppress(grpc.aio.AioRpcError):
        await call(_NEXT_SECONDS)
    return time.perf_counter() - begun


def _next(seconds: float) -> Finding:
    what = "the next translation of 64×64"
    return Finding(what, f"none in {seconds:.0f} s") if seconds >= _NEXT_SECONDS else beside(what, seconds, "{:.1f} s")


async def _stopped(gateway: Gateway, translate: Call) -> tuple[float, int]:
    """Send SIGTERM while the work is under way; return the seconds until the process ends, and its exit code."""
    running = [asyncio.ensure_future(translate(_LONG_SECONDS)) for _ in range(_REQUESTS)]
    await asyncio.sleep(1.0)
    begun = time.perf_counter()
    gateway.process.terminate()
    code = await asyncio.to_thread(gateway.process.wait, 120)
    seconds = time.perf_counter() - begun
    await asyncio.gather(*running, return_exceptions=True)
    return seconds, code


def _much(channel: grpc.aio.Channel) -> Call:
    """Much work for few bytes: translate a large black picture and back."""
    stub = generation(channel)
    asked = generation_pb2.TranslateRequest(
        model=_TRANSLATED, direction=generation_pb2.DIRECTION_A_TO_B, image=_black(), cycle=True
    )

    async def call(seconds: float) -> None:
        await stub.Translate(asked, timeout=seconds)

    return call


def _black() -> bytes:
    file = BytesIO()
    Image.fromarray(np.zeros((_SIDE, _SIDE, 3), np.uint8)).save(file, "WEBP")
    return file.getvalue()


CASE = Case(
    "abandoned",
    "Much work that nobody awaits",
    f"{_REQUESTS} callers have a black WEBP of {_SIDE}×{_SIDE} (a few kB) translated and back, which takes minutes. "
    f"First their deadlines are {_PATIENCE_SECONDS:g} s, then they are long and the callers go after so long. "
    "Beside them somebody begins a sample of another model every 20 ms, from the same moment on. Last, SIGTERM comes "
    f"amid such work; the gateway's drain is {_DRAIN_SECONDS} s.",
    _gateway,
    _direct,
)
