"""What readiness speaks through, for tests to look at."""

from grpc_health.v1 import health_pb2

from services.gateway.telemetry.metrics import Metrics
from services.gateway.telemetry.readiness import Health, Readiness
from tests.services.gateway.fakes import DrivenBackend

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE = "gantry.v1.GenerationService"


class Watched:
    """Readiness with all that it speaks through."""

    def __init__(self, backend: DrivenBackend, *required: str) -> None:
        self.backend, self.metrics, self.health = backend, Metrics(), Health()
        self.readiness = Readiness(backend, backend.probe, self.health, ("", SERVICE), self.metrics, required)

    async def statuses(self, *services: str) -> set[int]:
        requests = (health_pb2.HealthCheckRequest(service=service) for service in services or ("", SERVICE))
        return {(await self.health.Check(request, None)).status for request in requests}

    def is_up(self, version: str) -> float | None:
        labels = {"backend": "driven", "model": "tiny", "version": version}
        return self.metrics.registry.get_sample_value("gantry_backend_up", labels)
