"""Whether the gateway can do its work: a tiny real inference per model, told over gRPC health and in the metrics.

A ping of TorchServe says nothing about its models, so readiness is a picture that came back. Each model is probed by a
task of its own: one that hangs keeps no other from being probed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.backends.base import Backend, BackendError, ModelKey
from services.gateway.telemetry.metrics import Metrics

# A name of the gRPC health service: SERVING for as long as the gateway answers at all.
LIVENESS = "liveness"
_OK, _NOT_PROBED = "ok", "not probed yet"
_Status = health_pb2.HealthCheckResponse

_log = logging.getLogger(__name__)


class Health(health_pb2_grpc.HealthServicer):
    """The gRPC health service, for names that come and go.

    grpc_health's own holds a lock while it writes: a caller that reads nothing would keep it from learning anything
    new, and the gateway from stopping.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, Any] = {}
        self._change = asyncio.Event()

    def set(self, name: str, status: Any) -> None:
        """Say what the status of a name is from now on.

        Args:
            name: A service's name, or a model's.
            status: A `HealthCheckResponse.ServingStatus`; None where there is no such name any more.
        """
        if status == self._statuses.get(name):
            return  # Nobody who watches has anything to learn.
        if status is None:
            del self._statuses[name]
        else:
            self._statuses[name] = status
        self._change.set()
        self._change = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802 (gRPC's name)
        """Answer grpc.health.v1.Health.Check."""
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return _Status(status=self._statuses[request.service])

    async def Watch(  # noqa: N802 (gRPC's name)
        self,
        request: health_pb2.HealthCheckRequest,
        context: Any,  # noqa: ARG002 (ends with the call)
    ) -> AsyncIterator[Any]:
        """Answer grpc.health.v1.Health.Watch."""
        told = None
        while True:
            change, status = self._change, self._statuses.get(request.service, _Status.SERVICE_UNKNOWN)
            if status == told:
                await change.wait()
            else:
                told = status
                yield _Status(status=status)


class Readiness:
    """Probes every model and tells the health service, the metrics and /readyz what came of it."""

    def __init__(
        self,
        backend: Backend,
        probe: Callable[[ModelKey], Awaitable[None]],
        health: Health,
        services: Collection[str],
        metrics: Metrics,
        required: Collection[str] = (),
    ) -> None:
        """Begin as not ready.

        Args:
            backend: A started backend.
            probe: Makes one picture with a model; raises BackendError where there is none.
            health: The gRPC health service.
            services: Full names of the services it speaks for, "" for the whole server.
            metrics: Where `gantry_backend_up` stands.
            required: Names of the models that readiness waits for, whatever becomes of others; empty for all.
        """
        self._backend, self._probe_model, self._health, self._metrics = backend, probe, health, metrics
        self._services, self._required = services, required
        self._results = dict.fromkeys(backend.models, _NOT_PROBED)
        # Those that the log has told of.
        self._told_missing: list[str] = []
        self._names: set[str] = set()
        self._is_draining = False
        self._has_news = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether there is a model, each that counts brought a picture back, and the gateway is not stopping."""
        counting = [key for key in self._backend.models if not self._required or key.name in self._required]
        results = {self._results[key] for key in counting if key in self._results}
        return results == {_OK} and not self._missing and not self._is_draining

    @property
    def _missing(self) -> list[str]:
        return sorted(set(self._required) - {key.name for key in self._backend.models})

    def report(self) -> dict[str, Any]:
        """Say what /readyz shows: what each model's last probe said, which required ones and archives are missing."""
        return {
            "ready": self.is_ready,
            "draining": self._is_draining,
            "models": {" ".join(key): self._results.get(key, _NOT_PROBED) for key in self._backend.models},
            "missing": self._missing,
            "refused": {refused.archive: refused.reason for refused in self._backend.refused},
        }

    async def probe(self) -> None:
        """Make one picture with every model, side by side."""
        self._forget_gone()
        await asyncio.gather(*map(self._probe, self._backend.models))
        self._tell()

    def look(self) -> None:
        """Have `probe_forever` probe now: something has become of the models."""
        self._has_news.set()

    async def probe_forever(self, seconds: float) -> None:
        """Probe again and again; a model that has not been tried is probed at once.

        Args:
            seconds: Pause of each model between two probes, unless `look` ends it.
        """
        probing: dict[ModelKey, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        try:
            while True:
                for key in probing.keys() - self._backend.models.keys():
                    probing.pop(key)[1].cancel()
                self._forget_gone()
                for key in self._backend.models.keys() - probing.keys():
                    look = asyncio.Event()
                    probing[key] = look, asyncio.create_task(self._keep_probing(key, look, seconds))
                await self._has_news.wait()
                self._has_news.clear()
                for look, _ in probing.values():
                    look.set()
        finally:
            for _, task in probing.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in probing.values()), return_exceptions=True)

    def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        self._is_draining = True
        self._tell()

    async def _keep_probing(self, key: ModelKey, look: asyncio.Event, seconds: float) -> None:
        if self._results.get(key, _NOT_PROBED) == _NOT_PROBED:
            look.set()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(look.wait(), seconds)
            look.clear()
            await self._probe(key)
            self._tell()

    async def _probe(self, key: ModelKey) -> None:
        result = _OK
        try:
            await self._probe_model(key)
        except BackendError as error:
            result = str(error)
            _log.warning("model %s %s: probe failed: %s", *key, error)
        except Exception:
            # Probing must outlive anything a backend does.
            result = "the probe failed"
            _log.exception("model %s %s: unexpected error of the backend", *key)
        # It may have left meanwhile.
        if key in self._backend.models:
            self._results[key] = result
            self._metrics.backend_up.labels(self._backend.name, *key).set(result == _OK)

    def _forget_gone(self) -> None:
        for key in self._results.keys() - self._backend.models.keys():
            if self._results.pop(key) != _NOT_PROBED:
                self._metrics.backend_up.remove(self._backend.name, *key)
        gone = self._names - dict(self._statuses()).keys()
        self._names -= gone
        for name in gone:
            self._health.set(name, None)

    def _tell(self) -> None:
        self._log_missing()
        for service in self._services:
            self._health.set(service, _status(self.is_ready))
        for name, is_serving in dict(self._statuses()).items():
            self._names.add(name)
            self._health.set(name, _status(is_serving))

    def _log_missing(self) -> None:
        if (missing := self._missing) == self._told_missing:
            return
        self._told_missing = missing
        if missing:
            there = ", ".join(sorted({key.name for key in self._backend.models})) or "none"
            _log.error("required_models names %s; the models that there are: %s", ", ".join(missing), there)

    def _statuses(self) -> Iterator[tuple[str, bool]]:
        """Whether each model serves, by "name/version", and by name where all versions do.

        A model that has the name of a service does not speak for it.
        """
        by_name: dict[str, list[bool]] = {}
        for key in self._backend.models:
            is_serving = self._results.get(key) == _OK and not self._is_draining
            by_name.setdefault(key.name, []).append(is_serving)
            yield f"{key.name}/{key.version}", is_serving
        for name, serving in by_name.items():
            if name != LIVENESS and name not in self._services:
                yield name, all(serving)


def _status(is_serving: bool) -> Any:
    return _Status.SERVING if is_serving else _Status.NOT_SERVING
