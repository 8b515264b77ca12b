"""Messages over a socket, each behind its length: how a gateway and its worker processes speak."""

import asyncio
import socket
import struct
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

_LENGTH = struct.Struct("!I")

Received = TypeVar("Received", bound=Message)


def pack(message: Message) -> bytes:
    """Return a message behind its length."""
    content = message.SerializeToString()
    return _LENGTH.pack(len(content)) + content


def receive(connection: socket.socket, kind: type[Received]) -> Received | None:
    """Wait for a message on a blocking socket.

    Args:
        connection: The socket.
        kind: The type of the message.

    Returns:
        The message; None where the other side has gone, or says what is none.
    """
    try:
        length = _read(connection, _LENGTH.size)
        return kind.FromString(_read(connection, *_LENGTH.unpack(length)))
    except (EOFError, OSError, DecodeError):
        return None


async def read(stream: asyncio.StreamReader, kind: type[Received]) -> Received | None:
    """Wait for a message on a stream; result as of `receive`."""
    try:
        length = await stream.readexactly(_LENGTH.size)
        return kind.FromString(await stream.readexactly(*_LENGTH.unpack(length)))
    except (EOFError, OSError, DecodeError):
        return None


def _read(connection: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    left = memoryview(content)
    while left:
        count = connection.recv_into(left)
        if not count:
            raise EOFError
        left = left[count:]
    return bytes(content)
