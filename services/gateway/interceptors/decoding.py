"""Bytes that are too many, or no message of the method's type, are the caller's fault, and are told so.

grpc would refuse too many bytes before the gateway sees the call, so without a reason, a metric or a line in the log.
Of what is no message grpc.aio would log a stack trace, and answer UNKNOWN with the decoder's text.
"""

import inspect
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError

from services.gateway.errors import InvalidRequestError, MessageTooLargeError, Violation, answered
from services.gateway.interceptors.base import Handler, Wrapping


class RequestDecoder(Wrapping):
    """Decodes the requests of a call, under the gateway's table of errors."""

    def __init__(self, max_bytes: int) -> None:
        """Keep the limit.

        Args:
            max_bytes: The most bytes of one message.
        """
        self._max_bytes = max_bytes

    def wrapped(self, handler: Handler, method: str) -> Handler:  # noqa: ARG002 (all are decoded alike)
        """Take the decoding over from grpc, for methods that return or yield their answers."""

        async def answer(raw: bytes, context: Any) -> Any:
            return await handler.unary_unary(await self._decoded(handler, raw, context), context)

        async def stream(raw: bytes, context: Any) -> AsyncIterator[Any]:
            async with aclosing(handler.unary_stream(await self._decoded(handler, raw, context), context)) as responses:
                async for response in responses:
                    yield response

        async def converse(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
            decoded = (self._decode(handler, raw) async for raw in requests)
            async with answered(context), aclosing(handler.stream_stream(decoded, context)) as responses:
                async for response in responses:
                    yield response

        if handler.unary_unary:
            return handler._replace(request_deserializer=None, unary_unary=answer)
        if inspect.isasyncgenfunction(handler.stream_stream):
            return handler._replace(request_deserializer=None, stream_stream=converse)
        if inspect.isasyncgenfunction(handler.unary_stream):
            return handler._replace(request_deserializer=None, unary_stream=stream)
        return handler

    async def _decoded(self, handler: Handler, raw: bytes, context: Any) -> Any:
        async with answered(context):
            return self._decode(handler, raw)

    def _decode(self, handler: Handler, raw: bytes) -> Any:
        if len(raw) > self._max_bytes:
            raise MessageTooLargeError(f"a message has {len(raw)} bytes; the most is {self._max_bytes}")
        try:
            return handler.request_deserializer(raw)
        except DecodeError as error:
            raise InvalidRequestError(Violation("request", "not a message of this method's type")) from error
