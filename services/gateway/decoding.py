"""Bytes that are no message of the method's type are the caller's fault, and are told so.

grpc.aio would answer UNKNOWN with the decoder's text and log a stack trace, for anything a stranger sends.
"""

import inspect
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError

from services.gateway.errors import InvalidRequestError, Violation, answered
from services.gateway.wrapping import Handler, Wrapping


class RequestDecoder(Wrapping):
    """Decodes the requests of a call, under the gateway's table of errors."""

    def wrapped(self, handler: Handler, method: str) -> Handler:  # noqa: ARG002 (all are decoded alike)
        """Take the decoding over from grpc, for methods that return or yield their answers."""

        async def answer(raw: bytes, context: Any) -> Any:
            return await handler.unary_unary(await _decoded(handler, raw, context), context)

        async def stream(raw: bytes, context: Any) -> AsyncIterator[Any]:
            async with aclosing(handler.unary_stream(await _decoded(handler, raw, context), context)) as responses:
                async for response in responses:
                    yield response

        async def converse(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
            decoded = (_decode(handler, raw) async for raw in requests)
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


async def _decoded(handler: Handler, raw: bytes, context: Any) -> Any:
    async with answered(context):
        return _decode(handler, raw)


def _decode(handler: Handler, raw: bytes) -> Any:
    try:
        return handler.request_deserializer(raw)
    except DecodeError as error:
        raise InvalidRequestError(Violation("request", "not a message of this method's type")) from error
