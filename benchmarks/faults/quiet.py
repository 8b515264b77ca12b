"""A caller who asks for little beside one who asks for as much as there is."""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.faults.callers import Call, Steady, alone, child, directly_sampling, sampling, steadily
from benchmarks.faults.case import Case, Finding, at_most, beside
from benchmarks.faults.scene import Gateway, Scene, connection
from services.gateway.credentials.api_keys import add_key, make_key

_MODEL = "mnist-cgan"
_LOUD = {"4 × 256": (4, 256), "100 × 1": (100, 1), "1 × 4,000": (1, 4000)}
_LONG_SECONDS = 60.0
_MILLISECONDS = "{:.0f} ms"
_SETTINGS: dict[str, Any] = {
    "max_images": 4096,
    "max_request_seconds": 1000,
    "queue_items": 10_000,
    "max_response_bytes": 60_000_000,
}


@dataclass(frozen=True)
class _Loud:
    """How a loud caller calls; goes to a process of its own.

    Attributes:
        address: What it calls.
        calls: How many are under way all the time.
        images: Of each call.
        seconds: For how long.
        metadata: What it shows.
        is_direct: Whether it calls TorchServe, which makes one image a call.
    """

    address: str
    calls: int
    images: int
    seconds: float
    metadata: tuple[tuple[str, str], ...] = ()
    is_direct: bool = False


async def _gateway(scene: Scene) -> list[Finding]:
    keys = scene.folder / f"keys-{scene.backend}.json"
    loud, quiet = _key(keys, "loud"), _key(keys, "quiet")
    with scene.gateway(_MODEL, api_keys=keys, **_SETTINGS) as gateway:
        async with connection(gateway.address) as channel, child() as elsewhere:
            sample, seconds = sampling(channel, _MODEL, metadata=quiet), scene.pick(12.0, 5.0)
            solo = await alone(sample, seconds)
            findings = [beside("p99 alone", solo.p99 * 1000, _MILLISECONDS)]
            for kind, (calls, images) in _LOUD.items():
                pressing = elsewhere(press, _Loud(gateway.address, calls, images, seconds + 2, loud))
                await asyncio.sleep(1.0)
                before = await _envelopes(gateway)
                steady = await steadily(sample, seconds)
                envelope = _mean_since(before, await _envelopes(gateway))
                findings += _figures(kind, solo, steady, await pressing, envelope)
    return findings


async def _direct(scene: Scene) -> list[Finding]:
    async with scene.torchserve(_MODEL) as server, connection(server.address) as channel, child() as elsewhere:
        sample, seconds = directly_sampling(channel, _MODEL), scene.pick(12.0, 5.0)
        solo = await alone(sample, seconds)
        findings = [beside("p99 alone", solo.p99 * 1000, _MILLISECONDS)]
        for kind, (calls, images) in _LOUD.items():
            pressing = elsewhere(press, _Loud(server.address, calls * images, 1, seconds + 2, is_direct=True))
            await asyncio.sleep(1.0)
            steady = await steadily(sample, seconds)
            findings += _figures(kind, solo, steady, await pressing)
    return findings


def _figures(
    kind: str, solo: Steady, steady: Steady, made: tuple[int, float, Counter[str]], envelope: float | None = None
) -> list[Finding]:
    images, seconds, refused = made
    p99, lost = f"{kind}: p99 of the quiet caller", f"{kind}: calls of the quiet caller that failed"
    failures, milliseconds = sum(steady.failures.values()), steady.p99 * 1000
    loud = [
        beside(f"{kind}: images a second of the loud caller", images / seconds),
        beside(f"{kind}: calls of the loud caller that failed", sum(refused.values())),
    ]
    if envelope is None:
        return [beside(p99, milliseconds, _MILLISECONDS), beside(lost, failures), *loud]
    return [
        at_most(p99, milliseconds, (2 * solo.p99 + envelope) * 1000, _MILLISECONDS, timed=True),
        beside(f"{kind}: an envelope, on average", envelope * 1000, _MILLISECONDS),
        at_most(lost, failures, 0),
        *loud,
    ]


async def _envelopes(gateway: Gateway) -> tuple[float, float]:
    name = "gantry_backend_seconds"
    return (
        await gateway.metric(f"{name}_sum", model=_MODEL),
        await gateway.metric(f"{name}_count", model=_MODEL),
    )


def _mean_since(before: tuple[float, float], after: tuple[float, float]) -> float:
    seconds, number = (now - was for now, was in zip(after, before, strict=True))
    return seconds / max(number, 1)


def _key(file: Path, name: str) -> tuple[tuple[str, str], ...]:
    """Let a caller in; returns what it shows."""
    secret, entry = make_key(name, ["*"])
    add_key(file, entry)
    return (("authorization", f"Bearer {secret}"),)


def press(loud: _Loud) -> tuple[int, float, Counter[str]]:
    """Call all the time, in this process; returns the images that came, in how many seconds, and other statuses."""
    return asyncio.run(_pressed(loud))


async def _pressed(loud: _Loud) -> tuple[int, float, Counter[str]]:
    seeds, statuses, made, begun = itertools.count(), Counter[str](), 0, time.perf_counter()

    async def again(call: Call) -> None:
        nonlocal made
        while time.perf_counter() < begun + loud.seconds:
            try:
                await call(_LONG_SECONDS)
            except grpc.aio.AioRpcError as error:
                statuses[error.code().name] += 1
                await asyncio.sleep(0.05)
            else:
                made += loud.images

    async with connection(loud.address) as channel:
        if loud.is_direct:
            callers = [directly_sampling(channel, _MODEL, seed=next(seeds)) for _ in range(loud.calls)]
        else:
            callers = [sampling(channel, _MODEL, loud.images, loud.metadata) for _ in range(loud.calls)]
        await asyncio.gather(*map(again, callers))
    return made, time.perf_counter() - begun, statuses


CASE = Case(
    "quiet",
    "A quiet caller beside a loud one",
    "A loud caller has 4 calls of 256 images, 100 of one, or one of 4,000 under way all the time, in another process; "
    "a quiet one, with another key, begins a call of one image every 20 ms. TorchServe is given as many images, "
    "each in a call of its own. Wanted is twice what the quiet caller's p99 is alone and one envelope, of average "
    "length.",
    _gateway,
    _direct,
)
