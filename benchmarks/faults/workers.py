"""Worker processes that stop or are killed while they are at work, and a TorchServe that stops."""

import asyncio
import math
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

import grpc
import psutil  # type: ignore[import-untyped]

from benchmarks.faults.callers import Call, directly_sampling, directly_translating
from benchmarks.faults.case import Case, Finding, at_most, beside
from benchmarks.faults.questions import Question, Tally, keep_asking, sample, translate
from benchmarks.faults.scene import Gateway, Scene, connection

_SAMPLED, _TRANSLATED, _SIDE = "mnist-cgan", "horse2zebra", 64
SAMPLERS, SECONDS = 8, 30.0
FOUND_SECONDS, HEALED_SECONDS = 5.0, 10.0
_WATCHED_SECONDS = 60.0
_LOOK_SECONDS, _AGAIN_SECONDS = 0.02, 0.2
# A worker that works so much of the time is busy.
_BUSY_SECONDS, _BUSY_LOOK_SECONDS = 0.05, 0.3
_PAUSE_SECONDS = (1.0, 3.0)
_STOPPED, _HEALED = "a stopped worker is found after", "{} answers again so much later"
_SAMPLES = [sample(_SAMPLED, seed) for seed in range(64)]
_TRANSLATIONS = [translate(_TRANSLATED, seed, _SIDE) for seed in range(16)]

Processes = Callable[[], list[psutil.Process]]


@dataclass(frozen=True)
class _Fault:
    """How a fault went.

    Attributes:
        found: Seconds until the process was gone.
        healed: Seconds from then until all workers were there and a model answered a new call, by model.
    """

    found: float
    healed: dict[str, float]


@dataclass
class _Patient:
    """What is hurt and heals.

    Attributes:
        workers: Finds its worker processes.
        count: How many there are when all is well.
        answers: For each model, waits until it answers a new call.
    """

    workers: Processes
    count: int
    answers: Mapping[str, Callable[[], Awaitable[None]]]

    async def busy(self, rng: random.Random) -> psutil.Process:
        """Return one of the workers that are at work, once there is one."""
        while True:
            before = _cpu_seconds(self.workers())
            await asyncio.sleep(_BUSY_LOOK_SECONDS)
            now = _cpu_seconds(self.workers())
            busy = [
                process for process, seconds in now.items() if seconds - before.get(process, seconds) > _BUSY_SECONDS
            ]
            if busy:
                return rng.choice(busy)

    async def found(self, stopped: psutil.Process) -> float:
        """Return after how many seconds a stopped process is gone; infinite where it stays."""
        begun = time.perf_counter()
        while _is_there(stopped):
            if time.perf_counter() - begun > _WATCHED_SECONDS:
                return math.inf
            await asyncio.sleep(_LOOK_SECONDS)
        return time.perf_counter() - begun

    async def healed(self) -> dict[str, float]:
        """Return after how many seconds all workers are there and a model answers, by model; infinite for never."""
        begun = time.perf_counter()

        async def answered(answer: Callable[[], Awaitable[None]]) -> float:
            try:
                async with asyncio.timeout(_WATCHED_SECONDS):
                    while len(self.workers()) < self.count:
                        await asyncio.sleep(_LOOK_SECONDS)
                    await answer()
            except TimeoutError:
                return math.inf
            return time.perf_counter() - begun

        seconds = await asyncio.gather(*(answered(answer) for answer in self.answers.values()))
        return dict(zip(self.answers, seconds, strict=True))


async def _gateway(scene: Scene) -> list[Finding]:
    rng, tally = random.Random(scene.backend), Tally()
    with scene.gateway(_SAMPLED, _TRANSLATED) as gateway:
        async with connection(gateway.address) as channel:
            await tally.learn(channel, [*_SAMPLES, *_TRANSLATIONS])
            patient = _patient_of(gateway, channel, tally)
            before = await _items(gateway)
            async with _load(gateway.address, tally):
                stops = [await _stop(patient, await patient.busy(rng), rng) for _ in range(scene.pick(5, 1))]
                kills = [await _kill(patient, rng) for _ in range(scene.pick(20, 4))]
                java = [await _stop(patient, _java(gateway), rng)] if scene.backend == "torchserve" else []
            items = {outcome: count - before[outcome] for outcome, count in (await _items(gateway)).items()}
    return [
        *_slowest(_STOPPED, _HEALED, stops),
        *_slowest(None, "after a SIGKILL {} answers again after", kills),
        *_slowest("a stopped Java process is found after", "Java: {} answers again so much later", java),
        *_ends(tally, items),
    ]


async def _direct(scene: Scene) -> list[Finding]:
    rng = random.Random(0)
    async with scene.torchserve(_SAMPLED, _TRANSLATED) as server, AsyncExitStack() as open_:
        channels = [await open_.enter_async_context(connection(server.address)) for _ in range(SAMPLERS + 1)]
        calls = [directly_sampling(channel, _SAMPLED) for channel in channels[1:]]
        calls.append(directly_translating(channels[0], _TRANSLATED, _SIDE))
        for call in calls:
            await _answered(call)
        answers = {_SAMPLED: partial(_answered, calls[0]), _TRANSLATED: partial(_answered, calls[-1])}
        patient = _Patient(lambda: _children([psutil.Process(server.pid)]), 2, answers)
        over = asyncio.Event()
        load = [asyncio.create_task(_keep_calling(call, over)) for call in calls]
        (stopped := await patient.busy(rng)).send_signal(signal.SIGSTOP)
        # At once: it may be that nobody ever finds it.
        found, healed = await asyncio.gather(patient.found(stopped), patient.healed())
        over.set()
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
    return _slowest(_STOPPED, _HEALED, [_Fault(found, healed)], wanted=False)


