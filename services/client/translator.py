"""One TranslateStream for many coroutines: each hands in a picture and waits for the answer to it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import grpc
from grpc import aio

from gantry.v1 import generation_pb2
from services.client.errors import GantryError, read_error
from services.client.exchange import picture_messages, read_answer
from services.client.pictures import Translation

# How long the gateway has to end a stream after the last picture.
_FAREWELL_SECONDS = 2.0


class TranslationStream:
    """A stream that is opened with its first picture, and again with the next one after it broke."""

    def __init__(
        self, call: Callable[[], Any], request: generation_pb2.TranslateRequest, timeout: float | None
    ) -> None:
        """Prepare; for one event loop.

        Args:
            call: Begins a call of TranslateStream.
            request: What is asked of every picture.
            timeout: The most seconds to wait for the next answer; None for no limit.
        """
        self._call, self._request, self._timeout = call, request, timeout
        self._stream: _Stream | None = None
        self.under_way = 0
        """Pictures that are not yet answered."""

    async def translate(self, image: bytes) -> Translation:
        """Turn a picture of one domain into one of the other.

        Args:
            image: The picture as a file.

        Raises:
            GantryError: The picture was refused; or the stream broke, with the code UNAVAILABLE where it just ended
                or brought no answer in time.
        """
        if self._stream is None or self._stream.has_ended:
            self._stream = _Stream(self._call(), self._request, self._timeout)
        self.under_way += 1
        try:
            return await self._stream.translate(image)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        """End the stream; pictures under way get an error."""
        if self._stream is not None:
            await self._stream.close()


class _Stream:
    """One call."""

    def __init__(self, call: Any, request: generation_pb2.TranslateRequest, timeout: float | None) -> None:
        self._call, self._request, self._timeout = call, request, timeout
        self._ids = map(str, count())
        self._waiting: dict[str, asyncio.Future[Translation]] = {}
        self._parts: list[generation_pb2.TranslateStreamResponse] = []
        self._writing = asyncio.Lock()
        self.has_ended = False
        self._reader = asyncio.create_task(self._read())

    async def translate(self, image: bytes) -> Translation:
        wire_id = next(self._ids)
        answer: asyncio.Future[Translation] = asyncio.get_running_loop().create_future()
        self._waiting[wire_id] = answer
        sending = asyncio.create_task(self._send(wire_id, image, answer))
        try:
            # Not one after the other: as long as nobody answers the connection, a write outlasts even its call.
            translation, _ = await asyncio.gather(answer, sending)
            return translation
        finally:
            self._waiting.pop(wire_id, None)
            if self.has_ended:
                sending.cancel()

    async def close(self) -> None:
        if not (self._waiting or self.has_ended):
            # To the gateway a cancelled call looks like one that failed.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._end(), _FAREWELL_SECONDS)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _end(self) -> None:
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # It ended meanwhile.
            await self._call.done_writing()
        await self._reader

    async def _send(self, wire_id: str, image: bytes, answer: "asyncio.Future[Translation]") -> None:
        async with self._writing:
            for message in picture_messages(wire_id, self._request, image):
                if answer.done():  # The rest of a picture that is refused, or of a stream that broke, is of no use.
                    return
                try:
                    await self._call.write(message)
                except (grpc.RpcError, asyncio.InvalidStateError):
                    return  # The reader gets to know why, and tells those who wait.

    async def _read(self) -> None:
        failure = GantryError(grpc.StatusCode.UNAVAILABLE, "the stream ended")
        try:
            while (part := await asyncio.wait_for(self._call.read(), self._timeout)) is not aio.EOF:
                self._receive(part)
        except grpc.RpcError as error:
            failure = read_error(error)
        except TimeoutError:
            failure = GantryError(grpc.StatusCode.UNAVAILABLE, f"no answer within {self._timeout:g} s")
        finally:
            self.has_ended = True
            self._call.cancel()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(failure)

    def _receive(self, part: generation_pb2.TranslateStreamResponse) -> None:
        self._parts.append(part)
        if part.more:
            return
        parts, self._parts = self._parts, []
        answer = self._waiting.get(part.id)
        if answer is None or answer.done():  # A chunk of an answered picture crossed the answer on the way.
            return
        result = read_answer(parts)
        if isinstance(result, GantryError):
            answer.set_exception(result)
        else:
            answer.set_result(result)
