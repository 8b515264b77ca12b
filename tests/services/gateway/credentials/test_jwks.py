"""Key sets of files and URLs."""

import asyncio
import itertools
import json
import logging
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from services.gateway.credentials import jwks
from services.gateway.credentials.jwks import (
    KEEP_SECONDS,
    RETRY_SECONDS,
    FetchedKeys,
    FileKeys,
    check_url,
    fetch_bounded,
    key_source,
    read_key_set,
)
from tests.services.gateway.certificates import Authority
from tests.services.gateway.fakes import PATIENCE_SECONDS, settled, until
from tests.services.gateway.issuing import Signer, key_set

URL = "https://issuer.example/keys"


class Clock:
    """Time that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Issuer:
    """What is behind a URL: key sets, or the error of not getting one."""

    def __init__(self, *signers: Signer) -> None:
        self.signers, self.error, self.fetches = list(signers), None, 0

    def __call__(self, url: str) -> bytes:
        assert url == URL
        assert threading.current_thread() is not threading.main_thread(), "it would hold up the event loop"
        self.fetches += 1
        if self.error:
            raise self.error
        return key_set(*(signer.jwk() for signer in self.signers))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
def test_a_key_without_an_algorithm_is_bound_to_that_of_its_type(algorithm: str) -> None:
    (key,) = read_key_set(key_set(Signer(algorithm).jwk(alg=None)), "keys").keys
    assert key.algorithm_name == algorithm


def test_a_key_is_bound_to_its_own_algorithm() -> None:
    keys = read_key_set(key_set(Signer("PS384").jwk(alg="PS384")), "keys")
    assert keys.find("one", "PS384")
    assert keys.find("one", "RS256") is None


def test_the_id_chooses_the_key() -> None:
    one, two, edwards = Signer("RS256", "one"), Signer("RS256", "two"), Signer("EdDSA", "three")
    keys = read_key_set(key_set(one.jwk(), two.jwk(), edwards.jwk()), "keys")
    assert keys.find("two", "RS256") == keys.keys[1]
    assert keys.find("four", "RS256") is None
    assert keys.find("three", "RS256") is None
    assert keys.find(None, "EdDSA") == keys.keys[2]
    assert keys.find(None, "RS256") is None, "two would fit"


SMALL, LARGE = (rsa.generate_private_key(public_exponent=65537, key_size=bits) for bits in (1024, 2048))


@pytest.mark.parametrize(
    "entry",
    [
        "text",
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        json.loads(RSAAlgorithm.to_jwk(SMALL)),
        json.loads(RSAAlgorithm.to_jwk(LARGE)),
        json.loads(RSAAlgorithm.to_jwk(SMALL.public_key())) | {"key_ops": None},
        {"kty": "RSA", "n": "AQ", "e": "!"},
        {"kty": "RSA", "n": 7, "e": []},
        {"kty": ["RSA"]},
        {"kty": "EC", "crv": "secp256k1"},
        Signer("ES256").jwk(alg="RS256"),
        Signer("ES384").jwk(alg="ES256"),
        Signer("RS256").jwk(alg="none"),
        Signer("RS256").jwk(alg="HS256"),
        Signer("RS256").jwk(alg=["RS256"]),
        Signer("RS256").jwk(use="enc"),
        Signer("RS256").jwk(kid=7),
    ],
)
def test_a_key_that_cannot_be_used_is_left_out(entry: object) -> None:
    good = Signer("ES256", "good").jwk()
    keys = read_key_set(json.dumps({"keys": [entry, good]}).encode(), "keys.json")
    assert [key.key_id for key in keys.keys] == ["good"]
    with pytest.raises(ValueError, match=r"^keys\.json: (no usable key|.* did not contain any)"):
        read_key_set(json.dumps({"keys": [entry]}).encode(), "keys.json")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set_is_told(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a JSON Web Key Set"):
        read_key_set(text, "keys.json")


def test_a_huge_key_set_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        read_key_set(b" " * (1 << 20) + b"{}", "keys.json")
    with pytest.raises(ValueError, match="257 keys, more than 256"):
        read_key_set(json.dumps({"keys": [{}] * 257}).encode(), "keys.json")


def test_a_file_is_read_again_when_it_changes(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(Signer("EdDSA", "one").jwk()))
    source = FileKeys(path, clock)
    path.write_bytes(key_set(Signer("EdDSA", "one").jwk(), Signer("EdDSA", "two").jwk()))
    clock.now += 1
    assert [key.key_id for key in source.keys().keys] == ["one", "two"]


def test_a_setting_names_a_file_or_a_url(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(Signer("EdDSA").jwk()))
    assert isinstance(key_source(str(path)), FileKeys)
    assert isinstance(key_source(URL), FetchedKeys)
    with pytest.raises(OSError, match="missing"):
        key_source(str(tmp_path / "missing"))


@pytest.mark.parametrize("url", [URL, "http://localhost:8080/keys", "http://127.0.0.1/keys", "http://[::1]:80/keys"])
def test_a_url_that_is_allowed(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    ["http://issuer.example/keys", "http://localhost.example/", "ftp://localhost/", "file:///etc/keys", "https://"],
)
def test_a_url_that_is_not(url: str) -> None:
    with pytest.raises(ValueError, match="jwt_keys: a URL"):
        key_source(url)


def test_a_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="no user name or password") as error:
        check_url("https://me:secret@issuer.example/keys")
    assert "secret" not in str(error.value)


async def test_a_new_key_is_fetched_but_not_more_often_than_every_half_minute(clock: Clock) -> None:
    issuer = Issuer(Signer("EdDSA", "one"))
    source = FetchedKeys(URL, fetch=issuer, clock=clock)
    await source.refresh()
    issuer.signers.append(Signer("EdDSA", "two"))
    await asyncio.gather(*(source.refresh() for _ in range(20)))
    assert (issuer.fetches, len(source.keys().keys)) == (1, 1)
    clock.now += RETRY_SECONDS
    await asyncio.gather(*(source.refresh() for _ in range(20)))
    assert (issuer.fetches, len(source.keys().keys)) == (2, 2)


async def test_a_caller_who_hangs_up_does_not_keep_the_new_keys_from_others(clock: Clock) -> None:
    """Else a stranger who names unknown keys, and hangs up, could keep the keys as they are for ever."""
    has_begun, goes_on = threading.Event(), threading.Event()

    def fetch(url: str) -> bytes:
        has_begun.set()
        assert goes_on.wait(PATIENCE_SECONDS)
        return key_set(Signer("EdDSA", "new").jwk())

    source = FetchedKeys(URL, fetch=fetch, clock=clock)
    stranger, other = asyncio.create_task(source.refresh()), asyncio.create_task(source.refresh())
    await until(has_begun.is_set)
    stranger.cancel()
    await settled()
    assert stranger.cancelled()
    goes_on.set()
    await other
    assert source.keys().find("new", "EdDSA")


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("redirected")])
async def test_old_keys_stay_where_the_fetch_fails(
    clock: Clock, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    issuer = Issuer(Signer("EdDSA", "one"))
    source = FetchedKeys(URL, fetch=issuer, clock=clock)
    await source.refresh()
    issuer.error = error
    clock.now += RETRY_SECONDS
    await source.refresh()
    assert issuer.fetches == 2
    assert source.keys().find("one", "EdDSA")
    told = [record.levelno for record in caplog.records if record.name == jwks.__name__]
    assert [level for level in told if level > logging.INFO] == [logging.ERROR]


async def test_keys_are_kept_fresh_while_it_runs(clock: Clock) -> None:
    """Ten minutes between two fetches; half a minute while there are no keys at all."""
    issuer, pauses, awake = Issuer(), [], asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await awake.acquire()
        clock.now += seconds

    source = FetchedKeys(URL, fetch=issuer, clock=clock, sleep=sleep)
    await source.start()
    assert source.keys().keys == ()
    issuer.signers.append(Signer("EdDSA", "one"))
    for done in (1, 2, 3):
        await until(lambda done=done: len(pauses) == done)
        awake.release()
    await until(lambda: len(pauses) == 4)
    assert pauses == [RETRY_SECONDS, KEEP_SECONDS, KEEP_SECONDS, KEEP_SECONDS]
    assert issuer.fetches == 4
    await source.stop()
    awake.release()
    await settled()
    assert issuer.fetches == 4


@contextmanager
def answering(status: int, body: Iterable[bytes], tls: ssl.SSLContext | None = None, **headers: str) -> Iterator[str]:
    """A web server with one answer, of as many pieces as somebody waits for."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                for piece in body:
                    self.wfile.write(piece)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        server.server_close()


