"""Wiring only: settings → backend → scheduler → servicers → grpc.aio, and the way back when the gateway stops."""

import asyncio
import gc
import logging
import os
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from typing import Any, NoReturn, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.backends.base import Backend, BackendUnavailableError
from services.backends.embedded.backend import EmbeddedBackend
from services.backends.embedded.vigilance import Vigilance
from services.gateway import ending
from services.gateway.admission import QueueLimits
from services.gateway.allowances import Allowances
from services.gateway.budget import Budget
from services.gateway.catalog import Catalog
from services.gateway.credentials.tls import server_credentials
from services.gateway.interceptors.access_log import CallObserver
from services.gateway.interceptors.authentication import authenticator
from services.gateway.interceptors.base import WrappedOnce
from services.gateway.interceptors.call_limit import CallLimit
from services.gateway.interceptors.drain import Drain
from services.gateway.interceptors.messages import MessageReader
from services.gateway.pace import UPLOAD_BYTES_PER_SECOND, Pace
from services.gateway.planning.output import Limits
from services.gateway.process import raise_descriptor_limit, return_freed_memory, share_the_interpreter
from services.gateway.scheduler import Scheduler
from services.gateway.servicers.generation import GenerationServicer
from services.gateway.servicers.models import ModelServicer
from services.gateway.servicers.orders import Orders
from services.gateway.servicers.uploads import StreamLimits
from services.gateway.settings import Settings, names_in
from services.gateway.telemetry.health import ProbeServer
from services.gateway.telemetry.inventory import Inventory
from services.gateway.telemetry.metrics import Metrics
from services.gateway.telemetry.readiness import LIVENESS, Health, Readiness
from services.gateway.turns import Turns

_SERVICES = (
    generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name,
    models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)
