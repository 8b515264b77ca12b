"""What is refused, and how a program reads it: codes, field paths and retry delays, the same through every backend."""

import asyncio
import json
import math
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from gantry.v1 import generation_pb2, generation_pb2_grpc, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_PNG, GridOptions, SampleRequest, SampleStreamRequest
from services.backends.base import ModelKey
from services.backends.envelope import Envelope
from services.worker.handler import ENVELOPE_FIELD
from tests.conformance.harness import EventLoop, Served, assert_invalid, details_of, pixels_of
from torchserve import inference_pb2, inference_pb2_grpc, management_pb2, management_pb2_grpc

LOADED = "codes, faces, grey, horse2zebra, plain, rgb, sketch2photo"
BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"count": 0}, "count", "1 to 256"),
    ({"count": 257}, "count", "at most 256"),
    ({"each_class": True, "count": 86}, "count", "86 for each of 3 classes"),
    ({"count": 0xFFFFFFFF, "each_class": True}, "count", "at most 256"),
    ({"label_ids": [0, 3]}, "label_ids[1]", "0 'circle', 1 'square', 2 'three words here'"),
    ({"label_names": ["triangle"]}, "label_names[0]", "0 'circle', 1 'square', 2 'three words here'"),
    ({"label_ids": [0], "label_names": ["circle"]}, "label_names", "at most one of"),
    ({"label_ids": [0], "each_class": True}, "each_class", "at most one of"),
    ({"label_ids": [0, 1], "count": 3}, "count", "must be 2"),
    ({"truncation": 1.5}, "truncation", "0 to 1"),
    ({"truncation": -0.1}, "truncation", "0 to 1"),
    ({"truncation": math.nan}, "truncation", "0 to 1"),
    ({"format": 99}, "format", "PNG, JPEG, WEBP, RAW"),
    ({"quality": 50}, "quality", "only JPEG and WEBP"),
    ({"format": generation_pb2.IMAGE_FORMAT_JPEG, "quality": 101}, "quality", "1 to 100"),
]


@pytest.mark.parametrize(("fields", "field", "description"), BAD_FIELDS)
def test_bad_field_is_named(served: Served, fields: dict[str, Any], field: str, description: str) -> None:
    request = SampleRequest(model="grey", **fields)

    with pytest.raises(grpc.RpcError) as raised:
        served.generation.Sample(request)
    assert_invalid(raised.value, field, description)

    with pytest.raises(grpc.RpcError) as raised:
        next(served.generation.SampleStream(SampleStreamRequest(sample=request)))
    assert_invalid(raised.value, f"sample.{field}", description)


