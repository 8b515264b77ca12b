"""Metrics: the promised names, calls by code, and no label that a caller chose."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import generate_latest

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from services.gateway.telemetry.metrics import Metrics, kind_label
from tests.pictures import picture
from tests.services.gateway.cards import code_card, translation_card
from tests.services.gateway.fakes import DrivenBackend, until

GENERATION, HEALTH = "gantry.v1.GenerationService", "grpc.health.v1.Health"


def channel_to(gateway: Gateway) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}")


async def handled(gateway: Gateway, calls: int, service: str, method: str, kind: str) -> dict[str, float]:
    """Calls of a method by code, when so many have ended: a caller has its status a moment before it is counted."""

    def by_code() -> dict[str, float]:
        return {
            sample.labels["grpc_code"]: sample.value
            for family in gateway.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "grpc_server_handled_total"
            and (sample.labels["grpc_service"], sample.labels["grpc_method"], sample.labels["grpc_type"])
            == (service, method, kind)
        }

    await until(lambda: sum(by_code().values()) >= calls)
    return by_code()


def test_every_promised_metric_exists() -> None:
    exposed = generate_latest(Metrics().registry).decode()
    promised = {
        "grpc_server_started_total": "counter",
        "grpc_server_handled_total": "counter",
        "grpc_server_handling_seconds": "histogram",
        "gantry_calls_in_flight": "gauge",
        "gantry_refusals_total": "counter",
        "gantry_images_total": "counter",
        "gantry_items_total": "counter",
        "gantry_unawaited_items_total": "counter",
        "gantry_workers_lost_total": "counter",
        "gantry_model_set_aside": "gauge",
        "gantry_batch_items": "histogram",
        "gantry_queue_items": "gauge",
        "gantry_queue_wait_seconds": "gauge",
        "gantry_queue_seconds": "histogram",
        "gantry_backend_seconds": "histogram",
        "gantry_encode_seconds": "histogram",
        "gantry_backend_up": "gauge",
        "gantry_model_info": "gauge",
        "gantry_archives_refused": "gauge",
        "gantry_draining": "gauge",
        "gantry_connections_total": "counter",
        "gantry_tls_handshakes_total": "counter",
        "gantry_memory_bytes": "gauge",
        "gantry_tls_certificate_expiry_timestamp_seconds": "gauge",
    }
    for name, kind in promised.items():
        assert f"# TYPE {name} {kind}\n" in exposed


def test_kinds_are_told_in_lower_case() -> None:
    assert kind_label(models_pb2.MODEL_KIND_CLASS_CONDITIONAL) == "class_conditional"
    assert kind_label(models_pb2.MODEL_KIND_CODE_CONDITIONAL) == "code_conditional"
    assert kind_label(models_pb2.MODEL_KIND_TRANSLATION) == "translation"
    assert kind_label(models_pb2.MODEL_KIND_UNCONDITIONAL) == "unconditional"
    assert kind_label(models_pb2.MODEL_KIND_ATTRIBUTE_CONDITIONAL) == "attribute_conditional"


async def test_calls_are_counted_by_code(gateway: Gateway) -> None:
    async with channel_to(gateway) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        for request in (
            generation_pb2.SampleRequest(model="tiny"),
            generation_pb2.SampleRequest(model="tiny", count=2),
            generation_pb2.SampleRequest(model="tiny", count=0),
            generation_pb2.SampleRequest(model="nope"),
        ):
            try:
                await stub.Sample(request)
            except grpc.aio.AioRpcError:
                continue
        codes = await handled(gateway, 4, GENERATION, "Sample", "unary")
    assert codes == {"OK": 2, "INVALID_ARGUMENT": 1, "NOT_FOUND": 1}
    labels = {"grpc_service": GENERATION, "grpc_method": "Sample", "grpc_type": "unary"}
    assert gateway.metrics.registry.get_sample_value("grpc_server_started_total", labels) == 4
    assert gateway.metrics.registry.get_sample_value("grpc_server_handling_seconds_count", labels) == 4


async def test_streams_are_counted_by_code(gateway: Gateway) -> None:
    async with channel_to(gateway) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        sound = generation_pb2.SampleRequest(model="tiny", count=3)
        assert len([one async for one in stub.SampleStream(generation_pb2.SampleStreamRequest(sample=sound))]) == 3
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.SampleStream(generation_pb2.SampleStreamRequest()).read()
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        codes = await handled(gateway, 2, GENERATION, "SampleStream", "server_stream")
    assert codes == {"OK": 1, "INVALID_ARGUMENT": 1}


async def test_calls_that_the_caller_cancels_are_counted(gateway: Gateway, backend: DrivenBackend) -> None:
    async with channel_to(gateway) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        sample = generation_pb2.SampleRequest(model="tiny")
        backend.answers_at_once = False
        unary = stub.Sample(sample)
        unary_envelope = await backend.away.get()
        stream = stub.SampleStream(generation_pb2.SampleStreamRequest(sample=sample))
        stream_envelope = await backend.away.get()
        unary.cancel()
        stream.cancel()
        assert await handled(gateway, 1, GENERATION, "Sample", "unary") == {"CANCELLED": 1}
        assert await handled(gateway, 1, GENERATION, "SampleStream", "server_stream") == {"CANCELLED": 1}
        for envelope in (unary_envelope, stream_envelope):
            envelope.come_back()


async def test_health_is_watched_and_counted(gateway: Gateway) -> None:
    """The health service writes its responses to the context, unlike ours."""
    async with channel_to(gateway) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=GENERATION)
        assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        watching = stub.Watch(request)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Check(health_pb2.HealthCheckRequest(service="nope"))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        watching.cancel()
        assert await handled(gateway, 2, HEALTH, "Check", "unary") == {"OK": 1, "NOT_FOUND": 1}
        assert await handled(gateway, 1, HEALTH, "Watch", "server_stream") == {"CANCELLED": 1}


async def test_what_callers_name_never_becomes_a_label(gateway: Gateway) -> None:
    stranger = "stranger-7f3a"
    async with channel_to(gateway) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        request = generation_pb2.SampleRequest(model=stranger, version=stranger)
        for call in (
            stub.Sample(request),
            stub.SampleStream(generation_pb2.SampleStreamRequest(sample=request)).read(),
            channel.unary_unary(f"/{GENERATION}/{stranger}")(b""),
            channel.unary_unary(f"/{stranger}/Sample")(b""),
        ):
            with pytest.raises(grpc.aio.AioRpcError):
                await call
    assert stranger not in generate_latest(gateway.metrics.registry).decode()


async def test_images_are_counted_by_model_and_kind(gateway: Gateway) -> None:
    async with channel_to(gateway) as channel:
        await generation_pb2_grpc.GenerationServiceStub(channel).Sample(
            generation_pb2.SampleRequest(model="tiny", count=5)
        )
    labels = {"model": "tiny", "kind": "class_conditional"}
    assert gateway.metrics.registry.get_sample_value("gantry_images_total", labels) == 5


async def test_frames_and_translations_are_counted(settings: Settings) -> None:
    backend = DrivenBackend(code_card(), translation_card(), answers_at_once=True)
    request = generation_pb2.TranslateRequest(model="horse2zebra", source_domain="horse", image=picture())
    sweep = generation_pb2.Sweep(x=generation_pb2.Axis(code="k1"))

    async with Gateway(settings, backend) as gateway, channel_to(gateway) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        frames = [frame async for frame in stub.Traverse(generation_pb2.TraverseRequest(model="codes", sweep=sweep))]
        await stub.Translate(request)
        messages = [generation_pb2.TranslateStreamRequest(id=name, translate=request) for name in "ab"]
        answers = [answer async for answer in stub.TranslateStream(iter(messages))]

    assert (len(frames), len(answers)) == (3, 2)
    for model, kind, images in (("codes", "code_conditional", 3), ("horse2zebra", "translation", 3)):
        labels = {"model": model, "kind": kind}
        assert gateway.metrics.registry.get_sample_value("gantry_images_total", labels) == images


async def test_every_loaded_model_has_its_info(gateway: Gateway) -> None:
    for version in ("1.0.0", "1.1.0"):
        info = {"model": "tiny", "version": version, "kind": "class_conditional", "digest": "d" * 64}
        assert gateway.metrics.registry.get_sample_value("gantry_model_info", info) == 1
        up = {"backend": "driven", "model": "tiny", "version": version}
        assert gateway.metrics.registry.get_sample_value("gantry_backend_up", up) == 1
