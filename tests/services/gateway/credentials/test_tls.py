"""TLS and mTLS of a real gateway, and files that are replaced while it runs."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from gantry.v1 import models_pb2, models_pb2_grpc
from services.gateway.credentials import watched
from services.gateway.credentials.tls import server_credentials
from services.gateway.credentials.watched import CHECK_SECONDS
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from services.gateway.telemetry.metrics import Metrics
from tests.services.gateway.certificates import Authority, Identity
from tests.services.gateway.fakes import DrivenBackend


class Clock:
    """Time that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_a_check(self) -> None:
        self.now += CHECK_SECONDS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def identity(authority: Authority) -> Identity:
    return authority.sign("gateway", "localhost", "127.0.0.1")


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    identity.write(tmp_path)
    return tmp_path


def settings_of(folder: Path, **more: object) -> Settings:
    return Settings(port=0, metrics_port=0, tls_certificate=folder / "tls.crt", tls_key=folder / "tls.key", **more)


@asynccontextmanager
async def listening(settings: Settings, clock: Clock, metrics: Metrics) -> AsyncIterator[int]:
    """A server without methods: enough for a handshake."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_secure_port("127.0.0.1:0", server_credentials(settings, metrics, clock))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def shown(port: int, authority: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> int:
    """Shake hands, and return the serial number of the certificate that the server shows."""
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version

    def handshake() -> int:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            certificate = secured.getpeercert()
            assert certificate
            return int(str(certificate["serialNumber"]), 16)

    return await asyncio.to_thread(handshake)


def expiry(metrics: Metrics, file: str) -> float | None:
    return metrics.registry.get_sample_value("gantry_tls_certificate_expiry_timestamp_seconds", {"file": file})


async def listed(port: int, credentials: grpc.ChannelCredentials) -> list[str]:
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        stub = models_pb2_grpc.ModelServiceStub(channel)
        answer = await stub.ListModels(models_pb2.ListModelsRequest(), timeout=10)
        return [loaded.card.version for loaded in answer.models]


async def test_a_gateway_speaks_tls_to_those_who_trust_its_authority(
    folder: Path, authority: Authority, backend: DrivenBackend
) -> None:
    async with Gateway(settings_of(folder), backend) as gateway:
        assert await listed(gateway.port, grpc.ssl_channel_credentials(authority.certificate)) == ["1.0.0", "1.1.0"]
        for stranger in (Authority("stranger").certificate, None):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await listed(gateway.port, grpc.ssl_channel_credentials(stranger))
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(f"localhost:{gateway.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await models_pb2_grpc.ModelServiceStub(channel).ListModels(models_pb2.ListModelsRequest(), timeout=10)


async def test_handshakes_count_and_connections_only_with_a_call(
    folder: Path, authority: Authority, backend: DrivenBackend
) -> None:
    async with Gateway(settings_of(folder), backend) as gateway:
        count = gateway.metrics.registry.get_sample_value
        for _ in range(2):
            await listed(gateway.port, grpc.ssl_channel_credentials(authority.certificate))
        assert (count("gantry_tls_handshakes_total"), count("gantry_connections_total")) == (2, 2)
        with pytest.raises(grpc.aio.AioRpcError):
            await listed(gateway.port, grpc.ssl_channel_credentials(Authority("stranger").certificate))
        assert (count("gantry_tls_handshakes_total") or 0) > 2
        assert count("gantry_connections_total") == 2


async def test_mtls_lets_in_only_those_whom_its_authority_signed(
    folder: Path, authority: Authority, backend: DrivenBackend
) -> None:
    callers = Authority("callers")
    (folder / "ca.crt").write_bytes(callers.certificate)

    def credentials(identity: Identity | None) -> grpc.ChannelCredentials:
        shown = (identity.key, identity.certificate) if identity else (None, None)
        return grpc.ssl_channel_credentials(authority.certificate, *shown)

    async with Gateway(settings_of(folder, tls_client_ca=folder / "ca.crt"), backend) as gateway:
        assert await listed(gateway.port, credentials(callers.sign("reports"))) == ["1.0.0", "1.1.0"]
        for stranger in (None, authority.sign("reports"), Authority("callers").sign("reports")):
            with pytest.raises(grpc.aio.AioRpcError):
                await listed(gateway.port, credentials(stranger))


async def test_new_connections_see_a_replaced_certificate_and_old_ones_go_on(
    folder: Path, authority: Authority, identity: Identity
) -> None:
    clock, metrics = Clock(), Metrics()
    async with listening(settings_of(folder), clock, metrics) as port:
        assert await shown(port, authority) == identity.serial
        assert expiry(metrics, "certificate") == identity.expiry
        async with grpc.aio.secure_channel(
            f"localhost:{port}", grpc.ssl_channel_credentials(authority.certificate)
        ) as old:
            await old.channel_ready()
            renewed = authority.sign("gateway", "localhost", days=20)
            renewed.write(folder)
            assert await shown(port, authority) == identity.serial, "looked at a moment ago"
            clock.pass_a_check()
            assert await shown(port, authority) == renewed.serial
            assert await shown(port, authority, ssl.TLSVersion.TLSv1_2) == renewed.serial
            assert expiry(metrics, "certificate") == renewed.expiry
            assert old.get_state() is grpc.ChannelConnectivity.READY


async def test_the_expiry_is_that_of_the_files_though_nobody_connects(
    folder: Path, authority: Authority, identity: Identity
) -> None:
    clock, metrics = Clock(), Metrics()
    (folder / "ca.crt").write_bytes(authority.certificate)
    assert server_credentials(settings_of(folder, tls_client_ca=folder / "ca.crt"), metrics, clock)
    assert expiry(metrics, "certificate") == identity.expiry
    client_ca = expiry(metrics, "client_ca")
    assert client_ca is not None
    assert client_ca > identity.expiry
    short = authority.sign("gateway", "localhost", days=1)
    (folder / "ca.crt").write_bytes(authority.certificate + short.certificate)
    clock.pass_a_check()
    assert expiry(metrics, "client_ca") == short.expiry, "the first of the file to expire"


async def test_a_secret_is_replaced_as_kubernetes_does_it(tmp_path: Path, authority: Authority) -> None:
    """..data is a link to a folder of one moment; the files are links through it; only ..data is replaced."""
    old, new = authority.sign("gateway", "localhost"), authority.sign("gateway", "localhost")
    old.write(tmp_path / "..old")
    new.write(tmp_path / "..new")
    (tmp_path / "..data").symlink_to("..old")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    clock = Clock()
    async with listening(settings_of(tmp_path), clock, Metrics()) as port:
        assert await shown(port, authority) == old.serial
        (tmp_path / "..data_tmp").symlink_to("..new")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        clock.pass_a_check()
        assert await shown(port, authority) == new.serial


async def test_mtls_trusts_a_replaced_authority(folder: Path, authority: Authority) -> None:
    clock, callers, successors = Clock(), Authority("callers"), Authority("successors")
    (folder / "ca.crt").write_bytes(callers.certificate)

    async def is_let_in(identity: Identity, port: int) -> bool:
        credentials = grpc.ssl_channel_credentials(authority.certificate, identity.key, identity.certificate)
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary("/none/None")(b"", timeout=10)
            return error.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async with listening(settings_of(folder, tls_client_ca=folder / "ca.crt"), clock, Metrics()) as port:
        assert await is_let_in(callers.sign("reports"), port)
        assert not await is_let_in(successors.sign("reports"), port)
        (folder / "ca.crt").write_bytes(successors.certificate)
        clock.pass_a_check()
        assert await is_let_in(successors.sign("reports"), port)
        assert not await is_let_in(callers.sign("reports"), port)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
async def test_a_broken_replacement_is_logged_and_the_old_pair_stays(
    folder: Path, authority: Authority, identity: Identity, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    clock = Clock()
    async with listening(settings_of(folder), clock, Metrics()) as port:
        for content in (b"garbage", getattr(authority.sign("other"), "certificate" if name == "tls.crt" else "key")):
            caplog.clear()
            (folder / name).write_bytes(content)
            clock.pass_a_check()
            assert await shown(port, authority) == identity.serial
            told = [record.levelno for record in caplog.records if record.name == watched.__name__]
            assert told == [logging.ERROR]
            assert name in caplog.text
        identity.write(folder)
        clock.pass_a_check()
        assert await shown(port, authority) == identity.serial


def encrypted(identity: Identity) -> bytes:
    key = serialization.load_pem_private_key(identity.key, None)
    password = serialization.BestAvailableEncryption(b"secret")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, password)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tls.crt", lambda _: b"garbage", "tls.crt: not a PEM file of certificates"),
        ("tls.crt", lambda _: b"", "tls.crt: not a PEM file of certificates"),
        ("tls.key", lambda _: b"garbage", "tls.key: not a PEM file of a private key"),
        ("tls.key", lambda identity: identity.certificate, "tls.key: not a PEM file of a private key"),
        ("tls.key", encrypted, "tls.key: the private key is encrypted"),
        ("tls.key", lambda _: Authority().sign("x").key, "tls.key: not the private key of the first certificate of"),
        ("ca.crt", lambda _: b"garbage", "ca.crt: not a PEM file of certificates"),
    ],
)
def test_a_file_that_is_bad_from_the_start_is_told(
    folder: Path, identity: Identity, name: str, content: Callable[[Identity], bytes], message: str
) -> None:
    (folder / "ca.crt").write_bytes(identity.certificate)
    (folder / name).write_bytes(content(identity))
    with pytest.raises(ValueError, match=message):
        server_credentials(settings_of(folder, tls_client_ca=folder / "ca.crt"), Metrics())


def test_a_missing_file_is_told(folder: Path) -> None:
    (folder / "tls.key").unlink()
    with pytest.raises(OSError, match=r"tls\.key"):
        server_credentials(settings_of(folder), Metrics())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_certificate": "tls.crt"}, "tls_certificate is set without tls_key"),
        ({"tls_key": "tls.key"}, "tls_key is set without tls_certificate"),
        ({"tls_client_ca": "ca.crt"}, "tls_client_ca is set without tls_certificate and tls_key"),
    ],
)
def test_half_of_the_settings_is_an_error(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        server_credentials(Settings(**{name: Path(path) for name, path in given.items()}), Metrics())


def test_without_settings_there_is_no_tls() -> None:
    assert server_credentials(Settings(), Metrics()) is None
