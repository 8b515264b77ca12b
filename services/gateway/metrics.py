"""Every metric the gateway has, and the interceptor that counts calls.

Model names from callers never become labels: only keys of loaded models do, so a stranger cannot grow the registry.
"""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gantry.v1 import models_pb2

# grpc.RpcMethodHandler; its stubs do not say that it is a named tuple.
Handler = Any

# Calls are expected to take from a millisecond (one small picture) to half a minute (a large request under load).
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The gateway's metrics in a registry of their own, so that two gateways in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        call = ("grpc_service", "grpc_method", "grpc_type")
        model = ("model",)
        self.calls_started = self._counter("grpc_server_started", "Calls begun.", call)
        self.calls_handled = self._counter("grpc_server_handled", "Calls ended, by code.", (*call, "grpc_code"))
        self.call_seconds = self._seconds("grpc_server_handling_seconds", "Seconds from first byte to status.", call)
        self.images = self._counter("gantry_images", "Pictures made.", ("model", "kind"))
        self.batch_items = Histogram(
            "gantry_batch_items", "Items in an envelope.", model, buckets=_ITEMS, registry=self.registry
        )
        self.queue_items = Gauge("gantry_queue_items", "Items that wait.", ("model", "version"), registry=self.registry)
        self.queue_seconds = self._seconds("gantry_queue_seconds", "Seconds an item waited.", model)
        self.backend_seconds = self._seconds("gantry_backend_seconds", "Seconds an envelope was away.", model)
        self.encode_seconds = self._seconds("gantry_encode_seconds", "Seconds encoding an envelope.", model)
        self.backend_up = Gauge(
            "gantry_backend_up",
            "1 where the last probe of the model brought a picture back.",
            ("backend", "model", "version"),
            registry=self.registry,
        )
        self.model_info = Gauge(
            "gantry_model_info",
            "1 for every loaded model.",
            ("model", "version", "kind", "digest"),
            registry=self.registry,
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)


def kind_label(kind: "models_pb2.ModelKind.ValueType") -> str:
    """Return a kind as a metric label, for example `class_conditional`."""
    return models_pb2.ModelKind.Name(kind).removeprefix("MODEL_KIND_").lower()


class CallCounter(grpc.aio.ServerInterceptor):
    """Counts and times every call of a method that exists."""

    def __init__(self, metrics: Metrics) -> None:
        """Keep where to count.

        Args:
            metrics: The gateway's metrics.
        """
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the handler of a call; a method that does not exist is not counted."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        service, _, method = handler_call_details.method.removeprefix("/").partition("/")
        if handler.unary_unary:
            counted = self._count_unary(handler.unary_unary, (service, method, "unary"))
            return handler._replace(unary_unary=counted)
        if handler.unary_stream:
            counted = self._count_stream(handler.unary_stream, (service, method, "server_stream"))
            return handler._replace(unary_stream=counted)
        if handler.stream_stream:
            counted = self._count_stream(handler.stream_stream, (service, method, "bidi_stream"))
            return handler._replace(stream_stream=counted)
        return handler

    def _count_unary(self, behaviour: Any, call: tuple[str, str, str]) -> Any:
        async def counted(request: Any, context: Any) -> Any:
            with _Counted(self._metrics, call, context):
                return await behaviour(request, context)

        return counted

    def _count_stream(self, behaviour: Any, call: tuple[str, str, str]) -> Any:
        async def counted(request: Any, context: Any) -> AsyncIterator[Any]:
            with _Counted(self._metrics, call, context):
                async with aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        yield response

        async def counted_writer(request: Any, context: Any) -> None:
            with _Counted(self._metrics, call, context):
                await behaviour(request, context)

        # A streaming method either yields its responses or, as grpc.health.v1 does, writes them to its context.
        return counted if inspect.isasyncgenfunction(behaviour) else counted_writer


class _Counted:
    """Counts one call from its beginning to its status."""

    def __init__(self, metrics: Metrics, call: tuple[str, str, str], context: Any) -> None:
        self._metrics, self._call, self._context = metrics, call, context

    def __enter__(self) -> None:
        self._metrics.calls_started.labels(*self._call).inc()
        self._started = time.perf_counter()

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self._metrics.call_seconds.labels(*self._call).observe(time.perf_counter() - self._started)
        self._metrics.calls_handled.labels(*self._call, self._code(error_type)).inc()

    def _code(self, error_type: type[BaseException] | None) -> str:
        if error_type is None:
            return "OK"
        if issubclass(error_type, grpc.aio.AbortError):
            return _code_name(self._context.code())
        return "UNKNOWN" if issubclass(error_type, Exception) else "CANCELLED"


def _code_name(code: grpc.StatusCode | int) -> str:
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((known.name for known in grpc.StatusCode if known.value[0] == code), "UNKNOWN")
