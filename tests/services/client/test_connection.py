"""Both clients against a real gateway that speaks TLS, wants client certificates and asks for keys."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import grpc
import pytest
from PIL import Image

from services.client import AsyncClient, Axis, Client, Credentials, GantryError, Sweep
from services.client.connection import stays_here
from services.gateway.credentials.api_keys import add_key, make_key
from services.gateway.settings import Settings
from tests.conformance.harness import EventLoop, serving
from tests.services.gateway.cards import code_card, translation_card
from tests.services.gateway.certificates import Authority
from tests.services.gateway.fakes import DrivenBackend


@dataclass(frozen=True)
class Guarded:
    """A gateway that lets few in.

    Attributes:
        address: host:port. Its certificate is for the name "gantry.example".
        tokens: Its file of keys.
        credentials: What is needed to be served.
    """

    address: str
    tokens: Path
    credentials: Credentials


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority, callers = Authority(), Authority("callers")
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "callers.crt").write_bytes(callers.certificate)
    certificate, key = authority.sign("gateway", "gantry.example").write(folder / "gateway")
    client_certificate, client_key = callers.sign("reports").write(folder / "client")
    tokens, token_file = folder / "api-keys.json", folder / "token"
    token, entry = make_key("reports", ["*"])
    add_key(tokens, entry)
    token_file.write_text(token)
    settings = Settings(
        port=0,
        metrics_port=0,
        api_keys=tokens,
        tls_certificate=certificate,
        tls_key=key,
        tls_client_ca=folder / "callers.crt",
        probe_seconds=3600,
    )
    credentials = Credentials(
        token_file=token_file,
        tls=True,
        ca=folder / "ca.crt",
        certificate=client_certificate,
        key=client_key,
        server_name="gantry.example",
    )
    backend = DrivenBackend(code_card("tiny"), translation_card(), answers_at_once=True)
    with closing(EventLoop()) as loop, serving(loop, settings, backend) as served:
        yield Guarded(f"127.0.0.1:{served.gateway.port}", tokens, credentials)


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_call_of_the_client_is_let_in(guarded: Guarded) -> None:
    with Client(guarded.address, credentials=guarded.credentials) as client:
        assert [loaded.card.name for loaded in client.models()] == ["horse2zebra", "tiny"]
        assert client.model("tiny").card.version == "1.0.0"
        assert [image.seed for image in client.sample("tiny", seed=3, count=2)] == [3, 4]
        assert [image.seed for image in client.sample_stream("tiny", seed=3, count=2)] == [3, 4]
        assert len(list(client.traverse("tiny", Sweep(x=Axis("c1", values=[-1, 0, 1]))))) == 3
        translated = client.translate_many("horse2zebra", [picture()] * 3, to="zebra")
        assert sorted(source for source, _ in translated) == [0, 1, 2]


async def test_every_call_of_the_asyncio_client_is_let_in(guarded: Guarded) -> None:
    async with AsyncClient(guarded.address, credentials=guarded.credentials) as client:
        assert [loaded.card.name for loaded in await client.models()] == ["horse2zebra", "tiny"]
        assert [image.seed for image in await client.sample("tiny", seed=3, count=2)] == [3, 4]
        assert [image.seed async for image in client.sample_stream("tiny", seed=3, count=2)] == [3, 4]
        assert len([frame async for frame in client.traverse("tiny", Sweep(x=Axis("c1", values=[-1, 0, 1])))]) == 3
        translated = [one async for one in client.translate_many("horse2zebra", [picture()] * 3, to="zebra")]
        assert sorted(source for source, _ in translated) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token_file": None}, grpc.StatusCode.UNAUTHENTICATED),
        ({"token_file": None, "token": "gantry_wrong"}, grpc.StatusCode.UNAUTHENTICATED),
        ({"ca": None}, grpc.StatusCode.UNAVAILABLE),
        ({"server_name": None}, grpc.StatusCode.UNAVAILABLE),
        ({"certificate": None, "key": None}, grpc.StatusCode.UNAVAILABLE),
    ],
    ids=str,
)
async def test_each_credential_is_needed(guarded: Guarded, change: dict[str, object], code: grpc.StatusCode) -> None:
    credentials = replace(guarded.credentials, **change)
    with Client(guarded.address, credentials=credentials, timeout=60) as client, pytest.raises(GantryError) as caught:
        client.models()
    assert caught.value.code is code
    async with AsyncClient(guarded.address, credentials=credentials, timeout=60) as async_client:
        for call in (async_client.models(), anext(async_client.sample_stream("tiny"))):
            with pytest.raises(GantryError) as caught:
                await call
            assert caught.value.code is code


def test_a_token_that_is_replaced_is_sent_with_the_next_call(guarded: Guarded, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("gantry_not-yet")
    with Client(guarded.address, credentials=replace(guarded.credentials, token_file=token_file)) as client:
        with pytest.raises(GantryError) as caught:
            client.models()
        assert (caught.value.reason, caught.value.retry_seconds) == ("UNAUTHENTICATED", None)
        assert guarded.credentials.token_file
        token_file.write_text(guarded.credentials.token_file.read_text() + "\n")
        assert client.models()


@pytest.mark.parametrize("client", [Client, AsyncClient])
async def test_a_token_does_not_leave_in_plain_text(client: type[Client] | type[AsyncClient]) -> None:
    message = r"the token would go to gantry:50051 in plain text: set tls \(GANTRY_TLS=1\)"
    with pytest.raises(ValueError, match=message) as error:
        client("gantry:50051", credentials=Credentials(token="S3cr3t"))
    assert "S3cr3t" not in str(error.value)
    client("gantry:50051", credentials=Credentials(token="S3cr3t", allow_plain_text=True))
    client("gantry:50051", credentials=Credentials(token="S3cr3t", tls=True))
    client("127.0.0.1:50051", credentials=Credentials(token="S3cr3t"))
    client("gantry:50051")


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:50051", True),
        ("127.8.9.10:1", True),
        ("[::1]:50051", True),
        ("unix:/run/gantry", True),
        ("dns:///localhost:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("gantry:50051", False),
        ("localhost.example:50051", False),
        ("10.0.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
        ("dns:///gantry:50051", False),
        ("dns://127.0.0.1/gantry:50051", False),
        ("ipv4:10.0.0.1:50051,127.0.0.1:50051", False),
        ("ipv4:127.0.0.1:50051,10.0.0.1:50051", False),
        ("localhost:50051@gantry:50051", False),
        ("", False),
    ],
)
def test_an_address_stays_on_this_machine_or_not(address: str, here: bool) -> None:
    assert stays_here(address) is here


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("address", ["", "localhost:99999", "[::1]:65536"])
async def test_what_is_no_address_is_refused(client: type[Client] | type[AsyncClient], address: str) -> None:
    with pytest.raises(ValueError, match=r"must be host:port, with a port to 65535, got"):
        client(address)


def test_a_file_that_is_no_pem_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("garbage")
    with pytest.raises(ValueError, match=r"ca\.crt: not a PEM file"):
        Client("gantry:50051", credentials=Credentials(tls=True, ca=tmp_path / "ca.crt"))
    with pytest.raises(OSError, match="missing"):
        Client("gantry:50051", credentials=Credentials(tls=True, ca=tmp_path / "missing"))


def test_calls_go_to_every_address_of_a_name_in_turn() -> None:
    settings, backends = (
        Settings(port=0, metrics_port=0),
        [DrivenBackend(code_card("tiny"), answers_at_once=True) for _ in range(2)],
    )
    with (
        closing(EventLoop()) as loop,
        serving(loop, settings, backends[0]) as one,
        serving(loop, settings, backends[1]) as other,
        Client(f"ipv4:127.0.0.1:{one.gateway.port},127.0.0.1:{other.gateway.port}") as client,
    ):
        while not all(backend.envelopes for backend in backends):
            # The second connection may be ready a moment after the first.
            client.sample("tiny")
