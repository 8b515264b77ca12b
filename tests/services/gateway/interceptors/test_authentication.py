"""Strangers at a real gateway: who is let in, to which models, and what the others learn."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.client.errors import GantryError, read_error
from services.gateway.call import caller_may_use, current_call
from services.gateway.credentials import watched
from services.gateway.credentials.api_keys import add_key, make_key
from services.gateway.interceptors.authentication import authenticator
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.certificates import Authority
from tests.services.gateway.fakes import DrivenBackend, until
from tests.services.gateway.http2 import CONTINUATION, DATA, GOAWAY, HEADERS, OPENING, RST_STREAM, frame, frames
from tests.services.gateway.issuing import AUDIENCE, ISSUER, Signer, key_set

SIGNER = Signer("EdDSA")
MISSING = 'a key is needed: send the metadata "authorization: Bearer KEY"'
MALFORMED = 'the metadata "authorization" must be there once, and be "Bearer KEY"'
REFUSED = "the key is not accepted"


class Keys:
    """A file of keys with two callers: `every` may use all models, `tiny` only the one of its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.every, self.tiny = self.add("every", "*"), self.add("tiny-only", "tiny")

    def add(self, name: str, *models: str) -> str:
        key, entry = make_key(name, models)
        add_key(self.path, entry)
        return key


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "api-keys.json")


@pytest.fixture
def backend() -> DrivenBackend:
    backend = DrivenBackend(tiny_card(), tiny_card("other"), answers_at_once=True)
    backend.refused_archives = [models_pb2.RefusedArchive(archive="secret.mar", reason="broken")]
    return backend


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(SIGNER.jwk()))
    return path


@pytest.fixture
def settings_(keys: Keys, key_file: Path) -> Settings:
    return Settings(
        port=0,
        metrics_port=0,
        api_keys=keys.path,
        jwt_keys=str(key_file),
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
        drain_seconds=5,
    )


@pytest_asyncio.fixture
async def gateway(settings_: Settings, backend: DrivenBackend) -> AsyncIterator[Gateway]:
    async with Gateway(settings_, backend) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield channel


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)


