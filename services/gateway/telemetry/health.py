"""The HTTP port: metrics, whether the process lives, and whether it is ready."""

import json
import logging
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from services.gateway.telemetry.metrics import Metrics
from services.gateway.telemetry.readiness import Readiness

_POLL_SECONDS = 0.05
# How long a caller of the probe server may say nothing, and how many there may be at once; each holds a thread.
_PATIENCE_SECONDS = 10.0
_MOST_CALLERS = 32

_log = logging.getLogger(__name__)


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