@pytest.mark.parametrize(
    ("grid", "field", "description"),
    [(GridOptions(columns=0), "grid.columns", "at least 1"), (GridOptions(gap=65), "grid.gap", "0 to 64")],
)
def test_bad_grid_is_named(served: Served, grid: GridOptions, field: str, description: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        served.generation.Sample(SampleRequest(model="grey", grid=grid))

    assert_invalid(raised.value, field, description)


def test_grid_is_refused_in_a_stream(served: Served) -> None:
    request = SampleRequest(model="grey", grid=GridOptions())

    with pytest.raises(grpc.RpcError) as raised:
        next(served.generation.SampleStream(SampleStreamRequest(sample=request)))

    assert_invalid(raised.value, "sample.grid", "use Sample")


def test_every_bad_field_is_named_at_once(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        served.generation.Sample(SampleRequest(model="grey", count=0, truncation=2.0, format=99))  # type: ignore[arg-type]

    violations = details_of(raised.value)["BadRequest"].field_violations
    assert [violation.field for violation in violations] == ["count", "truncation", "format"]


def test_missing_model_name_is_named(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        served.generation.Sample(SampleRequest())

    assert_invalid(raised.value, "model", LOADED)


@pytest.mark.parametrize(
    ("model", "version", "message"),
    [
        ("nope", "", f"model 'nope' is not loaded; loaded: {LOADED}"),
        ("grey", "3.0.0", "model grey has no version '3.0.0'; loaded versions: 1.9.0, 1.10.0"),
    ],
)
def test_unknown_model_is_not_found_and_says_what_is_loaded(
    served: Served, model: str, version: str, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        served.generation.Sample(SampleRequest(model=model, version=version))

    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert raised.value.details() == message
    assert details_of(raised.value)["ErrorInfo"].reason == "MODEL_NOT_FOUND"


def test_bad_item_gets_an_error_of_its_own_and_never_touches_its_neighbours(served: Served, loop: EventLoop) -> None:
    def item(image_format: int = IMAGE_FORMAT_PNG, **fields: Any) -> worker_pb2.WorkItem:
        work = {"seed": 1, "condition": [0.0, 1.0, 0.0], "truncation": 1.0} | fields
        return worker_pb2.WorkItem(
            generate=worker_pb2.GenerateWork(**work),
            format=image_format,  # type: ignore[arg-type]
        )

    sound = item()
    bad = [item(condition=[1.0]), item(truncation=math.nan), item(image_format=99), worker_pb2.WorkItem()]
    envelope = worker_pb2.WorkRequest(items=[sound, *bad, sound])

    reply = loop.run(served.backend.run(ModelKey("grey", "1.10.0"), Envelope(envelope, 30.0)))

    assert [result.WhichOneof("outcome") for result in reply.results] == ["image", *["error"] * 4, "image"]
    (expected,) = served.generation.Sample(SampleRequest(model="grey", label_ids=[1], seed=1)).images
    for result in (reply.results[0], reply.results[-1]):
        # The gateway sends along what the file is to tell of itself.
        assert pixels_of(result.image.data).tolist() == pixels_of(expected.encoded.data).tolist()


def test_bytes_that_are_no_message_harm_nobody_but_their_sender(served: Served) -> None:
    for call in (
        served.channel.unary_unary("/gantry.v1.GenerationService/Sample"),
        lambda raw: list(served.channel.unary_stream("/gantry.v1.GenerationService/SampleStream")(raw)),
    ):
        with pytest.raises(grpc.RpcError) as refusal:
            call(b"\xff" * 1000)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    assert served.generation.Sample(SampleRequest(model="grey")).images


@pytest.mark.torchserve
@pytest.mark.parametrize(
    "inputs", [{ENVELOPE_FIELD: b"\xff" * 1000}, {"other": b"1"}, {}], ids=["bytes", "field", "none"]
)
def test_garbage_sent_to_torchserve_itself_does_not_end_the_worker(gateways: Any, inputs: dict[str, bytes]) -> None:
    served = gateways("torchserve")
    workers = workers_of(served, "rgb")
    call = inference_pb2.PredictionsRequest(model_name="rgb", model_version="2.0.0", input=inputs)
    with grpc.insecure_channel(served.backend.address) as channel:
        stub = inference_pb2_grpc.InferenceAPIsServiceStub(channel)

        answers = [worker_pb2.WorkReply.FromString(stub.Predictions(call).prediction) for _ in range(3)]

    expected = worker_pb2.WorkResult(error="envelope: must be a serialized gantry.v1.WorkRequest")
    assert all(list(answer.results) == [expected] for answer in answers)
    assert workers_of(served, "rgb") == workers


def workers_of(served: Any, model: str) -> list[dict[str, Any]]:
    """What TorchServe says of the workers of a model: process id, when it began, and more."""
    with grpc.insecure_channel(served.backend.management_address) as channel:
        management = management_pb2_grpc.ManagementAPIsServiceStub(channel)
        (described,) = json.loads(management.DescribeModel(management_pb2.DescribeModelRequest(model_name=model)).msg)
    workers: list[dict[str, Any]] = described["workers"]
    assert workers
    return workers


def test_every_call_of_a_burst_is_answered(served: Served) -> None:
    async def burst() -> set[grpc.StatusCode]:
        async with AsyncExitStack() as connections:
            apart = [("grpc.use_local_subchannel_pool", 1)]
            address = f"127.0.0.1:{served.gateway.port}"
            channels = [
                await connections.enter_async_context(grpc.aio.insecure_channel(address, apart)) for _ in range(12)
            ]
            stubs = [generation_pb2_grpc.GenerationServiceStub(channel) for channel in channels]
            request = SampleRequest(model="nobody")
            calls = [stub.Sample(request, timeout=60) for stub in stubs for _ in range(200)]
            return {await call.code() for call in calls}

    assert asyncio.run(burst()) == {grpc.StatusCode.NOT_FOUND}
