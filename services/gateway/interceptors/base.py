"""Puts blocks around the handlers of calls, whatever the kinds of their methods, and does so once for every method."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import grpc

# grpc.RpcMethodHandler; its stubs do not say that it is a named tuple.
Handler = Any
Around = Callable[[Any], AbstractAsyncContextManager[None]]

_KINDS = "unary_unary", "unary_stream", "stream_unary", "stream_stream"


class Wrapping(grpc.aio.ServerInterceptor, ABC):
    """An interceptor that goes by a method alone."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Have the handler of a method that exists wrapped."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self.wrapped(handler, handler_call_details.method)

    @abstractmethod
    def wrapped(self, handler: Handler, method: str) -> Handler:
        """Return what is to serve a method in a handler's place.

        Args:
            handler: What serves its calls.
            method: Its path, for example "/gantry.v1.ModelService/ListModels".
        """


class WrappedOnce(grpc.aio.ServerInterceptor):
    """The outermost interceptor: remembers what the others made of a method's handler, which grpc asks for every call.

    So the others may go by a method alone; what they know of a call they learn when the handler runs. A handler gets
    requests that are not read yet, even where there is but one, and writes its answers itself: `MessageReader` does.
    """

    def __init__(self) -> None:
        """Begin with no method."""
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Have a handler wrapped at the first call of its method; methods that do not exist leave no trace."""
        method = handler_call_details.method
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[method] = _read_late(handler)
        return self._handlers[method]


def _read_late(handler: Handler) -> Handler:
    """Have the handler of a call read its one request, which grpc would read before it runs one.

    One answer stays one: grpc sends it together with the status, so a proxy can try another gateway until it has both.
    """
    if handler.request_streaming:
        return handler
    (kind,) = (kind for kind in _KINDS if getattr(handler, kind))
    late = dict.fromkeys(_KINDS) | {kind.replace("unary_", "stream_", 1): getattr(handler, kind)}
    return handler._replace(request_streaming=True, **late)


def wrap(handler: Handler, around: Around) -> Handler:
    """Wrap the handler of a method.

    Args:
        handler: What serves the method's calls.
        around: Makes the block around a call, given the call's context.

    Returns:
        A handler of the same kind.
    """
    (kind,) = (kind for kind in _KINDS if getattr(handler, kind))
    return handler._replace(**{kind: _wrapped(getattr(handler, kind), around)})


def _wrapped(behaviour: Any, around: Around) -> Any:
    async def answer(request: Any, context: Any) -> Any:
        async with around(context):
            return await behaviour(request, context)

    async def write(request: Any, context: Any) -> None:
        # Written here, not yielded to grpc: what ends the call while a slow caller holds a write up ends this block.
        async with around(context), aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return write if inspect.isasyncgenfunction(behaviour) else answer
