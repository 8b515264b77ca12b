"""The order of things: what is sent before what is made, and what is never made, the same through every backend.

A gate in front of a real backend holds envelopes back until a test lets them pass, so that nothing depends on time.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import (
    IMAGE_FORMAT_RAW,
    Axis,
    GridOptions,
    Range,
    SampleRequest,
    SampleStreamRequest,
    Sweep,
    TranslateRequest,
    TranslateStreamRequest,
    TraverseRequest,
)
from services.backends.base import Backend, ModelKey
from services.backends.envelope import Envelope
from services.gateway.settings import Settings
from tests.conformance.harness import EventLoop, Served, serving
from tests.pictures import picture
from tests.waiting import wait_until

BATCH_ITEMS = 64
CHUNK_ITEMS = 8
QUEUE_ITEMS = 128
# How long a call may take that is to be late: longer than it takes to arrive, on a busy machine too.
LATE_SECONDS = 3.0


class Gate(Backend):
    """Lets envelopes through to a backend that runs already, one for every `admit`; probes always pass."""

    name = "gate"

    def __init__(self, behind: Backend, loop: EventLoop) -> None:
        self._behind, self._loop = behind, loop
        self._passes = asyncio.Semaphore(0)
        self.arrived: list[list[int]] = []
        """Seeds of each envelope that has come to the gate; of pictures to translate, their `max_side`."""

    @property
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        return self._behind.models

    @property
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        return self._behind.refused

    async def start(self) -> None:
        """The backend behind runs already."""

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        if envelope.seconds_wanted is None:
            # A probe: whoever calls has a deadline, if only the default one.
            return await self._behind.run(key, envelope)
        self.arrived.append([item.generate.seed or item.translate.max_side for item in envelope.request.items])
        await self._passes.acquire()
        return await self._behind.run(key, envelope)

    async def stop(self) -> None:
        """The backend behind goes on."""

    def slots(self, key: ModelKey) -> int:
        return 1

    def check(self, key: ModelKey) -> None:
        self._behind.check(key)

    def admit(self, envelopes: int) -> None:
        """Let so many envelopes through, those that wait first."""
        for _ in range(envelopes):
            self._loop.call(self._passes.release)

    def seeds(self) -> set[int]:
        """Seeds of all items that have come to the gate."""
        return {seed for envelope in self.arrived for seed in envelope}


@pytest.fixture
def gated(served: Served, loop: EventLoop, store: Path) -> Iterator[Served]:
    """A gateway with one envelope in flight at a time, behind a closed gate."""
    settings = Settings(
        port=0,
        metrics_port=0,
        model_store=store,
        queue_items=QUEUE_ITEMS,
        max_images=QUEUE_ITEMS,
    )
    gate = Gate(served.backend, loop)
    with serving(loop, settings, gate) as behind_gate:
        yield behind_gate
        # Whatever a failed test left at the gate must not hold up the gateway's end.
        gate.admit(1000)


def gate_of(served: Served) -> Gate:
    assert isinstance(served.backend, Gate)
    return served.backend


def stream(served: Served, count: int, seed: int, timeout: float | None = None) -> grpc.Call:
    request = SampleStreamRequest(sample=SampleRequest(model="grey", label_ids=[0], count=count, seed=seed))
    call: grpc.Call = served.generation.SampleStream(request, timeout=timeout)
    return call


def calls_ended(served: Served, code: str, method: str = "SampleStream", kind: str = "server_stream") -> float:
    """How many streams have ended with a code."""
    labels = {
        "grpc_service": "gantry.v1.GenerationService",
        "grpc_method": method,
        "grpc_type": kind,
        "grpc_code": code,
    }
    return served.gateway.metrics.registry.get_sample_value("grpc_server_handled_total", labels) or 0.0


def queued(served: Served) -> float:
    """How many items wait, whatever the model."""
    return sum(
        sample.value
        for metric in served.gateway.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "gantry_queue_items"
    )


def test_stream_sends_the_first_picture_before_the_last_is_made(gated: Served) -> None:
    gate = gate_of(gated)
    call = stream(gated, count=CHUNK_ITEMS + 1, seed=0)

    gate.admit(1)
    first = [next(call).index for _ in range(CHUNK_ITEMS)]

    assert first == list(range(CHUNK_ITEMS))
    wait_until(lambda: len(gate.arrived) == 2, "the envelopes stand at the gate")
    assert gate.arrived[1] == [CHUNK_ITEMS], "the last one still stands before the gate"
    gate.admit(1)
    assert [response.index for response in call] == [CHUNK_ITEMS]


def test_work_of_a_caller_who_has_gone_is_never_run(gated: Served) -> None:
    gate = gate_of(gated)
    patient = stream(gated, count=2, seed=100)
    wait_until(lambda: gate.seeds() == {100, 101}, "the envelopes stand at the gate")
    impatient = stream(gated, count=10, seed=200)
    wait_until(lambda: queued(gated) == 10, "the rest is queued")

    impatient.cancel()
    wait_until(lambda: calls_ended(gated, "CANCELLED") == 1, "the call has ended")
    last = stream(gated, count=1, seed=300)
    gate.admit(2)

    assert len(list(patient)) == 2
    assert len(list(last)) == 1
    assert gate.seeds() == {100, 101, 300}


def test_work_whose_deadline_has_passed_is_never_run(gated: Served) -> None:
    gate = gate_of(gated)
    patient = stream(gated, count=2, seed=100)
    wait_until(lambda: gate.seeds() == {100, 101}, "the envelopes stand at the gate")

    late = stream(gated, count=10, seed=200, timeout=LATE_SECONDS)
    wait_until(lambda: queued(gated) == 10, "the rest is queued")
    with pytest.raises(grpc.RpcError) as raised:
        next(late)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    # The gateway's clock for this call began a moment after the caller's.
    wait_until(
        lambda: calls_ended(gated, "CANCELLED") + calls_ended(gated, "DEADLINE_EXCEEDED") == 1, "the call has ended"
    )
    last = stream(gated, count=1, seed=300)
    gate.admit(2)

    assert len(list(patient)) == 2
    assert len(list(last)) == 1
    assert gate.seeds() == {100, 101, 300}


def test_full_queue_is_told_at_once_with_a_time_to_retry(gated: Served) -> None:
    gate = gate_of(gated)
    running = stream(gated, count=1, seed=0)
    wait_until(lambda: gate.seeds() == {0}, "the envelopes stand at the gate")
    waiting = stream(gated, count=QUEUE_ITEMS, seed=1000)
    wait_until(lambda: queued(gated) == QUEUE_ITEMS, "the rest is queued")

    with pytest.raises(grpc.RpcError) as raised:
        next(stream(gated, count=1, seed=5))

    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details = rpc_status.from_call(raised.value).details
    assert details[0].Unpack(info)
    assert info.reason == "QUEUE_FULL"
    assert details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() > 0
    gate.admit(1 + QUEUE_ITEMS // CHUNK_ITEMS)
    assert len(list(running)) == 1
    assert len(list(waiting)) == QUEUE_ITEMS


def test_what_waits_leaves_together(gated: Served) -> None:
    gate = gate_of(gated)
    first = stream(gated, count=1, seed=0)
    wait_until(lambda: gate.seeds() == {0}, "the envelopes stand at the gate")
    others = [
        gated.generation.Sample.future(SampleRequest(model="grey", seed=seed), timeout=60.0) for seed in range(1, 31)
    ]
    wait_until(lambda: queued(gated) == 30, "the rest is queued")

    gate.admit(31)

    assert len(list(first)) == 1
    assert [len(call.result().images) for call in others] == [1] * 30
    # An envelope takes as many as are expected to be back soon; the one at the gate made them look slow.
    assert len(gate.arrived) <= 1 + 30 // 2
    assert [seed for envelope in gate.arrived for seed in sorted(envelope)] == list(range(31))


def test_frames_are_sent_as_they_are_made_and_what_is_assembled_last(gated: Served) -> None:
    gate = gate_of(gated)
    sweep = Sweep(x=Axis(code="c1", range=Range(start=-1, end=1, steps=CHUNK_ITEMS + 1)), seed=5)
    call = gated.generation.Traverse(TraverseRequest(model="codes", sweep=sweep, grid=GridOptions()))

    gate.admit(1)
    assert [next(call).frame.index for _ in range(CHUNK_ITEMS)] == list(range(CHUNK_ITEMS))

    wait_until(lambda: len(gate.arrived) == 2, "the envelopes stand at the gate")
    gate.admit(1)
    assert [response.WhichOneof("part") for response in call] == ["frame", "assembled"]


def translations(sides: Iterable[int]) -> Iterator[TranslateStreamRequest]:
    """Pictures that are told from each other by their `max_side`."""
    for side in sides:
        request = TranslateRequest(
            model="horse2zebra", source_domain="horse", image=picture(), max_side=side, format=IMAGE_FORMAT_RAW
        )
        yield TranslateStreamRequest(id=str(side), translate=request)


def test_translations_that_nobody_awaits_any_more_are_never_run(gated: Served) -> None:
    gate = gate_of(gated)
    first = gated.generation.TranslateStream(translations([100]))
    wait_until(lambda: gate.seeds() == {100}, "the envelopes stand at the gate")
    leaving = gated.generation.TranslateStream(translations(range(200, 210)))
    wait_until(lambda: queued(gated) == 10, "the rest is queued")

    leaving.cancel()
    wait_until(lambda: calls_ended(gated, "CANCELLED", "TranslateStream", "bidi_stream") == 1, "the call has ended")
    last = gated.generation.TranslateStream(translations([300]))
    gate.admit(2)

    assert [response.id for response in first] == ["100"]
    assert [response.id for response in last] == ["300"]
    assert gate.seeds() == {100, 300}


def test_a_stream_waits_where_a_call_would_meet_a_full_queue(gated: Served) -> None:
    gate = gate_of(gated)
    streams = [
        gated.generation.TranslateStream(translations(range(1000 * number + 100, 1000 * number + 116)))
        for number in range(1, 11)
    ]
    wait_until(lambda: queued(gated) == QUEUE_ITEMS, "the rest is queued")

    with pytest.raises(grpc.RpcError) as raised:
        gated.generation.Translate(next(translations([50])).translate)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    gate.admit(1000)
    for stream_of_16 in streams:
        assert [response.WhichOneof("part") for response in stream_of_16] == ["result"] * 16
    assert 50 not in gate.seeds()
