"""A real gateway whose work can be held up, so that a job is still at it when it is killed, however late that is."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gantry.v1 import worker_pb2
from services.backends.base import Backend, ModelKey
from services.backends.envelope import Envelope
from services.gateway.server import make_backend
from tests.conformance.harness import EventLoop, embedded_settings, serving


class Gate:
    """Stands before a backend.

    Attributes:
        address: host:port of the gateway.
    """

    address: str

    def __init__(self, loop: EventLoop, backend: Backend) -> None:
        self._loop, self._run = loop, backend.run
        self._left, self._changed = math.inf, asyncio.Event()
        backend.run = self._pass  # type: ignore[method-assign]

    def allow(self, items: float = math.inf) -> None:
        """Let so many items pass from now on, and all that wait: those are of a caller who was killed."""
        self._loop.call(lambda: self._allow(items))

    def _allow(self, items: float) -> None:
        self._changed.set()
        self._left, self._changed = items, asyncio.Event()

    async def _pass(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        if self._left > 0:
            self._left -= len(envelope.request.items)
        else:
            await self._changed.wait()
        return await self._run(key, envelope)


@contextmanager
def gated(model_store: Path) -> Iterator[Gate]:
    """Serve a folder of archives behind an open gate until the context ends."""
    settings = embedded_settings(model_store)
    backend = make_backend(settings)
    with closing(EventLoop()) as loop:
        gate = Gate(loop, backend)
        with serving(loop, settings, backend) as served:
            gate.address = f"127.0.0.1:{served.gateway.port}"
            try:
                yield gate
            finally:
                gate.allow()
