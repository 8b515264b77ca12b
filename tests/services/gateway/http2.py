"""Frames of HTTP/2 (RFC 9113) by hand, for what no gRPC client sends."""

from collections.abc import Iterator

SETTINGS, HEADERS, RST_STREAM, PING, GOAWAY, CONTINUATION, DATA = 4, 1, 3, 6, 7, 9, 0
# What opens a connection: the preface, and the client's settings, all as they are by default.
OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def frames(received: bytes) -> Iterator[tuple[int, int]]:
    """Kind and flags of every frame whose head has come."""
    while len(received) >= 9:
        yield received[3], received[4]
        received = received[9 + int.from_bytes(received[:3], "big") :]
