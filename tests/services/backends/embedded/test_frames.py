"""A message arrives as it was sent, however it is cut, and anything else is the end."""

import asyncio
import socket
from threading import Thread

import pytest

from gantry.v1 import worker_pb2
from services.backends.embedded.frames import pack, read, receive

MESSAGE = worker_pb2.WorkerAnswer(failure="x" * 1_000_000)
PONG = worker_pb2.WorkerAnswer(pong=1)
BROKEN = [b"", b"\0\0", b"\0\0\0\4ab", b"\0\0\0\4\xff\xff\xff\xff"]


def test_messages_are_received_from_a_socket_in_order() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sending = Thread(target=lambda: theirs.sendall(pack(MESSAGE) + pack(PONG)))
        sending.start()
        assert [receive(ours, worker_pb2.WorkerAnswer) for _ in range(2)] == [MESSAGE, PONG]
        sending.join()


@pytest.mark.parametrize("sent", BROKEN)
def test_what_is_no_message_ends_a_socket(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(sent)
        assert receive(ours, worker_pb2.WorkerAnswer) is None


async def test_messages_are_read_from_a_stream_byte_by_byte() -> None:
    stream = asyncio.StreamReader()
    reading = asyncio.create_task(read(stream, worker_pb2.WorkerAnswer))
    for byte in pack(PONG):
        stream.feed_data(bytes([byte]))
        await asyncio.sleep(0)
    assert await reading == PONG


@pytest.mark.parametrize("sent", BROKEN)
async def test_what_is_no_message_ends_a_stream(sent: bytes) -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(sent)
    stream.feed_eof()
    assert await read(stream, worker_pb2.WorkerAnswer) is None