def _slowest(found: str | None, healed: str, faults: Sequence[_Fault], *, wanted: bool = True) -> list[Finding]:
    """Say how long the slowest of some faults took to be found, where that is asked, and each model to heal."""
    if not faults:
        return []
    lines = [(found, max(fault.found for fault in faults), FOUND_SECONDS)] if found else []
    lines += [
        (healed.format(model), max(fault.healed[model] for fault in faults), HEALED_SECONDS)
        for model in faults[0].healed
    ]
    return [_seconds(what, seconds, most if wanted else None) for what, seconds, most in lines]


def _seconds(what: str, seconds: float, most: float | None) -> Finding:
    form = "{:.1f} s"
    finding = beside(what, seconds, form) if most is None else at_most(what, seconds, most, form, timed=True)
    return finding if seconds < math.inf else replace(finding, seen=f"never ({_WATCHED_SECONDS:.0f} s watched)")


def _ends(tally: Tally, items: dict[str, float]) -> list[Finding]:
    """What became of the calls, as their callers and as the gateway counted."""
    others = sum(count for outcome, count in items.items() if outcome != "answered")
    # What is refused before it is admitted is no item.
    uncounted = abs(items["answered"] - tally.answered) + max(others - tally.refused.total(), 0)
    return [
        beside("calls", tally.calls),
        beside("calls refused by contract", tally.refused.total()),
        *tally.findings(),
        at_most("items that callers and the gateway count otherwise", uncounted, 0),
    ]


def _patient_of(gateway: Gateway, channel: grpc.aio.Channel, tally: Tally) -> _Patient:
    def workers() -> list[psutil.Process]:
        return _children(_children([psutil.Process(gateway.process.pid)]))

    async def answered(question: Question) -> None:
        while await tally.ask(channel, question, SECONDS):
            await asyncio.sleep(_AGAIN_SECONDS)

    questions = {_SAMPLED: _SAMPLES[0], _TRANSLATED: _TRANSLATIONS[0]}
    return _Patient(workers, len(workers()), {model: partial(answered, one) for model, one in questions.items()})


def _java(gateway: Gateway) -> psutil.Process:
    (java,) = _children([psutil.Process(gateway.process.pid)])
    return java


def _children(parents: Sequence[psutil.Process]) -> list[psutil.Process]:
    found = []
    for parent in parents:
        with suppress(psutil.NoSuchProcess):
            found += [process for process in parent.children() if _is_there(process)]
    return found


def _is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _cpu_seconds(processes: Sequence[psutil.Process]) -> dict[psutil.Process, float]:
    seconds = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[process] = times.user + times.system
    return seconds


async def _stop(patient: _Patient, process: psutil.Process, rng: random.Random) -> _Fault:
    process.send_signal(signal.SIGSTOP)
    fault = _Fault(await patient.found(process), await patient.healed())
    await asyncio.sleep(rng.uniform(*_PAUSE_SECONDS))
    return fault


async def _kill(patient: _Patient, rng: random.Random) -> _Fault:
    (process := await patient.busy(rng)).kill()
    fault = _Fault(await patient.found(process), await patient.healed())
    await asyncio.sleep(rng.uniform(*_PAUSE_SECONDS))
    return fault


async def _answered(ask: Call) -> None:
    while True:
        try:
            await ask(_WATCHED_SECONDS)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(_AGAIN_SECONDS)
        else:
            return


async def _keep_calling(call: Call, until: asyncio.Event) -> None:
    while not until.is_set():
        with suppress(grpc.aio.AioRpcError):
            await call(SECONDS)


@asynccontextmanager
async def _load(address: str, tally: Tally) -> AsyncIterator[None]:
    """Have callers at work; each has a connection of its own."""
    over = asyncio.Event()
    async with AsyncExitStack() as open_:
        running = []
        for number in range(SAMPLERS + 1):
            channel = await open_.enter_async_context(connection(address))
            questions = _SAMPLES if number else _TRANSLATIONS
            running.append(asyncio.create_task(keep_asking(channel, questions, tally, SECONDS, over, seed=number)))
        yield
        over.set()
        await asyncio.gather(*running)


async def _items(gateway: Gateway) -> dict[str, float]:
    """Items of both models, by what came of them."""
    outcomes = ("answered", "failed", "refused", "expired", "abandoned")
    return {outcome: await gateway.metric("gantry_items_total", outcome=outcome) for outcome in outcomes}


CASE = Case(
    "workers",
    "Workers that stop or are killed",
    f"{SAMPLERS} callers sample and one translates, with deadlines of {SECONDS:.0f} s, while workers are stopped "
    "(SIGSTOP, five times) or killed (SIGKILL, twenty times), each at work and once all is well again; then the Java "
    "process of the gateway's TorchServe is stopped. A model has healed when all workers are there and it has answered "
    "a new call. The slowest of each.",
    _gateway,
    _direct,
)
