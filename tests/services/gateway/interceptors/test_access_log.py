"""What the log, the metrics and the caller learn of a call, over real gRPC."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.gateway.call import current_request_id
from services.gateway.credentials.api_keys import add_key, make_key
from services.gateway.interceptors.access_log import CallObserver
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from services.gateway.telemetry.metrics import Metrics
from tests.pictures import picture
from tests.services.gateway.cards import tiny_card, translation_card
from tests.services.gateway.fakes import DrivenBackend, until

GENERATION = "gantry.v1.GenerationService"
TINY = generation_pb2.SampleRequest(model="tiny", count=3)


class Bench:
    """A gateway, a caller, and the lines of the access log."""

    def __init__(self, gateway: Gateway, channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture) -> None:
        self.gateway, self.channel, self._caplog = gateway, channel, caplog
        self.generation = generation_pb2_grpc.GenerationServiceStub(channel)
        self.models = models_pb2_grpc.ModelServiceStub(channel)

    async def line(self, method: str, code: str) -> tuple[int, dict[str, Any]]:
        """Level and fields of the one line of a method: it is written a moment after the caller has its status."""

        def found() -> list[logging.LogRecord]:
            wanted = f"{method} {code}"
            return [r for r in self._caplog.records if r.name == "gantry.access" and r.getMessage() == wanted]

        await until(lambda: bool(found()))
        (record,) = found()
        fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
        return record.levelno, fields

    def value(self, name: str, **labels: str) -> float | None:
        """Read a metric."""
        return self.gateway.metrics.registry.get_sample_value(name, labels)


@pytest_asyncio.fixture
async def bench(settings: Settings, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Bench]:
    caplog.set_level(logging.DEBUG, "gantry.access")
    backend = DrivenBackend(tiny_card(), translation_card(), answers_at_once=True)
    async with (
        Gateway(settings, backend) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
    ):
        yield Bench(gateway, channel, caplog)


async def test_a_call_has_one_line(bench: Bench) -> None:
    await bench.generation.Sample(TINY)
    level, fields = await bench.line("Sample", "OK")
    assert level == logging.INFO
    times = {name: fields.pop(name) for name in ("total_ms", "queue_ms", "backend_ms", "encode_ms")}
    assert fields == {
        "service": GENERATION,
        "method": "Sample",
        "code": "OK",
        "caller": "",
        "peer": "127.0.0.1",
        "model": "tiny",
        "version": "1.0.0",
        "images": 3,
    }
    # The backend says that encoding took a quarter of a second.
    assert times["encode_ms"] == 250
    # Each of them is rounded to a tenth.
    assert times["total_ms"] >= times["queue_ms"] + times["backend_ms"] - 0.2
    assert bench.value("gantry_calls_in_flight", grpc_method="Sample") == 0


async def test_a_refused_call_says_why(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await bench.generation.Sample(generation_pb2.SampleRequest(model="tiny", count=0))
    _, fields = await bench.line("Sample", "INVALID_ARGUMENT")
    assert (fields["reason"], fields["refused"], fields["model"], fields["images"]) == ("INVALID_REQUEST", 1, "tiny", 0)
    assert "queue_ms" not in fields
    labels = {"grpc_method": "Sample", "reason": "INVALID_REQUEST"}
    assert bench.value("gantry_refusals_total", **labels) == 1


async def test_a_model_that_is_not_loaded_is_not_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await bench.models.GetModel(models_pb2.GetModelRequest(model="stranger-7f3a"))
    _, fields = await bench.line("GetModel", "NOT_FOUND")
    assert fields["reason"] == "MODEL_NOT_FOUND"
    assert "stranger-7f3a" not in str([record.__dict__ for record in caplog.records])


async def test_a_stream_counts_its_pictures_and_those_that_were_refused(bench: Bench) -> None:
    sound = generation_pb2.TranslateRequest(model="horse2zebra", source_domain="horse", image=picture())
    broken = generation_pb2.TranslateRequest(model="horse2zebra", source_domain="horse", image=b"no picture")
    requests = [sound, broken, sound, broken]
    messages = [
        generation_pb2.TranslateStreamRequest(id=str(place), translate=request)
        for place, request in enumerate(requests)
    ]
    assert len([answer async for answer in bench.generation.TranslateStream(iter(messages))]) == 4
    _, fields = await bench.line("TranslateStream", "OK")
    assert (fields["images"], fields["refused"], fields["reason"]) == (2, 2, "INVALID_REQUEST")
    assert fields["model"] == "horse2zebra"
    labels = {"grpc_method": "TranslateStream", "reason": "INVALID_REQUEST"}
    assert bench.value("gantry_refusals_total", **labels) == 2


async def test_health_checks_are_only_for_debugging(bench: Bench) -> None:
    await health_pb2_grpc.HealthStub(bench.channel).Check(health_pb2.HealthCheckRequest())
    level, _ = await bench.line("Check", "OK")
    assert level == logging.DEBUG


async def test_nothing_of_the_metadata_or_of_a_picture_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    image = picture()
    request = generation_pb2.TranslateRequest(model="horse2zebra", source_domain="horse", image=image)
    await bench.generation.Translate(request, metadata=[("authorization", "Bearer secret-1"), ("cookie", "secret-2")])
    await bench.line("Translate", "OK")
    logged = str([record.__dict__ for record in caplog.records])
    assert "secret" not in logged
    assert repr(image)[2:40] not in logged


async def test_a_caller_who_goes_while_it_is_refused_is_no_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Its refusal is being written when it goes; whether that fails is up to grpc, so there are many."""

    async def go(milliseconds: float) -> None:
        call = bench.generation.Sample(generation_pb2.SampleRequest(model="tiny", count=0))
        await asyncio.wait({asyncio.ensure_future(call.code())}, timeout=milliseconds / 1000)
        call.cancel()

    for _ in range(40):
        await asyncio.gather(*(go(place / 2) for place in range(25)))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert bench.value("gantry_refusals_total", grpc_method="Sample", reason="INTERNAL") is None