@contextmanager
def refused(code: grpc.StatusCode, reason: str, message: str) -> Iterator[None]:
    """Expect a refusal, word by word."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield
    error = read_error(caught.value)
    assert (error.code, error.reason, error.message) == (code, reason, message)
    assert error.retry_seconds is None


def unauthenticated(message: str) -> Any:
    return refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", message)


async def models_of(channel: grpc.aio.Channel, credential: str) -> list[str]:
    stub = models_pb2_grpc.ModelServiceStub(channel)
    answer = await stub.ListModels(models_pb2.ListModelsRequest(), metadata=bearer(credential))
    return [loaded.card.name for loaded in answer.models]


async def sample(channel: grpc.aio.Channel, metadata: Any, model: str = "tiny", seed: int = 1) -> list[bytes]:
    stub = generation_pb2_grpc.GenerationServiceStub(channel)
    answer = await stub.Sample(generation_pb2.SampleRequest(model=model, seed=seed), metadata=metadata)
    return [image.encoded.data for image in answer.images]


def sample_stream(channel: grpc.aio.Channel, metadata: Any, model: str = "tiny", count: int = 1) -> Any:
    request = generation_pb2.SampleStreamRequest(sample=generation_pb2.SampleRequest(model=model, seed=1, count=count))
    return generation_pb2_grpc.GenerationServiceStub(channel).SampleStream(request, metadata=metadata)


async def silence() -> AsyncIterator[Any]:
    """A stream on which nothing is sent: grpc.aio drops the status of a refusal that a message crosses."""
    await asyncio.Event().wait()
    yield


# Every method of the gateway but the health service's, with a request that says nothing.
METHODS: dict[str, Callable[[grpc.aio.Channel, Any], Any]] = {
    "Sample": lambda channel, metadata: generation_pb2_grpc.GenerationServiceStub(channel).Sample(
        generation_pb2.SampleRequest(), metadata=metadata
    ),
    "SampleStream": lambda channel, metadata: generation_pb2_grpc.GenerationServiceStub(channel).SampleStream(
        generation_pb2.SampleStreamRequest(), metadata=metadata
    ),
    "Traverse": lambda channel, metadata: generation_pb2_grpc.GenerationServiceStub(channel).Traverse(
        generation_pb2.TraverseRequest(), metadata=metadata
    ),
    "Translate": lambda channel, metadata: generation_pb2_grpc.GenerationServiceStub(channel).Translate(
        generation_pb2.TranslateRequest(), metadata=metadata
    ),
    "TranslateStream": lambda channel, metadata: generation_pb2_grpc.GenerationServiceStub(channel).TranslateStream(
        silence(), metadata=metadata
    ),
    "ListModels": lambda channel, metadata: models_pb2_grpc.ModelServiceStub(channel).ListModels(
        models_pb2.ListModelsRequest(), metadata=metadata
    ),
    "GetModel": lambda channel, metadata: models_pb2_grpc.ModelServiceStub(channel).GetModel(
        models_pb2.GetModelRequest(), metadata=metadata
    ),
    "ServerReflectionInfo": lambda channel, metadata: reflection_pb2_grpc.ServerReflectionStub(
        channel
    ).ServerReflectionInfo(silence(), metadata=metadata),
}


async def answered(call: Any) -> None:
    """Wait for the first answer, or for the error."""
    if hasattr(call, "read"):
        await call.read()
    else:
        await call


def test_every_method_is_tried() -> None:
    services = generation_pb2.DESCRIPTOR.services_by_name, models_pb2.DESCRIPTOR.services_by_name
    names = {method.name for service in services for one in service.values() for method in one.methods}
    assert names | {"ServerReflectionInfo"} == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
async def test_a_stranger_gets_nowhere(channel: grpc.aio.Channel, keys: Keys, method: str) -> None:
    call = METHODS[method]
    with unauthenticated(MISSING):
        await answered(call(channel, ()))
    with unauthenticated(REFUSED):
        await answered(call(channel, bearer(keys.every[:-1])))


async def test_the_health_service_is_open(channel: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest()
    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


async def test_a_bearer_of_a_key_is_served(channel: grpc.aio.Channel, keys: Keys) -> None:
    assert await sample(channel, bearer(keys.every), seed=7) == [b"\x07"]
    images = [answer.image.seed async for answer in sample_stream(channel, bearer(keys.tiny), count=3)]
    assert images == [1, 2, 3]
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    answer = await reflection.ServerReflectionInfo(iter([question]), metadata=bearer(keys.tiny)).read()
    assert "gantry.v1.ModelService" in {service.name for service in answer.list_services_response.service}


async def test_the_scheme_may_be_written_in_any_case(channel: grpc.aio.Channel, keys: Keys) -> None:
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
        assert await sample(channel, (("authorization", f"{scheme} {keys.every} "),))


async def test_what_is_no_bearer_value_is_told_so(channel: grpc.aio.Channel, keys: Keys) -> None:
    key = keys.every
    for value in ("", "Bearer", "Bearer ", "Bearer    ", f"Basic {key}", key, f"Bearer:{key}"):
        with unauthenticated(MALFORMED):
            await sample(channel, (("authorization", value),))


async def test_two_values_are_refused_even_where_one_is_good(channel: grpc.aio.Channel, keys: Keys) -> None:
    with unauthenticated(MALFORMED):
        await sample(channel, bearer(keys.every) + bearer("gantry_x"))


async def test_a_model_that_is_not_allowed_is_as_one_that_is_not_there(channel: grpc.aio.Channel, keys: Keys) -> None:
    for name in ("other", "nope"):
        message = f"model '{name}' is not allowed to this caller; allowed: tiny"
        generation, metadata = generation_pb2_grpc.GenerationServiceStub(channel), bearer(keys.tiny)
        for call in (
            models_pb2_grpc.ModelServiceStub(channel).GetModel(
                models_pb2.GetModelRequest(model=name), metadata=metadata
            ),
            generation.Sample(generation_pb2.SampleRequest(model=name), metadata=metadata),
            sample_stream(channel, metadata, name),
            generation.Traverse(generation_pb2.TraverseRequest(model=name), metadata=metadata),
            generation.Translate(generation_pb2.TranslateRequest(model=name), metadata=metadata),
        ):
            with refused(grpc.StatusCode.PERMISSION_DENIED, "MODEL_NOT_ALLOWED", message):
                await answered(call)
        request = generation_pb2.TranslateStreamRequest(
            id="one", translate=generation_pb2.TranslateRequest(model=name, image=b"x")
        )
        answer = await generation.TranslateStream(iter([request]), metadata=metadata).read()
        assert (answer.error.code, answer.error.message) == (grpc.StatusCode.PERMISSION_DENIED.value[0], message)
    with refused(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", "model 'nope' is not loaded; loaded: other, tiny"):
        await sample(channel, bearer(keys.every), "nope")


async def test_only_the_models_that_may_be_used_are_listed(channel: grpc.aio.Channel, keys: Keys) -> None:
    stub = models_pb2_grpc.ModelServiceStub(channel)
    every = await stub.ListModels(models_pb2.ListModelsRequest(), metadata=bearer(keys.every))
    assert [loaded.card.name for loaded in every.models] == ["other", "tiny"]
    assert [archive.archive for archive in every.refused] == ["secret.mar"]
    tiny = await stub.ListModels(models_pb2.ListModelsRequest(), metadata=bearer(keys.tiny))
    assert [loaded.card.name for loaded in tiny.models] == ["tiny"]
    assert list(tiny.refused) == []


async def test_callers_at_the_same_time_are_not_mixed_up(channel: grpc.aio.Channel, keys: Keys) -> None:
    every, tiny = bearer(keys.every), bearer(keys.tiny)

    async def is_served(metadata: Any) -> bool:
        try:
            return bool(await sample(channel, metadata, "other"))
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.PERMISSION_DENIED

    # All their images together have a place in the queue.
    streams = [aiter(sample_stream(channel, metadata, count=100)) for metadata in (every, tiny) * 3]
    for stream in streams:
        await anext(stream)
    assert await asyncio.gather(*(is_served(metadata) for metadata in (every, tiny) * 20)) == [True, False] * 20
    for stream in streams:
        assert len([answer async for answer in stream]) == 99


async def test_the_log_tells_who_called(
    channel: grpc.aio.Channel, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gantry.access")
    await sample(channel, bearer(keys.tiny))
    _ = [answer async for answer in sample_stream(channel, bearer(keys.every))]
    await sample(channel, bearer(SIGNER.sign(sub="someone", gantry_models="*")))
    with unauthenticated(MISSING):
        await sample(channel, ())

    def callers() -> list[str]:
        return sorted(record.fields["caller"] for record in caplog.records if record.name == "gantry.access")

    # A line is written a moment after its caller has the status.
    await until(lambda: len(callers()) == 4)
    assert callers() == ["", "every", "someone", "tiny-only"]


async def test_a_key_can_be_added_and_taken_away(
    channel: grpc.aio.Channel, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "CHECK_SECONDS", 0.0)
    late = keys.add("late", "*")
    assert await sample(channel, bearer(late))
    content = json.loads(keys.path.read_text())
    keys.path.write_text(json.dumps({"keys": [entry for entry in content["keys"] if entry["name"] != "every"]}))
    assert await sample(channel, bearer(late))
    with unauthenticated(REFUSED):
        await sample(channel, bearer(keys.every))
    keys.path.write_text("broken")
    assert await sample(channel, bearer(late))


async def test_a_bearer_of_a_web_token_is_served_what_its_claim_lists(channel: grpc.aio.Channel) -> None:
    assert await models_of(channel, SIGNER.sign(gantry_models=["tiny"])) == ["tiny"]
    assert await models_of(channel, SIGNER.sign(gantry_models="*")) == ["other", "tiny"]
    assert await models_of(channel, SIGNER.sign()) == []
    assert await sample(channel, bearer(SIGNER.sign(gantry_models="other tiny")))


async def test_a_web_token_that_expired_is_told_so(channel: grpc.aio.Channel) -> None:
    with unauthenticated("the token has expired"):
        await models_of(channel, SIGNER.sign(exp=time.time() - 60))
    with unauthenticated(REFUSED):
        await models_of(channel, SIGNER.sign(aud="other"))


async def test_without_web_tokens_only_keys_count_and_the_other_way_round(
    keys: Keys, key_file: Path, backend: DrivenBackend
) -> None:
    web_token = SIGNER.sign(gantry_models="*")
    only_keys = Settings(port=0, metrics_port=0, api_keys=keys.path)
    only_web_tokens = Settings(port=0, metrics_port=0, jwt_keys=str(key_file), jwt_audience=AUDIENCE)
    for settings_, good, bad in ((only_keys, keys.every, web_token), (only_web_tokens, web_token, keys.every)):
        async with (
            Gateway(settings_, backend) as gateway,
            grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
        ):
            assert await sample(channel, bearer(good))
            with unauthenticated(REFUSED):
                await sample(channel, bearer(bad))


@pytest.mark.parametrize(
    ("names", "expected"), [(("reports", "a.example", "b.example"), "reports"), ((None, "a.example"), "a.example")]
)
async def test_a_client_certificate_names_its_owner_who_may_use_all(
    names: tuple[str, ...], expected: str, tmp_path: Path, backend: DrivenBackend, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority()
    certificate, key = authority.sign("gateway", "localhost").write(tmp_path)
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    settings_ = Settings(
        port=0, metrics_port=0, tls_certificate=certificate, tls_key=key, tls_client_ca=tmp_path / "ca.crt"
    )
    owner = authority.sign(*names)
    credentials = grpc.ssl_channel_credentials(authority.certificate, owner.key, owner.certificate)
    caplog.set_level(logging.INFO, "gantry.access")
    async with (
        Gateway(settings_, backend) as gateway,
        grpc.aio.secure_channel(f"localhost:{gateway.port}", credentials) as channel,
    ):
        assert await sample(channel, (), "other")
    (record,) = (record for record in caplog.records if record.name == "gantry.access")
    assert record.fields["caller"] == expected


async def test_a_gateway_without_keys_asks_nobody(backend: DrivenBackend) -> None:
    assert authenticator(Settings()) is None
    assert (current_call().caller.name, caller_may_use("tiny"), caller_may_use("*")) == ("", True, True)
    async with (
        Gateway(Settings(port=0, metrics_port=0), backend) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
    ):
        assert await sample(channel, (), "other")
        assert await sample(channel, bearer("anything"), "other")


@pytest.mark.parametrize("name", ["jwt_issuer", "jwt_audience"])
def test_web_token_settings_without_keys_are_an_error(name: str) -> None:
    """Else somebody would believe that tokens are asked for."""
    with pytest.raises(ValueError, match=f"{name} is set without jwt_keys"):
        authenticator(Settings(**{name: "x"}))


def test_a_missing_audience_is_warned_of(key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert authenticator(Settings(jwt_keys=str(key_file)))
    assert "jwt_audience is not set" in caplog.text


def test_files_that_are_bad_from_the_start_are_errors(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        authenticator(Settings(api_keys=tmp_path / "missing"))
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(ValueError, match="bad: keys: Field required"):
        authenticator(Settings(api_keys=tmp_path / "bad"))
    with pytest.raises(ValueError, match="bad: not a JSON Web Key Set"):
        authenticator(Settings(jwt_keys=str(tmp_path / "bad")))


# What grpc lets a client send: visible ASCII and spaces.
SENDABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
SECRET = "S3cr3t-S3cr3t-S3cr3t"
# Made when tests are collected and refused minutes later, not because it ended: it does so in 2106.
WEB_TOKEN = Signer("EdDSA", "stranger").sign(headers={"kid": "one"}, sub=SECRET, exp=2**32)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    before=SENDABLE,
    scheme=st.sampled_from(["Bearer ", "bearer ", "Basic ", ""]),
    secret=st.sampled_from([SECRET, f"gantry_{SECRET}", WEB_TOKEN, f"{SECRET}.{SECRET}.{SECRET}"]),
    after=SENDABLE,
)
async def test_nothing_of_a_credential_is_told_or_logged(
    channel: grpc.aio.Channel,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    before: str,
    scheme: str,
    secret: str,
    after: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    for value in (f"{scheme}{secret}{after}", f"{before}{scheme}{secret}", f"{scheme}{before}{secret}{after}"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sample(channel, (("authorization", value),))
        error: GantryError = read_error(caught.value)
        assert error.code is grpc.StatusCode.UNAUTHENTICATED
        assert error.message in {MALFORMED, REFUSED}
        told = repr((caught.value, caught.value.initial_metadata(), caught.value.trailing_metadata()))
        parts = [secret, *secret.split(".")]
        for text in (told, caplog.text, repr([record.__dict__ for record in caplog.records]), *capfd.readouterr()):
            assert not [part for part in parts if part in text]
    caplog.clear()


def literal(name: bytes, value: bytes) -> bytes:
    """A header of HPACK (RFC 7541, 6.2.2): not indexed, not compressed."""

    def string(text: bytes) -> bytes:
        if len(text) < 127:
            return bytes([len(text)]) + text
        length, encoded = len(text) - 127, b"\x7f"
        while length >= 128:
            encoded, length = encoded + bytes([length % 128 + 128]), length // 128
        return encoded + bytes([length]) + text

    return b"\x00" + string(name) + string(value)


def call_by_hand(port: int, authorization: bytes) -> bytes:
    """Call ListModels with a header that no gRPC client would send; return what comes until a stream or all ends."""
    headers = b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/gantry.v1.ModelService/ListModels"),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"authorization", authorization),
        )
    )
    end_headers, end_stream = 4, 1
    pieces = [headers[start : start + 16_000] for start in range(0, len(headers), 16_000)]
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(OPENING)
        for first, last, piece in places(pieces):
            connection.sendall(frame(HEADERS if first else CONTINUATION, end_headers if last else 0, 1, piece))
        connection.sendall(frame(DATA, end_stream, 1, b"\x00" * 5))
        received = b""
        while not ended(received) and (more := connection.recv(65536)):
            received += more
    return received


def places(pieces: list[bytes]) -> Iterator[tuple[bool, bool, bytes]]:
    for index, piece in enumerate(pieces):
        yield index == 0, index == len(pieces) - 1, piece


def ended(received: bytes) -> bool:
    """Whether the frames end stream 1: by a flag of HEADERS, or by RST_STREAM or GOAWAY."""
    return any(kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & 1) for kind, flags in frames(received))


# No client lets these out: no UTF-8, control characters, and more than metadata may be.
RAW_VALUES = [
    f"Bearer gantry_{SECRET}é€😀".encode(),
    f"Bearer gantry_{SECRET}".encode() + b"\xff\xfe\x80",
    f"Bearer gantry_{SECRET}".encode() + b"\x00\r\n\x1b[31m",
    SECRET.encode() + b"\xff" * 100,
    f"Bearer gantry_{SECRET * 500}".encode(),
    f"Bearer {SECRET}.{SECRET}.{SECRET * 600}".encode(),
    f"Bearer gantry_{SECRET * 5000}".encode(),
]


async def test_a_header_that_no_client_sends_does_no_harm(
    gateway: Gateway,
    channel: grpc.aio.Channel,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for value in RAW_VALUES:
        received = await asyncio.to_thread(call_by_hand, gateway.port, value)
        assert received, f"no answer to {value!r}, not even an end"
        assert b"tiny" not in received
        for text in (received.decode("latin-1"), caplog.text, *capfd.readouterr()):
            assert SECRET not in text
        assert await sample(channel, bearer(keys.every))