_UPLOADS = (f"/{_SERVICES[0]}/Translate",)
# A message of up to so many times the limit is read, so that its refusal says why; what is beyond that gRPC refuses,
# and callers learn nothing but the code.
_READ_TIMES = 2
# Calls that may wait to be seen, in times of those that are served at once: each costs a few kilobytes.
_UNSEEN_TIMES = 4
# The most bytes of a call's metadata: room for a token, and no more than other proxies and servers take.
_METADATA_BYTES = 16 << 10
# What gRPC takes of a call that nobody reads yet: one frame. Of 64 KiB, 1,024 calls held several times as many bytes.
_WINDOW_BYTES = 16 << 10
# How often a caller may ping more often than it should before it is hung up on.
_PING_STRIKES = 2
# How long statuses have to reach callers once the drain is over.
_FAREWELL_SECONDS = 1.0
# How long gRPC may take to write them, where it is not asked whether it has.
_LAST_WORDS_SECONDS = 0.1

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
        self._drain = Drain(self.metrics)
        self._leaves_connections = False
        self._inventory = Inventory(backend, self.metrics, _why_none(settings))
        self.port = 0
        self.metrics_port = 0

    async def __aenter__(self) -> Self:
        """Start it, unless it has been started; errors as of `start`."""
        if not self.port:
            await self.start()
        return self

    async def start(self) -> None:
        """Bind the ports, start the backend, probe every model, and serve.

        Raises:
            BackendUnavailableError: The backend cannot serve at all.
            OSError: A port is taken, or a file cannot be read.
            ValueError: The settings contradict each other, or a file does not hold what it should.
        """
        # First what is wrong with files and ports: loading models takes a while.
        self._gate = authenticator(self._settings)
        self._credentials = server_credentials(self._settings, self.metrics)
        async with AsyncExitStack() as started:
            self._bind(started)
            await self._backend.start()
            started.push_async_callback(self._backend.stop)
            await self._serve(started)
            self._started = started.pop_all()

    async def __aexit__(self, *_: object) -> None:
        """Drain: refuse new calls, finish admitted ones within the grace, then stop what was started, last first."""
        await self._started.aclose()

    async def leave(self) -> None:
        """Drain and stop everything but the connections, for a process that ends right after.

        gRPC's own end of a server cuts off calls that arrive in its last moments with CANCELLED. Where the connections
        end with the process, callers see UNAVAILABLE instead, and try another gateway.
        """
        self._leaves_connections = True
        await self._started.aclose()

    async def lost(self) -> None:
        """Wait until the backend is beyond help.

        Raises:
            BackendUnavailableError: It is.
        """
        await asyncio.shield(self._keeping)

    def hurry(self) -> None:
        """End the calls that a drain still waits for."""
        self._drain.over.come()

    def _bind(self, started: AsyncExitStack) -> None:
        """Take both ports; the probes answer from now on, and gRPC when it is started."""
        settings = self._settings
        shown = self.metrics if settings.metrics else None
        self._probes = ProbeServer(settings.metrics_host, settings.metrics_port, shown)
        self.metrics_port = self._probes.port
        self._probes.start()
        started.callback(self._probes.stop)
        self._budget = Budget(settings.memory_bytes, settings.memory_patience_seconds, self.metrics)
        self._turns, pace = Turns(), Pace(UPLOAD_BYTES_PER_SECOND, time.monotonic)
        reader = MessageReader(
            self._budget, settings.max_request_bytes, settings.stream_idle_seconds, _UPLOADS, self._turns, pace
        )
        limit = CallLimit(settings.max_calls)
        # From the outside in: what is refused is observed too, and nothing of a stranger's request is read.
        interceptors = WrappedOnce(), CallObserver(self.metrics), limit, self._drain, self._gate, reader
        self._server = grpc.aio.server(interceptors=[one for one in interceptors if one], options=_options(settings))
        self.port = _bound(self._server, f"{settings.listen_host}:{settings.port}", self._credentials)
        started.push_async_callback(self._release)

    async def _serve(self, started: AsyncExitStack) -> None:
        settings, backend = self._settings, self._backend
        self._inventory.show()
        self._catalog = Catalog(backend.models)
        self._scheduler = scheduler = Scheduler(
            backend,
            self.metrics,
            QueueLimits(settings.queue_items, settings.max_request_seconds),
            Allowances(settings.max_images, time.monotonic),
            time.monotonic,
            self._turns,
        )
        health = Health()
        # For who restarts a gateway that hangs: whether it answers, whatever its models do.
        health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        self._readiness = readiness = Readiness(
            backend, scheduler.probe, health, ("", *_SERVICES), self.metrics, settings.required_model_names
        )
        self._probes.readiness = readiness
        if self._gate:
            await self._gate.start()
            started.push_async_callback(self._gate.stop)
        orders = Orders(scheduler, self.metrics, time.monotonic, settings.default_deadline_seconds)
        self._add_services(orders, health)
        scheduler.start()
        started.push_async_callback(scheduler.stop)
        backend.on_change = self._follow_backend
        backend.on_worker_lost = lambda reason: self.metrics.workers_lost.labels(reason).inc()
        self._keeping = asyncio.create_task(backend.keep())
        started.push_async_callback(_cancelled, self._keeping)
        # No call meets a model that has not been tried.
        await readiness.probe()
        await self._server.start()
        started.push_async_callback(self._say_farewell)
        started.push_async_callback(self._drain.finish, settings.drain_seconds)
        started.callback(readiness.drain)
        started.callback(self._drain.begin)
        probing = asyncio.create_task(readiness.probe_forever(settings.probe_seconds))
        started.push_async_callback(_cancelled, probing)

    async def _say_farewell(self) -> None:
        if self._leaves_connections:
            await asyncio.sleep(_LAST_WORDS_SECONDS)
        else:
            await self._server.stop(_FAREWELL_SECONDS)

    async def _release(self) -> None:
        """Free the port, which only a server that was started does."""
        if not self._leaves_connections:
            with suppress(grpc.aio.UsageError):
                await self._server.start()
            await self._server.stop(None)

    def _add_services(self, orders: Orders, health: Health) -> None:
        settings, catalog = self._settings, self._catalog
        limits = Limits(
            max_images=settings.max_images,
            max_response_bytes=settings.max_response_bytes,
            max_image_bytes=settings.max_image_bytes,
            max_image_pixels=settings.max_image_pixels,
        )
        stream_limits = StreamLimits(
            pictures=settings.stream_pictures, bytes=settings.stream_bytes, idle_seconds=settings.stream_idle_seconds
        )
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(
            GenerationServicer(catalog, orders, self._budget, limits, stream_limits, self._drain.begun), self._server
        )
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(catalog, self._backend), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        if settings.reflection:
            names = (
                *_SERVICES,
                health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
                reflection.SERVICE_NAME,
            )
            reflection.enable_server_reflection(names, self._server)

    def _follow_backend(self) -> None:
        """Have callers find what the backend has now, and nothing else."""
        self._inventory.show()
        self._catalog.follow(self._backend.models)
        self._scheduler.follow(self._backend.models)
        self._readiness.look()


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
        from services.backends.torchserve.backend import TorchServeBackend

        return TorchServeBackend(
            model_store=settings.model_store,
            address=settings.torchserve_address,
            management_address=settings.torchserve_management_address,
            workers=settings.torchserve_workers,
            execution=settings.execution,
            device=settings.device,
            names=names_in(settings.torchserve_models),
            rest_address=settings.torchserve_rest_address,
            message_bytes=settings.torchserve_message_bytes,
            follow_seconds=settings.probe_seconds,
        )
    if find_spec("torch") is None:
        raise BackendUnavailableError("the embedded backend needs torch: pip install 'gantry[embedded]'")
    vigilance = Vigilance(memory_bytes=settings.worker_memory_bytes, archive_seconds=settings.archive_seconds)
    return EmbeddedBackend(settings.model_store, settings.workers, settings.execution, settings.device, vigilance)


