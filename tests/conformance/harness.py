"""A real gateway on an event loop of its own, stubs to call it as any client does, and eyes for its answers."""

import asyncio
import io
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray
from PIL import Image

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


def embedded_settings(model_store: Path, **options: Any) -> Settings:
    """Settings of a gateway that runs a folder's archives itself, in float32 and on free ports."""
    fixed = {
        "backend": "embedded",
        "execution": "float32",
        "model_store": model_store,
        "port": 0,
        "metrics_port": 0,
        "probe_seconds": 3600,  # torch cannot export a graph in a test while a probe runs another beside it
    }
    return Settings(**fixed | options)


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


def details_of(error: grpc.RpcError) -> dict[str, Any]:
    """The rich details of an error by their message names."""
    status = rpc_status.from_call(error)
    assert status, f"a refusal without details: {error}"
    return unpack(status.details)


def unpack(details: Iterable[Any]) -> dict[str, Any]:
    """Rich details by their message names."""
    found: dict[str, Any] = {}
    for packed in details:
        detail = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])()
        assert packed.Unpack(detail)
        found[detail.DESCRIPTOR.name] = detail
    return found


def assert_invalid(error: grpc.RpcError, field: str, description: str) -> None:
    """See that a request was refused for one field alone."""
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(error)
    assert (details["ErrorInfo"].domain, details["ErrorInfo"].reason) == ("gantry", "INVALID_REQUEST")
    violations = {violation.field: violation.description for violation in details["BadRequest"].field_violations}
    assert list(violations) == [field]
    assert description in violations[field]
    assert "RetryInfo" not in details


def pixels_of(encoded: bytes) -> NDArray[np.uint8]:
    """Decode an answer: uint8 [height, width] or [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(encoded)))
