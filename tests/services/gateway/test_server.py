"""A gateway from its ports: what callers see of refusals, limits and the end."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc, worker_pb2
from services.backends.base import BackendUnavailableError
from services.gateway import server
from services.gateway.planning.sample import SamplePlan, plan_sample
from services.gateway.server import Gateway
from services.gateway.servicers import generation
from services.gateway.settings import Settings
from services.gateway.telemetry import inventory
from tests.conformance.harness import details_of
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.certificates import Authority
from tests.services.gateway.fakes import EXECUTION, PATIENCE_SECONDS, DrivenBackend, reply_to, settled, until
from tests.services.gateway.http2 import GOAWAY, OPENING, PING, frame, frames

Request = generation_pb2.SampleRequest
RAW = generation_pb2.IMAGE_FORMAT_RAW


@pytest_asyncio.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> generation_pb2_grpc.GenerationServiceStub:
    return generation_pb2_grpc.GenerationServiceStub(channel)


@pytest.fixture
def driven(backend: DrivenBackend) -> DrivenBackend:
    """The gateway's backend, from now on holding every envelope until the test ends it."""
    backend.answers_at_once = False
    return backend


def messages_of(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    """What a logger said: others may speak at any time."""
    return [record.getMessage() for record in caplog.records if record.name == logger]


async def test_images_come_back_in_order_with_their_story(stub: generation_pb2_grpc.GenerationServiceStub) -> None:
    response = await stub.Sample(Request(model="tiny", seed=254, label_ids=[2, 0, 1], truncation=0.5, format=RAW))
    assert response.seed == 254
    assert not response.HasField("grid")
    assert [(image.seed, image.label_id, image.label_name) for image in response.images] == [
        (254, 2, "three words here"),
        (255, 0, "circle"),
        (256, 1, "square"),
    ]
    assert [image.encoded.data for image in response.images] == [b"\xfe", b"\xff", b"\x00"]
    stories = {(i.truncation, i.model, i.version, i.digest, i.execution) for i in response.images}
    assert stories == {(0.5, "tiny", "1.1.0", "d" * 64, EXECUTION)}


async def test_more_images_than_an_envelope_holds(stub: generation_pb2_grpc.GenerationServiceStub) -> None:
    response = await stub.Sample(Request(model="tiny", seed=0, count=300))
    assert [image.encoded.data[0] for image in response.images] == [seed % 256 for seed in range(300)]


async def test_many_images_are_planned_beside_other_calls(
    stub: generation_pb2_grpc.GenerationServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def note(*args: Any, **options: Any) -> SamplePlan:
        threads.append(threading.current_thread())
        return plan_sample(*args, **options)

    monkeypatch.setattr(generation, "plan_sample", note)
    await stub.Sample(Request(model="tiny", count=1))
    await stub.Sample(Request(model="tiny", count=300))
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()


async def test_a_grid_holds_all_images(stub: generation_pb2_grpc.GenerationServiceStub, gateway: Gateway) -> None:
    options = generation_pb2.GridOptions(columns=2, gap=1)
    response = await stub.Sample(Request(model="tiny", version="1.0.0", seed=7, label_ids=[0, 1, 2], grid=options))
    assert all(image.encoded.data == b"" for image in response.images)
    grid = Image.open(io.BytesIO(response.grid.data))
    assert np.asarray(grid).tolist() == [[7, 255, 8], [255, 255, 255], [9, 255, 255]]
    assert (response.grid.width, response.grid.height) == grid.size
    assert grid.text == {
        "gantry:model": "tiny",
        "gantry:version": "1.0.0",
        "gantry:digest": "d" * 64,
        "gantry:execution": EXECUTION,
        "gantry:seed": "7",
        "gantry:labels": "0,1,2",
        "gantry:truncation": "1",
    }


async def test_a_stream_sends_the_first_image_before_the_last_is_made(
    stub: generation_pb2_grpc.GenerationServiceStub, driven: DrivenBackend
) -> None:
    stream = stub.SampleStream(generation_pb2.SampleStreamRequest(sample=Request(model="tiny", seed=1, count=20)))
    first, second = await driven.away.get(), await driven.away.get()
    first.come_back()
    for index in range(8):
        response = await stream.read()
        assert (response.index, response.image.seed) == (index, index + 1)
    last = await driven.away.get()
    assert not last.outcome.done()
    second.come_back()
    last.come_back()
    assert [(await stream.read()).index for _ in range(12)] == list(range(8, 20))
    assert await stream.read() is grpc.aio.EOF


async def test_a_violation_names_its_field(stub: generation_pb2_grpc.GenerationServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.Sample(Request(model="tiny", truncation=3, label_ids=[9]))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(error.value)
    assert status is not None
    bad_request = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad_request)
    assert [violation.field for violation in bad_request.field_violations] == ["label_ids[0]", "truncation"]


async def test_a_refusal_reaches_the_caller_however_much_is_wrong(
    stub: generation_pb2_grpc.GenerationServiceStub,
) -> None:
    """Statuses travel in headers, and clients drop headers beyond a few kilobytes."""
    request = Request(model="tiny", label_ids=[999] * 5000, label_names=["ü" * 80] * 2000, count=5)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.Sample(request)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_beyond_four_mebibytes_is_refused_and_told_why(
    gateway: Gateway, stub: generation_pb2_grpc.GenerationServiceStub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gantry.access")
    with pytest.raises(grpc.aio.AioRpcError, match="a message has 4194309 bytes; the most is 4194304") as error:
        await stub.Sample(Request(model="x" * (4 << 20)), metadata=[("x-request-id", "large")])
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    details = details_of(error.value)
    assert details["ErrorInfo"].reason == "MESSAGE_TOO_LARGE"
    assert "RetryInfo" not in details
    assert dict(error.value.trailing_metadata())["x-request-id"] == "large"
    refused = {"grpc_method": "Sample", "reason": "MESSAGE_TOO_LARGE"}
    assert gateway.metrics.registry.get_sample_value("gantry_refusals_total", refused) == 1
    # A line is written a moment after its caller has the status.
    await until(lambda: bool(messages_of(caplog, "gantry.access")))
    assert messages_of(caplog, "gantry.access") == ["Sample RESOURCE_EXHAUSTED"]
    assert (await stub.Sample(Request(model="tiny"))).images


async def test_a_message_far_beyond_that_is_not_read(stub: generation_pb2_grpc.GenerationServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.Sample(Request(model="x" * (8 << 20)))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc_status.from_call(error.value) is None
    assert (await stub.Sample(Request(model="tiny"))).images


async def test_a_message_of_a_stream_that_is_too_large_ends_it(
    stub: generation_pb2_grpc.GenerationServiceStub,
) -> None:
    chunk = generation_pb2.TranslateStreamRequest(id="a", chunk=bytes(4 << 20))
    with pytest.raises(grpc.aio.AioRpcError, match="the most is 4194304") as error:
        await stub.TranslateStream(iter([chunk])).read()
    assert details_of(error.value)["ErrorInfo"].reason == "MESSAGE_TOO_LARGE"


async def test_the_size_of_a_message_is_a_setting(settings: Settings, backend: DrivenBackend) -> None:
    async with (
        Gateway(settings.model_copy(update={"max_request_bytes": 65_536}), backend) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="65536") as error:
            await stub.Sample(Request(model="x" * 65_536))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Sample(Request(model="x" * 65_000))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


async def test_metadata_has_a_bound(stub: generation_pb2_grpc.GenerationServiceStub) -> None:
    # Ten times: were there a lower, soft bound, gRPC would refuse some by chance.
    for _ in range(10):
        await stub.Sample(Request(model="tiny"), metadata=[("a-token", "x" * 15_000)])
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.Sample(Request(model="tiny"), metadata=[("a-token", "x" * 20_000)])
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_of_one_connection_have_a_bound(settings: Settings) -> None:
    backend = DrivenBackend(tiny_card())
    async with (
        Gateway(settings.model_copy(update={"max_concurrent_streams": 2}), backend) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", [("grpc.use_local_subchannel_pool", 1)]) as full,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", [("grpc.use_local_subchannel_pool", 1)]) as free,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(full)
        calls = [asyncio.ensure_future(stub.Sample(Request(model="tiny")))]
        envelopes = [await backend.away.get()]
        calls.append(asyncio.ensure_future(stub.Sample(Request(model="tiny"))))
        envelopes.append(await backend.away.get())
        third = asyncio.ensure_future(models_pb2_grpc.ModelServiceStub(full).ListModels(models_pb2.ListModelsRequest()))
        await models_pb2_grpc.ModelServiceStub(free).ListModels(models_pb2.ListModelsRequest())
        assert not third.done()
        for envelope in envelopes:
            envelope.come_back()
        await asyncio.gather(*calls, third)


def answers_to_pings(port: int) -> tuple[list[int], bytes]:
    """Ping five times in a row: the kinds of the frames that answer, until one says to go away, and all that came."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(OPENING + frame(PING, 0, 0, bytes(8)) * 5)
        while (kinds := [kind for kind, _ in frames(received)]).count(PING) < 5 and GOAWAY not in kinds:
            more = connection.recv(65536)
            assert more, f"hung up on after {received!r}"
            received += more
    return [kind for kind in kinds if kind in (PING, GOAWAY)], received


async def test_a_caller_that_pings_too_often_is_hung_up_on(settings: Settings) -> None:
    seldom = settings.model_copy(update={"keepalive_least_seconds": 3600.0})
    async with Gateway(seldom, DrivenBackend(tiny_card())) as gateway:
        kinds, received = await asyncio.to_thread(answers_to_pings, gateway.port)
    assert kinds[-1] == GOAWAY
    assert b"too_many_pings" in received


async def test_a_caller_may_ping_while_no_call_is_under_way(settings: Settings) -> None:
    at_any_time = settings.model_copy(update={"keepalive_least_seconds": 0.0})
    async with Gateway(at_any_time, DrivenBackend(tiny_card())) as gateway:
        kinds, _ = await asyncio.to_thread(answers_to_pings, gateway.port)
    assert kinds == [PING] * 5


async def test_an_item_that_failed_is_named_without_internals(
    stub: generation_pb2_grpc.GenerationServiceStub, driven: DrivenBackend
) -> None:
    call = asyncio.ensure_future(stub.Sample(Request(model="tiny", seed=5, count=2)))
    envelope = await driven.away.get()
    reply = reply_to(envelope.request)
    reply.results[1].CopyFrom(worker_pb2.WorkResult(error="the picture could not be encoded"))
    envelope.outcome.set_result(reply)
    with pytest.raises(grpc.aio.AioRpcError, match="seed 6 could not be made: the picture could not be encoded"):
        await call


async def test_a_call_without_a_deadline_has_the_default_one(
    stub: generation_pb2_grpc.GenerationServiceStub, driven: DrivenBackend
) -> None:
    for timeout in (None, 60):
        call = asyncio.ensure_future(stub.Sample(Request(model="tiny"), timeout=timeout))
        envelope = await driven.away.get()
        assert envelope.timeout == pytest.approx(timeout or 120.0, abs=2.0)
        envelope.come_back()
        await call


async def test_what_a_caller_who_left_had_queued_is_not_run(
    gateway: Gateway, stub: generation_pb2_grpc.GenerationServiceStub, driven: DrivenBackend
) -> None:
    def value(name: str, **labels: str) -> float | None:
        return gateway.metrics.registry.get_sample_value(name, labels)

    first, away = [], []
    for _ in range(2):
        first.append(asyncio.ensure_future(stub.Sample(Request(model="tiny"))))
        away.append(await driven.away.get())
    leaving = stub.Sample(Request(model="tiny", seed=77))
    await until(lambda: value("gantry_queue_items", model="tiny", version="1.1.0") == 1)
    leaving.cancel()
    call = {"grpc_service": "gantry.v1.GenerationService", "grpc_method": "Sample", "grpc_type": "unary"}
    await until(lambda: value("grpc_server_handled_total", **call, grpc_code="CANCELLED") == 1)
    for envelope in away:
        envelope.come_back()
    await asyncio.gather(*first)
    await settled()
    assert all(77 not in envelope.seeds for envelope in driven.envelopes)


async def test_models_are_listed_and_found(channel: grpc.aio.Channel, backend: DrivenBackend) -> None:
    backend.refused_archives.append(models_pb2.RefusedArchive(archive="bad.mar", reason="broken"))
    stub = models_pb2_grpc.ModelServiceStub(channel)
    listed = await stub.ListModels(models_pb2.ListModelsRequest())
    assert [loaded.card.version for loaded in listed.models] == ["1.0.0", "1.1.0"]
    assert [refused.archive for refused in listed.refused] == ["bad.mar"]
    assert (await stub.GetModel(models_pb2.GetModelRequest(model="tiny"))).model == listed.models[1]
    with pytest.raises(grpc.aio.AioRpcError, match="loaded: tiny") as error:
        await stub.GetModel(models_pb2.GetModelRequest(model="nope"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


async def test_models_that_come_and_go_while_it_runs(
    gateway: Gateway, channel: grpc.aio.Channel, backend: DrivenBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", inventory.__name__)
    models, generation = models_pb2_grpc.ModelServiceStub(channel), generation_pb2_grpc.GenerationServiceStub(channel)
    backend.replace(tiny_card(version="1.1.0"), tiny_card("new"), digest="e" * 64)
    backend.refused_archives = [models_pb2.RefusedArchive(archive="bad.mar", reason="broken")]
    backend.on_change()

    listed = await models.ListModels(models_pb2.ListModelsRequest())
    assert [(loaded.card.name, loaded.card.version) for loaded in listed.models] == [
        ("new", "1.0.0"),
        ("tiny", "1.1.0"),
    ]
    assert [refused.archive for refused in listed.refused] == ["bad.mar"]
    assert {image.digest for image in (await generation.Sample(Request(model="new", count=2))).images} == {"e" * 64}
    with pytest.raises(grpc.aio.AioRpcError, match=r"no version '1\.0\.0'; loaded versions: 1\.1\.0") as error:
        await generation.Sample(Request(model="tiny", version="1.0.0"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    shown = {
        (sample.labels["model"], sample.labels["version"], sample.labels["digest"][0])
        for metric in gateway.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "gantry_model_info"
    }
    assert shown == {("new", "1.0.0", "e"), ("tiny", "1.1.0", "e")}
    assert sorted(messages_of(caplog, inventory.__name__)) == [
        "no longer serving tiny 1.0.0 (dddddddddddd)",
        "no longer serving tiny 1.1.0 (dddddddddddd)",
        "refused bad.mar: broken",
        "serving new 1.0.0 (eeeeeeeeeeee)",
        "serving tiny 1.1.0 (eeeeeeeeeeee)",
    ]


async def test_a_gateway_without_models_says_where_it_looked(
    settings: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    backend = DrivenBackend()
    async with Gateway(settings.model_copy(update={"model_store": tmp_path}), backend):
        assert f"there is no model to serve: {tmp_path} holds no .mar archive" in caplog.text
        backend.refused_archives = [models_pb2.RefusedArchive(archive="bad.mar", reason="broken")]
        backend.on_change()
    assert "there is no model to serve: archives refused: 1" in caplog.text


async def test_health_follows_a_backend_that_goes_down_at_once(settings: Settings, backend: DrivenBackend) -> None:
    """The next probe would be an hour away."""
    async with (
        Gateway(settings.model_copy(update={"probe_seconds": 3600}), backend) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
    ):
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        backend.check_fault = BackendUnavailableError("it has ended")
        backend.on_change()
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        backend.check_fault = None
        backend.on_change()
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_backend_beyond_help_ends_the_command(
    settings: Settings, backend: DrivenBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "make_backend", lambda _: backend)
    serving = asyncio.create_task(server.serve(settings))
    await until(lambda: bool(backend.lost and backend.is_running))
    assert backend.lost
    backend.lost.set_exception(BackendUnavailableError("starting it again does not help"))
    with pytest.raises(BackendUnavailableError, match="does not help"):
        await serving
    assert not backend.is_running
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_stopping_finishes_admitted_calls_and_frees_everything(
    settings: Settings, backend: DrivenBackend, driven: DrivenBackend
) -> None:
    gateway = Gateway(settings, backend)
    await gateway.__aenter__()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = asyncio.ensure_future(generation_pb2_grpc.GenerationServiceStub(channel).Sample(Request(model="tiny")))
        envelope = await driven.away.get()
        stopping = asyncio.create_task(gateway.__aexit__(None, None, None))
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watching.cancel()
        assert not call.done()
        envelope.come_back()
        assert len((await call).images) == 1
        await stopping
    assert not backend.is_running
    for port in (gateway.port, gateway.metrics_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("which", ["port", "metrics_port"])
async def test_a_taken_port_is_told_and_nothing_is_left_behind(which: str, settings: Settings) -> None:
    with socket.socket() as taken:
        # Its owner would share it, as two servers of gRPC do unless they are told otherwise.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        backend = DrivenBackend(tiny_card())
        gateway = Gateway(settings.model_copy(update={which: port}), backend)
        with pytest.raises(OSError, match=f"127.0.0.1:{port}" if which == "port" else f"port {port} of 127.0.0.1: "):
            await gateway.__aenter__()
    assert not backend.is_running
    if which == "port":
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", gateway.metrics_port)) != 0


@contextmanager
def serving(store: Path, *arguments: str) -> Iterator[tuple[str, str, list[str]]]:
    """Run the command until the block ends: its ports of gRPC and HTTP, and the lines it wrote, in the end all."""
    command = [sys.executable, "-m", "services.cli", "serve", "--port", "0", "--metrics-port", "0", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GANTRY_", "GRPC_"))}
    environment["GANTRY_MODEL_STORE"] = str(store)
    log: list[str] = []
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                log.append(line)
                if ports := re.search(r"gRPC on .+:(\d+), metrics and probes over HTTP on port (\d+) ", line):
                    yield ports[1], ports[2], log
                    break
        finally:
            process.send_signal(signal.SIGTERM)
            log += process.stderr.readlines()
    assert process.returncode == 0, "".join(log)


def test_the_command_serves_until_sigterm_and_ends_well(tiny_store: Path) -> None:
    (tiny_store / "broken.mar").write_bytes(b"broken")
    with serving(tiny_store) as (port, probe_port, log):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            response = generation_pb2_grpc.GenerationServiceStub(channel).Sample(Request(model="tiny", seed=1))
        with urllib.request.urlopen(f"http://127.0.0.1:{probe_port}/readyz") as readyz:
            report = json.load(readyz)
    assert Image.open(io.BytesIO(response.images[0].encoded.data)).size == (6, 8)
    assert list(report["refused"]) == ["broken.mar"]
    assert any("refused broken.mar: not a readable .mar file" in line for line in log)
    assert "Traceback" not in "".join(log)


def test_every_line_on_stderr_is_json(tiny_store: Path, tmp_path: Path) -> None:
    certificate, key = map(str, Authority().sign("gateway", "localhost").write(tmp_path / "tls"))
    tls = "--tls-certificate", certificate, "--tls-key", key
    with serving(tiny_store, "--log-format", "json", *tls) as (port, probe_port, log):
        with socket.create_connection(("127.0.0.1", int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while stranger.recv(1024):
                """Until the gateway gives the handshake up."""
        with socket.create_connection(("127.0.0.1", int(probe_port))) as prober:
            # Hangs up in the middle of a request, with a reset.
            prober.sendall(b"GET /metr")
            prober.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert [json.loads(line)["message"] for line in log][-1] == "stopped"


def test_a_start_that_fails_is_a_line_of_the_log(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "services.cli",
        "serve",
        "--log-format",
        "json",
        "--api-keys",
        str(tmp_path / "none"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["level"] == "CRITICAL"
    assert str(tmp_path / "none") in last["message"]


_SERVE_DRIVEN = """
import asyncio, logging
from services.gateway import server
from services.gateway.settings import Settings
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.fakes import DrivenBackend

class TalkingBackend(DrivenBackend):
    async def run(self, *arguments):
        logging.info("an envelope is away")
        return await super().run(*arguments)

logging.basicConfig(level="INFO")
server.make_backend = lambda settings: TalkingBackend(tiny_card())
asyncio.run(server.serve(Settings(port=0, metrics_port=0, drain_seconds=600)))
"""


@contextmanager
def waited_for() -> Iterator[tuple["subprocess.Popen[str]", grpc.Channel, grpc.Future]]:
    """A gateway with ten minutes of grace, a connection, and a call that it would wait for: it must end well."""
    with subprocess.Popen([sys.executable, "-c", _SERVE_DRIVEN], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr)
            port = next(found[1] for line in lines if (found := re.search(r"gRPC on 127\.0\.0\.1:(\d+)", line)))
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = generation_pb2_grpc.GenerationServiceStub(channel).Sample.future(Request(model="tiny"))
                assert any("an envelope is away" in line for line in lines)
                yield process, channel, call
            rest = process.stderr.read()
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0, rest
    assert "Traceback" not in rest


def assert_ended(call: grpc.Future) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call.result(timeout=PATIENCE_SECONDS)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert details_of(error.value)["ErrorInfo"].reason == "SHUTTING_DOWN"


def test_a_second_signal_ends_the_calls_that_the_first_waits_for() -> None:
    with waited_for() as (process, channel, call):
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not call.done()
        process.send_signal(signal.SIGINT)
        assert_ended(call)


def test_a_second_signal_counts_that_comes_before_the_first_is_seen() -> None:
    with waited_for() as (process, _, call):
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            process.send_signal(number)
        assert_ended(call)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model-store", "/nowhere"], "/nowhere is not a folder"),
        (["--port", "70000"], "port"),
        (["--host", "0.0.0.0"], "is open to strangers"),
        (["--tls-certificate", "/nowhere.pem"], "tls_key"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "services.cli", "serve", "--metrics-port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