def _why_none(settings: Settings) -> str:
    """Say why there may be no model."""
    if settings.backend == "torchserve" and settings.torchserve_address:
        return f"the TorchServe at {settings.torchserve_address} has none"
    return f"{settings.model_store} holds no .mar archive"


def _bound(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """Have a server listen; returns the port."""
    try:
        if credentials:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except RuntimeError as error:
        # gRPC does not tell them apart.
        why = "another process may listen there already, or the address is not this machine's"
        raise OSError(f"cannot listen on {address}: {why}; GRPC_VERBOSITY=error tells") from error


def _options(settings: Settings) -> list[tuple[str, int]]:
    age = [
        ("grpc.max_connection_age_ms", round(settings.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(settings.connection_age_grace_seconds * 1000)),
    ]
    return [
        *(age if settings.connection_age_seconds else []),
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", _READ_TIMES * settings.max_request_bytes),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        # Else gRPC would cut calls off without a status where a thousand wait for the gateway to see them.
        ("grpc.server.max_pending_requests", _UNSEEN_TIMES * settings.max_calls),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _UNSEEN_TIMES * settings.max_calls),
        ("grpc.max_allowed_incoming_connections", settings.max_connections or raise_descriptor_limit()),
        ("grpc.server_handshake_timeout_ms", round(settings.handshake_seconds * 1000)),
        # Else gRPC would let callers send megabytes of each call before the gateway asks for them.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        # Else every ping without a call under way, however seldom, would be one too many.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(settings.keepalive_least_seconds * 1000)),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
    ]


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; see `ending.signals` for further ones, and for what hangs.

    Args:
        settings: All settings.

    Raises:
        BackendUnavailableError: The backend cannot serve at all.
        OSError: A port is taken, or a file cannot be read.
        ValueError: The settings contradict each other, or a file does not hold what it should.
    """
    return_freed_memory()
    share_the_interpreter()
    stopping = asyncio.Event()
    gateway = Gateway(settings, make_backend(settings))
    with ending.signals(settings.drain_seconds, stopping.set, gateway.hurry):
        _log.info("starting the %s backend", settings.backend)
        if not await _starts(gateway, stopping):
            _log.info("stopped while it started")
            # A thread that reads archives cannot be interrupted, and nobody waits for what it reads.
            _end()
        # What has been imported stays: no collection has to go over it again, nor the one at the process's end.
        gc.freeze()
        async with gateway:
            _log.info(
                "gRPC on %s:%d, %s over HTTP on port %d of %s",
                settings.listen_host, gateway.port,
                "metrics and probes" if settings.metrics else "probes", gateway.metrics_port, settings.metrics_host,
            )  # fmt: skip
            for opening in settings.openings:
                _log.warning(opening)
            try:
                await _first(stopping.wait(), gateway.lost())
            finally:
                _log.info("draining: new calls are refused, admitted ones have %g s", settings.drain_seconds)
            await gateway.leave()
            _log.info("stopped")
            _end()


def _end() -> NoReturn:
    """End the process at once, and with it its connections."""
    logging.shutdown()
    os._exit(0)


async def _starts(gateway: Gateway, stopping: asyncio.Event) -> bool:
    """Start a gateway, or give it up where it is to stop before it serves."""
    starting, stop = asyncio.create_task(gateway.start()), asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if starting.done():
        await starting
        return True
    starting.cancel()
    await asyncio.wait({starting})
    return False


async def _first(*awaited: Coroutine[Any, Any, object]) -> None:
    """Wait until the first of several is done; raises what it raises."""
    tasks = [asyncio.create_task(one) for one in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            await _cancelled(task)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait until it is over."""
    task.cancel()
    await asyncio.wait({task})