async def test_a_status_says_where_the_time_of_its_pictures_went(bench: Bench) -> None:
    form = r"queue;dur=\d+\.\d, backend;dur=\d+\.\d, encode;dur=250\.0"
    sample = bench.generation.Sample(TINY)
    await sample
    assert re.fullmatch(form, dict(await sample.trailing_metadata())["server-timing"])
    stream = bench.generation.SampleStream(generation_pb2.SampleStreamRequest(sample=TINY))
    async for _ in stream:
        """Only its metadata matters."""
    assert re.fullmatch(form, dict(await stream.trailing_metadata())["server-timing"])
    models = bench.models.ListModels(models_pb2.ListModelsRequest())
    await models
    assert "server-timing" not in dict(await models.trailing_metadata())


@pytest.mark.parametrize("count", [1, 0], ids=["answered", "refused"])
async def test_the_request_id_comes_back(bench: Bench, count: int) -> None:
    request = generation_pb2.SampleRequest(model="tiny", count=count)
    for given, back in (("trace/1", "trace/1"), ("not sound", None)):
        call = bench.generation.Sample(request, metadata=[("x-request-id", given)])
        assert (await call.code() == grpc.StatusCode.OK) == bool(count)
        returned = dict(await call.trailing_metadata())["x-request-id"]
        assert returned == back if back else len(returned) == 32


