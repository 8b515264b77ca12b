"""Whether the gateway can do its work: a tiny real inference per model, told over gRPC health and over HTTP.

A ping of TorchServe says nothing about its models, so readiness is a picture that came back.
"""

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio
from prometheus_client import make_wsgi_app

from services.backends.base import Backend, BackendError, ModelKey
from services.gateway.telemetry.metrics import Metrics

# A name of the gRPC health service: SERVING for as long as the gateway answers at all.
LIVENESS = "liveness"
_POLL_SECONDS = 0.05
# How long a caller of the probe server may say nothing, and how many there may be at once; each holds a thread.
_PATIENCE_SECONDS = 10.0
_MOST_CALLERS = 32

_log = logging.getLogger(__name__)


class Readiness:
    """Probes every model and tells the health service, the metrics and /readyz what came of it."""

    def __init__(
        self, backend: Backend, health: health_aio.HealthServicer, services: Sequence[str], metrics: Metrics
    ) -> None:
        """Begin as not ready.

        Args:
            backend: A started backend.
            health: The gRPC health service.
            services: Full names of the services it speaks for, "" for the whole server.
            metrics: Where `gantry_backend_up` stands.
        """
        self._backend, self._health, self._services, self._metrics = backend, health, services, metrics
        self._faults: Mapping[ModelKey, str] = dict.fromkeys(backend.models, "not probed yet")
        self._is_draining = False
        self._shown: set[ModelKey] = set()
        self._has_news = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether there is a model, every model brought a picture back, and the gateway is not stopping."""
        return bool(self._backend.models) and not self._faults and not self._is_draining

    def report(self) -> dict[str, Any]:
        """Say what /readyz shows: readiness, what each model's last probe said, and the refused archives."""
        return {
            "ready": self.is_ready,
            "draining": self._is_draining,
            "models": {f"{key.name} {key.version}": self._faults.get(key, "ok") for key in self._backend.models},
            "refused": {refused.archive: refused.reason for refused in self._backend.refused},
        }

    async def probe(self) -> None:
        """Make one picture with every model."""
        faults: dict[ModelKey, str] = {}
        for key in self._backend.models:
            try:
                await self._backend.probe(key)
            except BackendError as error:
                faults[key] = str(error)
                _log.warning("model %s %s: probe failed: %s", *key, error)
            except Exception:
                # Probing must outlive anything a backend does.
                faults[key] = "the probe failed"
                _log.exception("model %s %s: unexpected error of the backend", *key)
            self._metrics.backend_up.labels(self._backend.name, *key).set(key not in faults)
            self._shown.add(key)
        for key in self._shown - self._backend.models.keys():
            self._metrics.backend_up.remove(self._backend.name, *key)
        self._shown &= self._backend.models.keys()
        self._faults = faults
        await self._tell()

    def look(self) -> None:
        """Have `probe_forever` probe now: something has become of the models."""
        self._has_news.set()

    async def probe_forever(self, seconds: float) -> None:
        """Probe again and again.

        Args:
            seconds: Pause between two probes, unless `look` ends it.
        """
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_news.wait(), seconds)
            self._has_news.clear()
            await self.probe()

    async def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        self._is_draining = True
        await self._tell()

    async def _tell(self) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if self.is_ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self._health.set(service, status)


class ProbeServer:
    """Serves /metrics, /healthz and /readyz over HTTP on a thread of its own."""

    def __init__(self, host: str, port: int, metrics: Metrics | None, readiness: Readiness | None = None) -> None:
        """Bind the port.

        Args:
            host: Address to listen on, IPv4 or IPv6; "::" is all of both.
            port: Port to listen on; 0 takes a free one.
            metrics: What /metrics shows; None where it is not to answer.
            readiness: What /readyz shows; None while there are no models to ask. It may be set later.

        Raises:
            OSError: It cannot listen there; the message names the host and the port.
        """
        self._metrics_app = make_wsgi_app(metrics.registry) if metrics else None
        self.readiness = readiness
        server_class = _ThreadingServerV6 if ":" in host else _ThreadingServer
        try:
            self._server = make_server(host.strip("[]"), port, self._answer, server_class, _QuietHandler)
        except OSError as error:
            raise OSError(f"cannot serve metrics and probes on port {port} of {host}: {error.strerror}") from error
        self._thread = Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="gantry-probes", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        match environ["PATH_INFO"]:
            case "/metrics" if self._metrics_app:
                return self._metrics_app(environ, start_response)
            case "/healthz":
                return _respond(start_response, HTTPStatus.OK, {"alive": True})
            case "/readyz":
                report = self.readiness.report() if self.readiness else {"ready": False, "starting": True}
                status = HTTPStatus.OK if report["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
                return _respond(start_response, status, report)
            case _:
                paths = [*(["/metrics"] if self._metrics_app else []), "/healthz", "/readyz"]
                return _respond(start_response, HTTPStatus.NOT_FOUND, {"paths": paths})


def _respond(start_response: Any, status: HTTPStatus, body: Mapping[str, Any]) -> list[bytes]:
    start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [json.dumps(body, indent=2).encode() + b"\n"]


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    """Answers every caller on a thread; of too many at once, it hangs up on who came first: those say nothing."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # In order of arrival; a dict keeps it.
        self._open: dict[socket.socket, None] = {}
        self._lock = Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread of its own."""
        with self._lock:
            if len(self._open) >= _MOST_CALLERS:
                with suppress(OSError):
                    next(iter(self._open)).shutdown(socket.SHUT_RDWR)
                self._open.pop(next(iter(self._open)))
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a caller that was answered."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (socketserver's signature)
        """Log what went wrong; that a caller hung up or said nothing is no error of the gateway's."""
        level = logging.DEBUG if isinstance(sys.exception(), OSError) else logging.ERROR
        _log.log(level, "a request for metrics or probes broke off", exc_info=True)


class _ThreadingServerV6(_ThreadingServer):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    """Probes come every few seconds; a log line for each would bury the rest."""

    timeout = _PATIENCE_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
