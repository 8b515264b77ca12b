"""A real gateway on an event loop of its own, and stubs to call it as any client does."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import grpc

from gantry.v1 import generation_pb2_grpc, models_pb2_grpc
from services.backends.base import Backend
from services.gateway.server import Gateway
from services.gateway.settings import Settings


class EventLoop:
    """An event loop on a thread, so that tests can call gateways as any client does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="gateways")
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on the loop, soon."""
        self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """Stop the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Served:
    """A gateway that runs, and stubs to call it.

    Attributes:
        backend: What runs its models.
        gateway: The gateway.
        channel: A connection to it.
        generation: Stub of GenerationService.
        models: Stub of ModelService.
    """

    backend: Backend
    gateway: Gateway
    channel: grpc.Channel
    generation: generation_pb2_grpc.GenerationServiceStub
    models: models_pb2_grpc.ModelServiceStub


@contextmanager
def serving(loop: EventLoop, settings: Settings, backend: Backend) -> Iterator[Served]:
    """Run a gateway on the loop until the context ends."""

    async def make() -> Gateway:
        return await Gateway(settings, backend).__aenter__()

    gateway = loop.run(make())
    try:
        with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            yield Served(
                backend,
                gateway,
                channel,
                generation_pb2_grpc.GenerationServiceStub(channel),
                models_pb2_grpc.ModelServiceStub(channel),
            )
    finally:
        loop.run(gateway.__aexit__(None, None, None))
