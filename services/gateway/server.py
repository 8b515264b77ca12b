"""Wiring only: settings → backend → scheduler → servicers → grpc.aio."""

import asyncio
import logging
import signal
import time
from contextlib import AsyncExitStack
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.backends.base import Backend, BackendUnavailableError
from services.gateway.catalog import Catalog
from services.gateway.decoding import RequestDecoder
from services.gateway.encoding import Limits
from services.gateway.health import ProbeServer, Readiness
from services.gateway.making import Maker
from services.gateway.metrics import CallCounter, Metrics, kind_label
from services.gateway.scheduler import Scheduler
from services.gateway.servicers.generation import GenerationServicer
from services.gateway.servicers.models import ModelServicer
from services.gateway.settings import Settings
from services.gateway.uploads import StreamLimits

_SERVICES = (
    generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name,
    models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)
# The most bytes of one message from a caller, gRPC's own default; larger pictures come in chunks.
_MAX_REQUEST_BYTES = 4 << 20

_log = logging.getLogger(__name__)


class Gateway:
    """A running gateway: `async with Gateway(settings, backend) as gateway: ...`."""

    def __init__(self, settings: Settings, backend: Backend) -> None:
        """Keep the settings; entering the context does the work.

        Args:
            settings: All settings.
            backend: What runs the models; the gateway starts and stops it.
        """
        self._settings, self._backend = settings, backend
        self.metrics = Metrics()
        self.port = 0
        self.metrics_port = 0

    async def __aenter__(self) -> Self:
        """Start the backend, probe every model, and listen.

        Raises:
            BackendUnavailableError: The backend cannot serve at all.
            OSError: A port is taken.
        """
        async with AsyncExitStack() as started:
            await self._backend.start()
            started.push_async_callback(self._backend.stop)
            await self._listen(started)
            self._started = started.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drain: refuse new calls, finish admitted ones within the grace, then stop what was started, last first."""
        await self._started.aclose()

    async def _listen(self, started: AsyncExitStack) -> None:
        settings, backend = self._settings, self._backend
        self._note_models()
        catalog = Catalog(backend.models)
        scheduler = Scheduler(
            backend,
            self.metrics,
            queue_items=settings.queue_items,
            envelopes_in_flight=settings.envelopes_in_flight or backend.envelopes_in_flight,
            clock=time.monotonic,
        )
        health = health_aio.HealthServicer()
        readiness = Readiness(backend, health, ("", *_SERVICES), self.metrics)
        self._server = grpc.aio.server(
            interceptors=[CallCounter(self.metrics), RequestDecoder()],
            options=[("grpc.max_receive_message_length", _MAX_REQUEST_BYTES), ("grpc.so_reuseport", 0)],
        )
        limits = Limits(
            max_images=settings.max_images,
            max_response_bytes=settings.max_response_bytes,
            max_image_bytes=settings.max_image_bytes,
            max_image_pixels=settings.max_image_pixels,
        )
        stream_limits = StreamLimits(pictures=settings.stream_pictures, bytes=settings.stream_bytes)
        maker = Maker(scheduler, self.metrics, time.monotonic)
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(
            GenerationServicer(catalog, maker, limits, stream_limits), self._server
        )
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(catalog, backend.refused), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        if settings.reflection:
            names = (
                *_SERVICES,
                health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
                reflection.SERVICE_NAME,
            )
            reflection.enable_server_reflection(names, self._server)
        probes = ProbeServer(settings.metrics_host, settings.metrics_port, self.metrics, readiness)
        self.metrics_port = probes.port
        probes.start()
        started.callback(probes.stop)
        scheduler.start()
        started.push_async_callback(scheduler.stop)
        self.port = self._bind(settings)
        # No call meets a model that has not been tried.
        await readiness.probe()
        await self._server.start()
        started.push_async_callback(self._server.stop, settings.drain_seconds)
        started.push_async_callback(readiness.drain)
        started.callback(asyncio.create_task(readiness.probe_forever(settings.probe_seconds)).cancel)

    def _bind(self, settings: Settings) -> int:
        try:
            return self._server.add_insecure_port(f"{settings.host or '127.0.0.1'}:{settings.port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {settings.host or '127.0.0.1'}:{settings.port}") from error

    def _note_models(self) -> None:
        for loaded in self._backend.models.values():
            card = loaded.card
            self.metrics.model_info.labels(card.name, card.version, kind_label(card.kind), loaded.digest).set(1)
            _log.info("serving %s %s (%s)", card.name, card.version, loaded.digest[:12])
        for refused in self._backend.refused:
            _log.error("refused %s: %s", refused.archive, refused.reason)


def make_backend(settings: Settings) -> Backend:
    """Make the backend that the settings name.

    Args:
        settings: All settings.

    Returns:
        The backend, not started.

    Raises:
        BackendUnavailableError: What it needs is not installed.
    """
    if settings.backend == "torchserve":
        from services.backends.torchserve import TorchServeBackend

        return TorchServeBackend(
            model_store=settings.model_store,
            address=settings.torchserve_address,
            management_address=settings.torchserve_management_address,
            workers=settings.torchserve_workers,
            execution=settings.execution,
            device=settings.device,
            names=[name.strip() for name in settings.torchserve_models.split(",") if name.strip()],
            message_bytes=settings.torchserve_message_bytes,
        )
    try:
        from services.backends.embedded import EmbeddedBackend
    except ImportError as error:
        raise BackendUnavailableError("the embedded backend needs torch: pip install 'gantry[embedded]'") from error
    return EmbeddedBackend(settings.model_store, settings.worker_threads, settings.execution, settings.device)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: All settings.

    Raises:
        BackendUnavailableError: The backend cannot serve at all.
        OSError: A port is taken.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with Gateway(settings, make_backend(settings)) as gateway:
        _log.info(
            "gRPC on %s:%d, metrics on http://%s:%d/metrics",
            settings.host, gateway.port, settings.metrics_host, gateway.metrics_port,
        )  # fmt: skip
        await stopping.wait()
        _log.info("draining")
