"""One poisonous item among its neighbours: it raises, ends its worker, or hangs."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import grpc

from benchmarks.faults.callers import CLASSES, generation
from benchmarks.faults.case import Case, Finding, at_least, beside
from benchmarks.faults.poisoned import ENDS, HANGS, RAISES, write_poisoned
from benchmarks.faults.scene import Gateway, Scene, connection
from gantry.v1 import generation_pb2, generation_pb2_grpc, worker_pb2
from services.client.errors import read_error
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc

NEIGHBOURS = 32
_MODEL = "mnist-cgan"
_KINDS = {"raises": RAISES, "ends its worker": ENDS, "hangs": HANGS}
# What takes a worker with it is known by that, and refused when it comes again.
_REASONS = {"raises": "BACKEND_FAILED", "ends its worker": "ITEM_FAILED", "hangs": "ITEM_FAILED"}
# Fills the slots, so that those who come next wait for the same envelopes.
_AHEAD = generation_pb2.SampleRequest(model=_MODEL, count=128, seed=10_000)
_PATIENCE_SECONDS = 180.0
# TorchServe gives up a worker that hangs after 60 s.
_DIRECT_PATIENCE_SECONDS = 100.0


@dataclass
class _Harm:
    """What came of one kind of poison.

    Attributes:
        rounds: How often it was sent.
        neighbours: Calls beside it that did not bring what they bring alone.
        company: Envelopes of a single item: what rode with poison runs again, each item alone.
        own: Poisonous calls that ended with the error that is theirs.
        repeated: The same again that ended with it too, and cost no worker.
        waits: Seconds of the neighbour that waited longest, by round.
        refusals: Seconds until the same again was refused.
        healthy_seconds: How long TorchServe, called directly, served nobody after it.
    """

    rounds: int = 0
    neighbours: int = 0
    company: float = 0.0
    own: int = 0
    repeated: int = 0
    waits: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    healthy_seconds: float = 0.0


async def _gateway(scene: Scene) -> list[Finding]:
    findings: list[Finding] = []
    with _poisoned(scene).gateway(_MODEL) as gateway:
        async with connection(gateway.address) as channel:
            stub = generation(channel)
            alone = [(await _answer(stub, _asked(number % RAISES, number)))[0] for number in range(NEIGHBOURS)]
            for kind, label in _KINDS.items():
                harm = _Harm()
                for seed in range(1 if scene.short or label == HANGS else 5):
                    await _round(gateway, stub, _asked(label, seed, truncation=0.0), _REASONS[kind], alone, harm)
                findings += _figures(kind, harm)
    return findings


def _figures(kind: str, harm: _Harm) -> list[Finding]:
    poison = f"an item that {kind}"
    return [
        _harmed(kind, harm),
        at_least(f"{poison}: items run again alone, in each round", harm.company / harm.rounds, 4),
        _all(f"{poison}: has an error of its own", harm.own, harm.rounds),
        _all(f"{poison}: the same again has it too, and costs no worker", harm.repeated, harm.rounds),
        beside(f"{poison}: the same again is refused after", statistics.median(harm.refusals) * 1000, "{:.0f} ms"),
        beside(f"{poison}: the longest wait of a neighbour", statistics.median(harm.waits), "{:.1f} s"),
    ]


def _harmed(kind: str, harm: _Harm, wanted: str = "0") -> Finding:
    seen, met = f"{harm.neighbours} of {harm.rounds * NEIGHBOURS}", not (wanted and harm.neighbours)
    return Finding(f"an item that {kind}: neighbours harmed", seen, wanted, met)


def _all(what: str, number: int, of: int) -> Finding:
    return Finding(what, f"{number} of {of}", "all", number == of)


async def _round(
    gateway: Gateway,
    stub: "generation_pb2_grpc.GenerationServiceAsyncStub",
    poison: generation_pb2.SampleRequest,
    reason: str,
    alone: Sequence[bytes | str],
    harm: _Harm,
) -> None:
    """Send poison in the middle of its neighbours, and then again."""
    neighbours = [_asked(number % RAISES, number) for number in range(NEIGHBOURS)]
    middle = NEIGHBOURS // 2
    together = [_AHEAD, *neighbours[:middle], poison, *neighbours[middle:]]
    before = await _single_envelopes(gateway)
    answers = await asyncio.gather(*(_answer(stub, asked) for asked in together))
    harm.company += await _single_envelopes(gateway) - before
    own, _ = answers.pop(middle + 1)
    harm.rounds += 1
    harm.own += own == reason
    expected = [answer if isinstance(answer, bytes) else "a picture" for answer in alone]
    harm.neighbours += sum(answer != right for (answer, _), right in zip(answers[1:], expected, strict=True))
    harm.waits.append(max(seconds for _, seconds in answers[1:]))
    lost = await gateway.metric("gantry_workers_lost_total")
    again, seconds = await _answer(stub, poison)
    harm.repeated += again == reason and await gateway.metric("gantry_workers_lost_total") == lost
    harm.refusals.append(seconds)


async def _answer(
    stub: "generation_pb2_grpc.GenerationServiceAsyncStub", asked: generation_pb2.SampleRequest
) -> tuple[bytes | str, float]:
    """Return the answer to a call, or the reason why there is none; and how long it took."""
    begun = time.perf_counter()
    try:
        answer: bytes | str = (await stub.Sample(asked, timeout=_PATIENCE_SECONDS)).SerializeToString(
            deterministic=True
        )
    except grpc.aio.AioRpcError as error:
        answer = read_error(error).reason or error.code().name
    return answer, time.perf_counter() - begun


async def _single_envelopes(gateway: Gateway) -> float:
    return await gateway.metric("gantry_batch_items_bucket", model=_MODEL, le="1.0")


async def _direct(scene: Scene) -> list[Finding]:
    findings = []
    async with _poisoned(scene).torchserve(_MODEL) as server, connection(server.address) as channel:
        stub: inference_pb2_grpc.InferenceAPIsServiceAsyncStub = inference_pb2_grpc.InferenceAPIsServiceStub(channel)
        neighbours = [_item(number % RAISES, number, 1.0) for number in range(NEIGHBOURS)]
        alone = [(await _results(stub, [item]))[0] for item in neighbours]
        middle = NEIGHBOURS // 2
        for kind, label in _KINDS.items():
            envelope = [*neighbours[:middle], _item(label, 0, 0.0), *neighbours[middle:]]
            begun = time.perf_counter()
            results = await _results(stub, envelope)
            del results[middle : middle + 1]
            harmed = sum(
                answer != expected for answer, expected in zip(results or [b""] * NEIGHBOURS, alone, strict=True)
            )
            waited = time.perf_counter() - begun
            while not await _results(stub, neighbours[:1]):
                await asyncio.sleep(0.1)
            harm = _Harm(rounds=1, neighbours=harmed, waits=[waited], healthy_seconds=time.perf_counter() - begun)
            findings += _direct_figures(kind, harm)
    return findings


def _direct_figures(kind: str, harm: _Harm) -> list[Finding]:
    poison = f"an item that {kind}"
    return [
        _harmed(kind, harm, wanted=""),
        beside(f"{poison}: the longest wait of a neighbour", harm.waits[0], "{:.1f} s"),
        beside(f"{poison}: nobody is served for", harm.healthy_seconds, "{:.1f} s"),
    ]


async def _results(
    stub: "inference_pb2_grpc.InferenceAPIsServiceAsyncStub", items: Sequence[worker_pb2.WorkItem]
) -> list[bytes]:
    """Return the pictures of one envelope at TorchServe; none where it fails."""
    envelope = worker_pb2.WorkRequest(items=items).SerializeToString()
    asked = inference_pb2.PredictionsRequest(model_name=_MODEL, input={ENVELOPE_FIELD: envelope})
    try:
        answer = await stub.Predictions(asked, timeout=_DIRECT_PATIENCE_SECONDS)
    except grpc.aio.AioRpcError:
        return []
    return [result.image.data for result in worker_pb2.WorkReply.FromString(answer.prediction).results]


def _asked(label: int, seed: int, truncation: float = 1.0) -> generation_pb2.SampleRequest:
    return generation_pb2.SampleRequest(model=_MODEL, label_ids=[label], seed=seed, truncation=truncation)


def _item(label: int, seed: int, truncation: float) -> worker_pb2.WorkItem:
    one_hot = [float(label == other) for other in range(CLASSES)]
    work = worker_pb2.GenerateWork(seed=seed, condition=one_hot, truncation=truncation)
    return worker_pb2.WorkItem(generate=work, format=generation_pb2.IMAGE_FORMAT_PNG)


def _poisoned(scene: Scene) -> Scene:
    """The same scene with an archive that fails on some inputs."""
    store = scene.folder / "poisoned"
    store.mkdir(exist_ok=True)
    if not (path := store / f"{_MODEL}.mar").exists():
        write_poisoned(scene.archive(_MODEL), path)
    return replace(scene, model_store=store)


CASE = Case(
    "poison",
    "One poisonous item",
    f"A poisonous item is sent in the midst of {NEIGHBOURS} neighbours' calls, so that they share envelopes: its graph "
    "raises, ends its process by a trap of the processor, or multiplies for minutes. Directly, all ride in one "
    "envelope.",
    _gateway,
    _direct,
)
