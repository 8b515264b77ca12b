"""Bytes that are no message of the method's type are the caller's fault, and are told so.

grpc.aio would answer UNKNOWN with the decoder's text and log a stack trace, for anything a stranger sends.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from services.gateway.errors import InvalidRequestError, Violation, answered

# grpc.RpcMethodHandler; its stubs do not say that it is a named tuple.
Handler = Any


class RequestDecoder(grpc.aio.ServerInterceptor):
    """Decodes the request of a call that has one, under the gateway's table of errors."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Take the decoding over from grpc, for methods that take one message and return or yield their answers."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None

        async def answer(raw: bytes, context: Any) -> Any:
            return await handler.unary_unary(await _decoded(handler, raw, context), context)

        async def stream(raw: bytes, context: Any) -> AsyncIterator[Any]:
            async for response in handler.unary_stream(await _decoded(handler, raw, context), context):
                yield response

        if handler.unary_unary:
            return handler._replace(request_deserializer=None, unary_unary=answer)
        if inspect.isasyncgenfunction(handler.unary_stream):
            return handler._replace(request_deserializer=None, unary_stream=stream)
        return handler


async def _decoded(handler: Handler, raw: bytes, context: Any) -> Any:
    async with answered(context):
        try:
            return handler.request_deserializer(raw)
        except DecodeError as error:
            raise InvalidRequestError(Violation("request", "not a message of this method's type")) from error
