"""Puts a block around the handler of a call, whatever the kind of its method."""

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from services.gateway.decoding import Handler

Around = Callable[[Any], AbstractAsyncContextManager[None]]

_KINDS = "unary_unary", "unary_stream", "stream_unary", "stream_stream"


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