def test_a_fetch_gets_what_is_behind_the_url() -> None:
    with answering(200, [b"ke", b"ys"]) as url:
        assert fetch_bounded(url) == b"keys"


def test_a_fetch_ends_one_byte_over_the_bound() -> None:
    with answering(200, itertools.repeat(b"x" * 65536)) as url:
        assert len(fetch_bounded(url)) == (1 << 20) + 1


def test_a_fetch_is_not_led_astray() -> None:
    for location in ("http://issuer.example/keys", "ftp://localhost/keys"):
        with answering(302, [], Location=location) as url, pytest.raises(ValueError, match="jwt_keys: a URL"):
            fetch_bounded(url)


def test_a_fetch_that_fails_is_an_os_error() -> None:
    with answering(404, []) as url, pytest.raises(OSError, match="404"):
        fetch_bounded(url)
    with pytest.raises(OSError, match="refused"):
        fetch_bounded("http://127.0.0.1:1/keys")


def test_a_fetch_does_not_wait_for_who_answers_by_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second goes by from one look at the clock to the next, and with every look comes a drop."""
    drops, looks, most = threading.Semaphore(0), itertools.count(), 20

    def look() -> int:
        drops.release()
        return next(looks)

    def answer() -> Iterator[bytes]:
        for _ in range(most):
            drops.acquire()
            yield b" "

    monkeypatch.setattr(jwks, "time", SimpleNamespace(monotonic=look))
    with answering(200, answer()) as url, pytest.raises(OSError, match="it answers too slowly"):
        fetch_bounded(url)
    assert next(looks) < most
    drops.release(most)


async def test_keys_come_by_https_from_those_who_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority()
    certificate, key = authority.sign("issuer", "127.0.0.1").write(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    with answering(200, [key_set(Signer("EdDSA", "one").jwk())], tls) as url:
        stranger = key_source(url)
        await stranger.start()
        assert stranger.keys().keys == ()
        await stranger.stop()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        source = key_source(url)
        await source.start()
        assert source.keys().find("one", "EdDSA")
        await source.stop()
