"""The HTTP port: metrics and probes."""

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from gantry.v1 import models_pb2
from services.backends.base import BackendUnavailableError
from services.gateway.telemetry.health import ProbeServer
from tests.services.gateway.fakes import DrivenBackend
from tests.services.gateway.telemetry.watching import NOT_SERVING, SERVING, Watched


@pytest.fixture
def watched(backend: DrivenBackend) -> Watched:
    return Watched(backend)


@pytest.fixture
def probes(watched: Watched) -> Iterator[ProbeServer]:
    server = ProbeServer("127.0.0.1", 0, watched.metrics, watched.readiness)
    server.start()
    yield server
    server.stop()


async def get(probes: ProbeServer, path: str) -> tuple[int, str]:
    def fetch() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{probes.port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


async def test_before_the_first_probe_nothing_is_ready(watched: Watched, probes: ProbeServer) -> None:
    status, body = await get(probes, "/readyz")
    assert status == 503
    assert json.loads(body)["models"] == {"tiny 1.0.0": "not probed yet", "tiny 1.1.0": "not probed yet"}


async def test_after_a_picture_came_back_all_is_ready(watched: Watched, probes: ProbeServer) -> None:
    await watched.readiness.probe()
    status, body = await get(probes, "/readyz")
    assert status == 200
    assert json.loads(body) == {
        "ready": True,
        "draining": False,
        "models": {"tiny 1.0.0": "ok", "tiny 1.1.0": "ok"},
        "missing": [],
        "refused": {},
    }
    assert await watched.statuses() == {SERVING}
    assert watched.is_up("1.0.0") == watched.is_up("1.1.0") == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [(BackendUnavailableError("worker down"), "worker down"), (KeyError("secret"), "the probe failed")],
)
async def test_a_failing_probe_is_not_ready_and_a_good_one_heals(
    watched: Watched, probes: ProbeServer, fault: Exception, told: str
) -> None:
    await watched.readiness.probe()
    watched.backend.probe_fault = fault
    await watched.readiness.probe()
    status, body = await get(probes, "/readyz")
    assert status == 503
    assert json.loads(body)["models"]["tiny 1.0.0"] == told
    assert await watched.statuses() == {NOT_SERVING}
    assert watched.is_up("1.0.0") == 0
    watched.backend.probe_fault = None
    await watched.readiness.probe()
    assert (await get(probes, "/readyz"))[0] == 200
    assert await watched.statuses() == {SERVING}


async def test_a_refused_archive_is_shown_and_the_rest_is_ready(watched: Watched, probes: ProbeServer) -> None:
    watched.backend.refused_archives = [models_pb2.RefusedArchive(archive="bad.mar", reason="card.json: missing")]
    await watched.readiness.probe()
    status, body = await get(probes, "/readyz")
    assert status == 200
    assert json.loads(body)["refused"] == {"bad.mar": "card.json: missing"}


async def test_draining_is_not_ready_but_alive(watched: Watched, probes: ProbeServer) -> None:
    await watched.readiness.probe()
    watched.readiness.drain()
    assert (await get(probes, "/readyz"))[0] == 503
    assert (await get(probes, "/healthz"))[0] == 200
    assert await watched.statuses() == {NOT_SERVING}


async def test_http_paths(probes: ProbeServer) -> None:
    status, body = await get(probes, "/metrics")
    assert status == 200
    assert "# TYPE gantry_images_total counter" in body
    assert (await get(probes, "/healthz"))[0] == 200
    status, body = await get(probes, "/")
    assert status == 404
    assert json.loads(body)["paths"] == ["/metrics", "/healthz", "/readyz"]


async def test_metrics_can_be_kept_to_oneself(watched: Watched) -> None:
    probes = ProbeServer("127.0.0.1", 0, None, watched.readiness)
    probes.start()
    try:
        status, body = await get(probes, "/metrics")
        assert status == 404
        assert json.loads(body)["paths"] == ["/healthz", "/readyz"]
        assert (await get(probes, "/healthz"))[0] == 200
    finally:
        probes.stop()


@pytest.mark.parametrize("host", ["::1", "::", "[::1]"])
async def test_probes_answer_over_ipv6(watched: Watched, host: str) -> None:
    try:
        # "::" can be had where its loopback cannot.
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    probes = ProbeServer(host, 0, watched.metrics, watched.readiness)
    probes.start()
    try:
        with urllib.request.urlopen(f"http://[::1]:{probes.port}/healthz") as response:
            assert response.status == 200
        if host == "::":
            assert (await get(probes, "/healthz"))[0] == 200
    finally:
        probes.stop()
