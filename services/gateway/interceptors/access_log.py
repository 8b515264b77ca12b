"""Observes every call of a method that exists: gives it its request id, counts and times it, and logs one line.

The line has no metadata, no token and nothing of what was sent or made: only names of methods and loaded models, the
caller's name and address, counts and milliseconds.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc

from services.gateway.call import Call
from services.gateway.interceptors.base import Handler, Wrapping, wrap
from services.gateway.telemetry.metrics import Metrics

# A connection that has brought no call for so many others counts again.
_KNOWN_PEERS = 8192

_log = logging.getLogger("gantry.access")


class CallObserver(Wrapping):
    """Observes calls; outside of all others that see calls, so that it sees their refusals."""

    def __init__(self, metrics: Metrics) -> None:
        """Keep where to count.

        Args:
            metrics: The gateway's metrics.
        """
        self._metrics = metrics
        self._peers: OrderedDict[str, None] = OrderedDict()

    def wrapped(self, handler: Handler, method: str) -> Handler:
        """Observe the calls of a method that exists."""
        service, _, name = method.removeprefix("/").partition("/")
        return wrap(handler, partial(self._observed, _Counts(self._metrics, service, name, _type_of(handler))))

    @asynccontextmanager
    async def _observed(self, counts: "_Counts", context: Any) -> AsyncIterator[None]:
        peer = context.peer()
        self._note_connection(peer)
        call = Call.begin(counts.method, context.invocation_metadata(), self._metrics.refusals, peer)
        counts.started.inc()
        code, started = "OK", time.perf_counter()
        with counts.in_flight.track_inprogress():
            try:
                # With the status, not before the answer: a proxy can try another gateway only as long as it has passed
                # nothing of the answer on.
                context.set_trailing_metadata(call.trailing_metadata())
                yield
                context.set_trailing_metadata(call.trailing_metadata())
            except BaseException as error:
                code = _code_of(error, context)
                raise
            finally:
                seconds = time.perf_counter() - started
                counts.seconds.observe(seconds)
                counts.handled(code).inc()
                _log_call(call, counts.service, code, seconds)

    def _note_connection(self, peer: str) -> None:
        """Count a connection at its first call, of which the peer's port tells it apart."""
        if peer not in self._peers:
            self._metrics.connections.inc()
        self._peers[peer] = None
        self._peers.move_to_end(peer)
        if len(self._peers) > _KNOWN_PEERS:
            self._peers.popitem(last=False)


class _Counts:
    """Where the calls of one method are counted."""

    def __init__(self, metrics: Metrics, service: str, method: str, kind: str) -> None:
        labels = service, method, kind
        self.service, self.method = service, method
        self.started, self.in_flight = metrics.calls_started.labels(*labels), metrics.calls_in_flight.labels(method)
        self.seconds = metrics.call_seconds.labels(*labels)
        self.handled = partial(metrics.calls_handled.labels, *labels)


def _log_call(call: Call, service: str, code: str, seconds: float) -> None:
    fields: dict[str, object] = {"service": service, "method": call.method, "code": code}
    fields |= {"caller": call.caller.name, "peer": call.caller.address}
    if call.refused:
        fields |= {"reason": call.reason, "refused": call.refused}
    if call.model:
        fields |= {"model": call.model, "version": call.version, "images": call.images}
    milliseconds = {"total_ms": seconds}
    if call.images:
        milliseconds |= {
            "queue_ms": call.queue_seconds,
            "backend_ms": call.backend_seconds,
            "encode_ms": call.encode_seconds,
        }
    fields |= {name: round(value * 1000, 1) for name, value in milliseconds.items()}
    # Health checks come every few seconds; a line for each would bury the rest.
    level = logging.INFO if service.startswith("gantry.") else logging.DEBUG
    _log.log(level, "%s %s", call.method, code, extra={"fields": fields})


def _type_of(handler: Handler) -> str:
    """Name the kind of a method as the metrics do, after other languages' gRPC middleware."""
    if handler.request_streaming:
        return "bidi_stream" if handler.response_streaming else "client_stream"
    return "server_stream" if handler.response_streaming else "unary"


def _code_of(error: BaseException, context: Any) -> str:
    """Name the status of a call that ended with an exception: a refusal stays one, whatever ends the call then."""
    if refused := context.code():
        return _code_name(refused)
    # What gRPC raises by itself is that nobody is there to be answered.
    is_fault = isinstance(error, Exception) and not isinstance(error, grpc.aio.InternalError)
    return "UNKNOWN" if is_fault else "CANCELLED"


def _code_name(code: grpc.StatusCode | int) -> str:
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((known.name for known in grpc.StatusCode if known.value[0] == code), "UNKNOWN")
