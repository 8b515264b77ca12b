"""A TorchServe of the gateway's own is killed while callers use it: they are told to come back, and it does."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gantry.v1 import generation_pb2
from services.backends.torchserve.backend import TorchServeBackend
from services.gateway.server import make_backend
from services.gateway.settings import Settings
from tests.archives import write_tiny_archive
from tests.conformance.harness import EventLoop, Served, details_of, serving
from tests.waiting import still_runs

CALLERS = 8
REQUEST = generation_pb2.SampleRequest(model="tiny", seed=7, count=3)
# The longest that any call may take, and the service to come back: far longer than either does, for a busy machine.
PATIENCE_SECONDS = 240.0
STATUS = health_pb2.HealthCheckResponse


def is_up(served: Served) -> float | None:
    labels = {"backend": "torchserve", "model": "tiny", "version": "1.0.0"}
    return served.gateway.metrics.registry.get_sample_value("gantry_backend_up", labels)


def family_of(served: Served) -> list[psutil.Process]:
    """The processes of the gateway's TorchServe: its frontend, and a worker."""
    assert isinstance(served.backend, TorchServeBackend)
    assert served.backend._process
    frontend = psutil.Process(served.backend._process.pid)
    return [frontend, *frontend.children(recursive=True)]


@pytest.mark.torchserve
def test_a_killed_torchserve_comes_back_and_no_call_hangs(loop: EventLoop, tmp_path: Path) -> None:
    write_tiny_archive(tmp_path)
    settings = Settings(
        backend="torchserve",
        model_store=tmp_path,
        execution="float32",
        port=0,
        metrics_port=0,
        # Health must not wait for the next probe.
        probe_seconds=3600,
    )
    with serving(loop, settings, make_backend(settings)) as served:
        killed = family_of(served)
        answers, refusals = kill_under_load(served, killed[0])
        reborn = family_of(served)
        # A worker does not notice that its frontend is gone.
        assert not any(still_runs(member) for member in killed)
        assert len(killed) == len(reborn) == 2

    assert len({answer.SerializeToString() for answer in answers}) == 1
    assert {error.code() for error in refusals} == {grpc.StatusCode.UNAVAILABLE}
    assert {details_of(error)["ErrorInfo"].reason for error in refusals} == {"BACKEND_UNAVAILABLE"}
    assert all("RetryInfo" in details_of(error) for error in refusals)
    assert not any(still_runs(member) for member in reborn)


def kill_under_load(
    served: Served, frontend: psutil.Process
) -> tuple[list[generation_pb2.SampleResponse], list[grpc.RpcError]]:
    """Kill a TorchServe while many call, wait until the gateway serves again, and return what all calls came to."""
    answers = [served.generation.Sample(REQUEST, timeout=PATIENCE_SECONDS)]
    refusals: list[grpc.RpcError] = []
    is_over = Event()

    def call_on() -> None:
        while not is_over.is_set():
            try:
                answers.append(served.generation.Sample(REQUEST, timeout=PATIENCE_SECONDS))
            except grpc.RpcError as error:
                refusals.append(error)
                is_over.wait(0.05)

    check = health_pb2.HealthCheckRequest()
    watching = health_pb2_grpc.HealthStub(served.channel).Watch(check, timeout=PATIENCE_SECONDS)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(CALLERS) as callers:
        try:
            assert next(watching).status == STATUS.SERVING
            calling = [callers.submit(call_on) for _ in range(CALLERS)]
            frontend.kill()
            assert next(watching).status == STATUS.NOT_SERVING
            assert is_up(served) == 0
            assert next(watching).status == STATUS.SERVING
            assert is_up(served) == 1
        finally:
            is_over.set()
            watching.cancel()
    for caller in calling:
        caller.result()
    answers.append(served.generation.Sample(REQUEST, timeout=PATIENCE_SECONDS))
    return answers, refusals
