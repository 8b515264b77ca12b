"""A real gRPC server that refuses calls in the words of the gateway, and a clock for the client that calls it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_status import rpc_status

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.gateway.errors import status_of

ANSWER = generation_pb2.Image(
    encoded=generation_pb2.EncodedImage(
        data=bytes([0, 80, 160, 240]), width=2, height=2, channels=1, format=generation_pb2.IMAGE_FORMAT_RAW
    ),
    seed=5,
)


@dataclass
class Clock:
    """Time that passes only in `sleep`."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class RefusingServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Refuses with each error in turn, then answers."""

    def __init__(self, errors: list[Exception]) -> None:
        self._errors = list(errors)
        self.calls = 0

    def Sample(self, request: generation_pb2.SampleRequest, context: Any) -> generation_pb2.SampleResponse:  # noqa: N802
        self._refuse(context)
        return generation_pb2.SampleResponse(images=[ANSWER], seed=ANSWER.seed)

    def SampleStream(  # noqa: N802
        self, request: generation_pb2.SampleStreamRequest, context: Any
    ) -> Iterator[generation_pb2.SampleStreamResponse]:
        self._refuse(context)
        yield generation_pb2.SampleStreamResponse(image=ANSWER)

    def _refuse(self, context: Any) -> None:
        self.calls += 1
        if self._errors:
            error = self._errors.pop(0)
            context.abort_with_status(rpc_status.to_status(status_of(error)))


class SilentServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Takes calls and does not answer until it is released, or for a minute: a test that failed is to end."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def Sample(self, request: generation_pb2.SampleRequest, context: Any) -> generation_pb2.SampleResponse:  # noqa: N802
        self.released.wait(60)
        return generation_pb2.SampleResponse()

    def TranslateStream(  # noqa: N802
        self, request_iterator: Iterator[generation_pb2.TranslateStreamRequest], context: Any
    ) -> Iterator[generation_pb2.TranslateStreamResponse]:
        self.released.wait(60)
        return iter(())


@contextmanager
def listening(servicer: generation_pb2_grpc.GenerationServiceServicer) -> Iterator[str]:
    """Serve until the context ends, and give host:port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
