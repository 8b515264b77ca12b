"""Reads and writes the messages of a call: when there is memory for them, in time, and decoded.

grpc would read the request of a call before the gateway sees the call, however little memory is left. Too many bytes
it would refuse without a reason, a metric or a line in the log; of what is no message grpc.aio would log a stack
trace, and answer UNKNOWN with the decoder's text.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from typing import Any

from google.protobuf.message import DecodeError

from services.gateway.budget import PICTURE_COPIES, Budget, Hold
from services.gateway.call import at_end_of_call, current_call
from services.gateway.errors import InvalidRequestError, MessageTooLargeError, StreamIdleError, Violation, answered
from services.gateway.interceptors.base import Handler, Wrapping
from services.gateway.pace import Pace
from services.gateway.turns import Turns

# Taken for a call before it is read where its requests are small; a larger one is paid for once it is there.
SMALL_BYTES = 64 << 10


class MessageReader(Wrapping):
    """Stands next to the handlers, inside of all other interceptors: what these refuse is never read."""

    def __init__(
        self,
        budget: Budget,
        max_bytes: int,
        idle_seconds: float,
        uploads: Collection[str],
        turns: Turns,
        pace: Pace,
    ) -> None:
        """Keep the limits.

        Args:
            budget: What messages are paid from.
            max_bytes: The most bytes of one message.
            idle_seconds: The most seconds that one takes to come, or to be taken by the caller.
            uploads: Paths of the methods whose one request has a picture.
            turns: Where calls of one request, but for a picture, wait for their callers' turn.
            pace: At which pictures are read.
        """
        self._budget, self._max_bytes, self._idle_seconds, self._uploads = budget, max_bytes, idle_seconds, uploads
        self._turns, self._pace = turns, pace

    def wrapped(self, handler: Handler, method: str) -> Handler:
        """Take reading, decoding and writing over from grpc, for methods that return or yield their answers."""
        is_upload = method in self._uploads

        async def answer(requests: AsyncIterator[bytes], context: Any) -> Any:
            hold = Hold(self._budget, pictures=is_upload)
            at_end_of_call(lambda: hold.shrink(hold.bytes))
            request = await self._only(handler, requests, context, hold)
            response = await handler.unary_unary(request, context)
            self._end_unless_read()
            return response

        async def stream(requests: AsyncIterator[bytes], context: Any) -> None:
            with Hold(self._budget, pictures=False) as hold:
                request = await self._only(handler, requests, context, hold)
                async with aclosing(handler.unary_stream(request, context)) as responses:
                    await self._write_all(context, responses)

        async def converse(requests: AsyncIterator[bytes], context: Any) -> None:
            with Hold(self._budget, pictures=False) as hold:
                async with answered(context):
                    await hold.grow(SMALL_BYTES)
                hold.use()
                decoded = (self._decode(handler, raw) async for raw in requests)
                async with answered(context), aclosing(handler.stream_stream(decoded, context)) as responses:
                    await self._write_all(context, responses)

        if handler.unary_unary:
            return handler._replace(request_deserializer=None, unary_unary=answer)
        if handler.unary_stream:
            return handler._replace(request_deserializer=None, unary_stream=stream)
        if inspect.isasyncgenfunction(handler.stream_stream):
            return handler._replace(request_deserializer=None, stream_stream=converse)
        return handler

    async def _only(self, handler: Handler, requests: AsyncIterator[bytes], context: Any, hold: Hold) -> Any:
        """Read the one request of a call, once there is memory for the largest that it can be."""
        async with answered(context):
            copies = PICTURE_COPIES if hold.pictures else 1
            if not hold.pictures:  # those are planned in a thread
                await self._turns.mine(current_call().caller.id)
            await hold.grow(copies * self._max_bytes if hold.pictures else SMALL_BYTES)
            raw = await (self._upload(requests) if hold.pictures else self._first(requests))
            if raw is None:
                raise InvalidRequestError(Violation("request", "required: one message"))
            await hold.resize(copies * len(raw))
            hold.use()
            return self._decode(handler, raw)

    async def _upload(self, requests: AsyncIterator[bytes]) -> bytes | None:
        """Read the first message, of a picture, at the pace of all pictures."""
        expected, size = await self._pace.wait(), 0
        try:
            raw = await self._first(requests)
            size = len(raw or b"")
            return raw
        finally:
            self._pace.note(expected, size)

    async def _first(self, requests: AsyncIterator[bytes]) -> bytes | None:
        async with self._soon("no request has come"):
            return await anext(requests, None)

    def _decode(self, handler: Handler, raw: bytes) -> Any:
        if len(raw) > self._max_bytes:
            raise MessageTooLargeError(f"a message has {len(raw)} bytes; the most is {self._max_bytes}")
        try:
            return handler.request_deserializer(raw)
        except DecodeError as error:
            raise InvalidRequestError(Violation("request", "not a message of this method's type")) from error

    async def _write(self, context: Any, response: Any) -> None:
        async with answered(context), self._soon("the answer is not read"):
            await context.write(response)

    async def _write_all(self, context: Any, responses: AsyncIterator[Any]) -> None:
        async for response in responses:
            await self._write(context, response)

    def _end_unless_read(self) -> None:
        """End the call that is being served where grpc, which writes its answer, cannot for too long."""
        task = asyncio.current_task()
        assert task
        at_end_of_call(asyncio.get_running_loop().call_later(self._idle_seconds, task.cancel).cancel)

    @asynccontextmanager
    async def _soon(self, fault: str) -> AsyncIterator[None]:
        block = asyncio.timeout(self._idle_seconds)
        try:
            async with block:
                yield
        except TimeoutError:
            if not block.expired():
                raise
            raise StreamIdleError(f"{fault} for {self._idle_seconds:g} s") from None
