"""A gateway from its ports when there are too many: bytes, calls, connections, and callers that say nothing."""

import asyncio
import gc
import io
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from tests.conformance.harness import details_of
from tests.services.gateway.cards import tiny_card, translation_card
from tests.services.gateway.fakes import DrivenBackend
from tests.services.gateway.http2 import GOAWAY, OPENING, frames

TINY = generation_pb2.SampleRequest(model="tiny")
Serve = Callable[..., AbstractAsyncContextManager[generation_pb2_grpc.GenerationServiceStub]]


def upload(side: int = 256) -> generation_pb2.TranslateRequest:
    """A picture of noise."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return generation_pb2.TranslateRequest(
        model="horse2zebra", direction=generation_pb2.DIRECTION_A_TO_B, image=file.getvalue()
    )


@pytest.fixture
def held() -> DrivenBackend:
    """Holds every envelope until the test ends it."""
    return DrivenBackend(tiny_card(), translation_card())


@pytest.fixture
def serve(settings: Settings, held: DrivenBackend) -> Serve:
    @asynccontextmanager
    async def serve(**changed: Any) -> AsyncIterator[generation_pb2_grpc.GenerationServiceStub]:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with (
            Gateway(settings.model_copy(update=changed | {"drain_seconds": 0.0}), held) as gateway,
            grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", options) as channel,
        ):
            yield generation_pb2_grpc.GenerationServiceStub(channel)

    return serve


async def test_a_refused_call_lets_go_of_its_message_at_once(serve: Serve) -> None:
    """Python's collector would find it seldom, and a picture may have megabytes."""

    def requests() -> int:
        return sum(type(thing) is generation_pb2.SampleRequest for thing in gc.get_objects())

    async with serve() as stub:
        gc.collect()
        gc.disable()
        try:
            before = requests()
            for _ in range(3):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.Sample(generation_pb2.SampleRequest(model="unknown"))
            while requests() > before:
                await asyncio.sleep(0.01)
        finally:
            gc.enable()


def refused(error: grpc.aio.AioRpcError, code: grpc.StatusCode, reason: str) -> bool:
    """Whether a call was refused for a reason, with a delay after which a retry may help."""
    details = details_of(error)
    return error.code() == code and details["ErrorInfo"].reason == reason and "RetryInfo" in details


async def test_an_upload_for_which_there_is_no_memory_is_refused_and_others_are_served(
    serve: Serve, held: DrivenBackend
) -> None:
    request = upload()
    async with serve(memory_bytes=1 << 21, max_request_bytes=1 << 18, memory_patience_seconds=0.0) as stub:
        first = asyncio.ensure_future(stub.Translate(request))
        envelopes = [await held.away.get()]
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Translate(request)
        assert refused(error.value, grpc.StatusCode.RESOURCE_EXHAUSTED, "MEMORY_FULL")
        other = asyncio.ensure_future(stub.Sample(TINY))
        envelopes.append(await held.away.get())
        for envelope in envelopes:
            envelope.come_back()
        await asyncio.gather(first, other)
        again = asyncio.ensure_future(stub.Translate(request))
        (await held.away.get()).come_back()
        assert (await again).model == "horse2zebra"


async def test_a_stream_that_is_made_in_many_parts_comes_whole_and_in_order(settings: Settings) -> None:
    """Of so little memory, 62 pictures may wait for their reader."""
    backend = DrivenBackend(tiny_card(), answers_at_once=True)
    changed = settings.model_copy(update={"memory_bytes": 1 << 21, "max_images": 4096, "drain_seconds": 0.0})
    sample = generation_pb2.SampleRequest(model="tiny", count=4096, seed=0, format=generation_pb2.IMAGE_FORMAT_RAW)
    async with Gateway(changed, backend) as gateway, grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        answers = stub.SampleStream(generation_pb2.SampleStreamRequest(sample=sample))
        seen = [(answer.index, answer.image.seed, len(answer.image.encoded.data) > 0) async for answer in answers]
    assert seen == [(number, number, True) for number in range(4096)]