async def test_the_line_names_the_caller_and_not_the_key(
    settings: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    key, entry = make_key("reports", ["tiny"])
    add_key(tmp_path / "keys.json", entry)
    backend = DrivenBackend(tiny_card(), answers_at_once=True)
    async with (
        Gateway(
            settings.model_copy(update={"api_keys": tmp_path / "keys.json", "host": "127.0.0.1"}), backend
        ) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Sample(TINY, metadata=[("x-request-id", "stranger")])
        assert dict(error.value.trailing_metadata())["x-request-id"] == "stranger"
        await stub.Sample(TINY, metadata=[("authorization", f"Bearer {key}")])
        # A line is written a moment after its caller has the status.
        await until(lambda: len([record for record in caplog.records if record.name == "gantry.access"]) == 2)
    lines = {r.fields["code"]: r.fields for r in caplog.records if r.name == "gantry.access"}  # type: ignore[attr-defined]
    assert (lines["UNAUTHENTICATED"]["reason"], lines["UNAUTHENTICATED"]["caller"]) == ("UNAUTHENTICATED", "")
    assert lines["OK"]["caller"] == "reports"
    labels = {"grpc_method": "Sample", "reason": "UNAUTHENTICATED"}
    assert gateway.metrics.registry.get_sample_value("gantry_refusals_total", labels) == 1
    assert key not in str([record.__dict__ for record in caplog.records])


async def test_streams_and_health_bring_the_request_id_too(bench: Bench) -> None:
    metadata = [("x-request-id", "r-1")]
    streams = (
        bench.generation.SampleStream(generation_pb2.SampleStreamRequest(sample=TINY), metadata=metadata),
        bench.generation.TranslateStream(iter([]), metadata=metadata),
    )
    for stream in streams:
        async for _ in stream:
            """Only its metadata matters."""
        assert dict(await stream.trailing_metadata())["x-request-id"] == "r-1"
    check = health_pb2_grpc.HealthStub(bench.channel).Check(health_pb2.HealthCheckRequest(), metadata=metadata)
    await check
    assert dict(await check.trailing_metadata())["x-request-id"] == "r-1"


async def test_lines_written_meanwhile_belong_to_the_call(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, str]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.name, current_request_id()))

    listener = Listener()
    logging.getLogger().addHandler(listener)
    caplog.set_level(logging.INFO)
    try:
        async with (
            Gateway(settings, DrivenBackend(tiny_card(), answers_at_once=True)) as gateway,
            grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
        ):
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            await asyncio.gather(*(stub.Sample(TINY, metadata=[("x-request-id", f"r-{n}")]) for n in range(2)))
    finally:
        logging.getLogger().removeHandler(listener)
    assert {("gantry.access", "r-0"), ("gantry.access", "r-1")} <= set(seen)
    assert ("services.gateway.telemetry.inventory", "") in seen


@pytest.mark.parametrize(
    ("raised", "told", "counted"),
    [
        pytest.param(ZeroDivisionError, None, "UNKNOWN", id="an unexpected exception"),
        pytest.param(asyncio.CancelledError, None, "CANCELLED", id="the caller goes"),
        pytest.param(grpc.aio.InternalError, None, "CANCELLED", id="the caller has gone"),
        pytest.param(asyncio.CancelledError, grpc.StatusCode.NOT_FOUND, "NOT_FOUND", id="the caller goes, refused"),
    ],
)
async def test_how_a_call_that_breaks_off_is_counted(
    raised: type[BaseException], told: grpc.StatusCode | None, counted: str
) -> None:
    metrics = Metrics()

    async def broken(request: Any, context: Any) -> None:
        raise raised

    async def continuation(_: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(broken)

    class Details:
        method = "/package.Service/Method"

    class Context:
        def invocation_metadata(self) -> tuple[()]:
            return ()

        def peer(self) -> str:
            return "unix:"

        def code(self) -> grpc.StatusCode | None:
            return told

        def set_trailing_metadata(self, metadata: Any) -> None:
            """Is nobody's business here."""

    handler = await CallObserver(metrics).intercept_service(continuation, Details())
    with pytest.raises(raised):
        await handler.unary_unary(b"", Context())
    labels = {"grpc_service": "package.Service", "grpc_method": "Method", "grpc_type": "unary", "grpc_code": counted}
    assert metrics.registry.get_sample_value("grpc_server_handled_total", labels) == 1