async def test_calls_have_a_bound(serve: Serve, held: DrivenBackend) -> None:
    async with serve(max_calls=1) as stub:
        first = asyncio.ensure_future(stub.Sample(TINY))
        envelope = await held.away.get()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Sample(TINY)
        assert refused(error.value, grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        envelope.come_back()
        await first


async def test_a_call_whose_request_does_not_come_is_ended(serve: Serve) -> None:
    async with serve(stream_idle_seconds=0.05) as stub:
        silent = stub.TranslateStream()
        with pytest.raises(grpc.aio.AioRpcError, match=r"no message has come for 0\.05 s") as error:
            await silent.read()
        assert error.value.code() == grpc.StatusCode.ABORTED
        assert details_of(error.value)["ErrorInfo"].reason == "STREAM_IDLE"


async def test_connections_have_a_bound_and_silent_ones_end(settings: Settings, held: DrivenBackend) -> None:
    held.answers_at_once = True
    few = settings.model_copy(update={"max_connections": 2, "handshake_seconds": 1.0})
    async with Gateway(few, held) as gateway:
        silent = [socket.create_connection(("127.0.0.1", gateway.port), 30) for _ in range(3)]
        for each in silent:
            # The third is hung up on at once, the others when the handshake has taken too long.
            assert await asyncio.to_thread(_until_closed, each)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            assert (await stub.Sample(TINY, wait_for_ready=True)).images


def _until_closed(connection: socket.socket) -> bool:
    with connection:
        try:
            while connection.recv(4096):
                """The server's side of the handshake."""
        except ConnectionResetError:
            pass
        return True


async def test_an_old_connection_takes_no_new_calls_and_its_streams_go_on(
    settings: Settings, held: DrivenBackend
) -> None:
    held.answers_at_once = True
    young = settings.model_copy(update={"connection_age_seconds": 0.1})
    async with (
        Gateway(young, held) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        stream = stub.TranslateStream()
        await stream.wait_for_connection()
        for _ in range(2):
            # As old as the channel's connection, and then twice as old.
            await asyncio.to_thread(_until_goaway, gateway.port)
        await stream.write(generation_pb2.TranslateStreamRequest(id="a", translate=upload(16)))
        await stream.done_writing()
        assert (await stream.read()).result.model == "horse2zebra"
        assert await stream.read() is grpc.aio.EOF
        assert (await stub.Sample(TINY)).images


def _until_goaway(port: int) -> None:
    received = b""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(OPENING)
        while GOAWAY not in [kind for kind, _ in frames(received)]:
            more = connection.recv(65536)
            assert more, f"closed after {received!r}"
            received += more


class LoadingBackend(DrivenBackend):
    """Takes as long to start as the test likes."""

    def __init__(self, *cards: models_pb2.ModelCard) -> None:
        super().__init__(*cards, answers_at_once=True)
        self.has_loaded = asyncio.Event()

    async def start(self) -> None:
        """Load."""
        await self.has_loaded.wait()
        await super().start()


async def test_while_models_load_the_ports_are_taken_and_nothing_is_ready(settings: Settings) -> None:
    backend = LoadingBackend(tiny_card())
    gateway = Gateway(settings, backend)
    starting = asyncio.create_task(gateway.start())
    await asyncio.sleep(0)

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    assert (await asyncio.to_thread(get, "/healthz"))[0] == 200
    status, body = await asyncio.to_thread(get, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "starting": True})
    second = Gateway(settings.model_copy(update={"port": gateway.port}), LoadingBackend(tiny_card()))
    with pytest.raises(OSError, match=f"127.0.0.1:{gateway.port}"):
        await second.start()
    backend.has_loaded.set()
    await starting
    assert (await asyncio.to_thread(get, "/readyz"))[0] == 200
    await gateway.__aexit__(None, None, None)


_FEW_DESCRIPTORS = """
import asyncio, resource, socket, urllib.request
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.fakes import DrivenBackend

async def main():
    async with Gateway(Settings(port=0, metrics_port=0), DrivenBackend(tiny_card(), answers_at_once=True)) as gateway:
        print(gateway.port, gateway.metrics_port, flush=True)
        await asyncio.to_thread(input)

asyncio.run(main())
"""


def test_probes_answer_however_many_connections_there_are() -> None:
    command = [sys.executable, "-c", _FEW_DESCRIPTORS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        port, probe_port = map(int, process.stdout.readline().split())
        silent = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(250)]
        with urllib.request.urlopen(f"http://127.0.0.1:{probe_port}/readyz", timeout=30) as response:
            assert response.status == 200
        for each in silent:
            each.close()
        process.stdin.write("\n")
    assert process.returncode == 0
