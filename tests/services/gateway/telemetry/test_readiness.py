"""Readiness: a picture that came back, each model by itself, told over gRPC health and in the metrics."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.backends.base import BackendUnavailableError, ModelKey
from services.gateway.server import Gateway
from services.gateway.telemetry.readiness import Readiness
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.fakes import DrivenBackend, settled, until
from tests.services.gateway.telemetry.watching import NOT_SERVING, SERVICE, SERVING, Watched


@pytest.fixture
def watched(backend: DrivenBackend) -> Watched:
    return Watched(backend)


async def test_a_gateway_without_models_is_never_ready() -> None:
    watched = Watched(DrivenBackend())
    await watched.readiness.probe()
    assert not watched.readiness.is_ready
    assert await watched.statuses() == {NOT_SERVING}


async def test_probing_goes_on_after_a_fault(watched: Watched) -> None:
    watched.backend.probe_fault = ZeroDivisionError()
    probing = asyncio.create_task(watched.readiness.probe_forever(0))
    await settled()
    watched.backend.probe_fault = None
    await until(lambda: watched.readiness.is_ready)
    probing.cancel()


async def test_a_look_does_not_wait_for_the_next_probe(watched: Watched) -> None:
    watched.backend.probe_fault = BackendUnavailableError("worker down")
    await watched.readiness.probe()
    probing = asyncio.create_task(watched.readiness.probe_forever(3600))
    watched.backend.probe_fault = None
    await settled()
    assert not watched.readiness.is_ready
    watched.readiness.look()
    await until(lambda: watched.readiness.is_ready)
    probing.cancel()


async def test_a_model_that_hangs_keeps_no_other_from_being_probed(watched: Watched) -> None:
    probed: list[ModelKey] = []

    async def probe(key: ModelKey) -> None:
        probed.append(key)
        if key.version == "1.0.0":
            await asyncio.Event().wait()

    readiness = Readiness(watched.backend, probe, watched.health, ("",), watched.metrics)
    probing = asyncio.create_task(readiness.probe_forever(0))
    await until(lambda: probed.count(ModelKey("tiny", "1.1.0")) >= 3)
    assert probed.count(ModelKey("tiny", "1.0.0")) == 1
    assert readiness.report()["models"] == {"tiny 1.0.0": "not probed yet", "tiny 1.1.0": "ok"}
    assert not readiness.is_ready
    probing.cancel()


async def test_a_model_that_comes_is_probed_at_once_and_one_that_leaves_no_more(watched: Watched) -> None:
    await watched.readiness.probe()
    probing = asyncio.create_task(watched.readiness.probe_forever(3600))
    await settled()
    watched.backend.replace(tiny_card(version="1.1.0"), tiny_card(version="2.0.0"))
    watched.readiness.look()
    await until(lambda: watched.is_up("2.0.0") == 1)
    assert watched.is_up("1.0.0") is None
    assert watched.readiness.is_ready
    probing.cancel()


async def test_health_speaks_for_each_model_by_name(watched: Watched) -> None:
    async def probe(key: ModelKey) -> None:
        if key.name == "other":
            raise BackendUnavailableError("worker down")

    watched.backend.replace(tiny_card(), tiny_card(version="1.1.0"), tiny_card("other"))
    readiness = Readiness(watched.backend, probe, watched.health, ("", SERVICE), watched.metrics)
    await readiness.probe()
    assert await watched.statuses("tiny", "tiny/1.0.0", "tiny/1.1.0") == {SERVING}
    assert await watched.statuses("other", "other/1.0.0", "") == {NOT_SERVING}
    readiness.drain()
    assert await watched.statuses("tiny", "tiny/1.0.0") == {NOT_SERVING}


async def test_a_model_with_the_name_of_a_service_does_not_speak_for_it(watched: Watched) -> None:
    watched.health.set("liveness", SERVING)
    watched.backend.replace(tiny_card("liveness"), tiny_card(SERVICE))
    watched.backend.probe_fault = BackendUnavailableError("worker down")
    await watched.readiness.probe()
    assert await watched.statuses("liveness") == {SERVING}
    assert await watched.statuses("liveness/1.0.0") == {NOT_SERVING}


async def test_health_follows_models_that_come_and_leave(gateway: Gateway, backend: DrivenBackend) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="tiny/1.0.0"))
        assert (await watch.read()).status == SERVING
        backend.replace(tiny_card(version="1.1.0"))
        backend.on_change()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await health.Check(health_pb2.HealthCheckRequest(service="tiny/1.0.0"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        assert (await health.Check(health_pb2.HealthCheckRequest(service="tiny"))).status == SERVING
        watch.cancel()


async def test_readiness_waits_for_the_models_that_are_required_and_no_others(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    backend, probed = DrivenBackend(tiny_card(), tiny_card("other")), set[str]()

    async def probe(key: ModelKey) -> None:
        if key.name not in probed:
            raise BackendUnavailableError("worker down")

    readiness = Readiness(backend, probe, watched.health, ("",), watched.metrics, ["tiny", "late"])
    await readiness.probe()
    await readiness.probe()
    assert (readiness.is_ready, readiness.report()["missing"]) == (False, ["late"])
    told = "required_models names late; the models that there are: other, tiny"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [told]
    backend.replace(tiny_card(), tiny_card("other"), tiny_card("late"))
    await readiness.probe()
    assert not readiness.is_ready
    probed |= {"tiny", "late"}
    await readiness.probe()
    assert readiness.is_ready
    assert readiness.report()["models"]["other 1.0.0"] == "worker down"


async def test_a_model_that_left_is_neither_down_nor_up(watched: Watched) -> None:
    watched.backend.probe_fault = BackendUnavailableError("worker down")
    await watched.readiness.probe()
    watched.backend.probe_fault = None
    watched.backend.replace(tiny_card(version="1.1.0"), tiny_card(version="2.0.0"))
    await watched.readiness.probe()
    assert watched.readiness.report()["models"] == {"tiny 1.1.0": "ok", "tiny 2.0.0": "ok"}
    assert [watched.is_up(version) for version in ("1.0.0", "1.1.0", "2.0.0")] == [None, 1, 1]


def test_a_card_may_hold_any_version_in_its_key() -> None:
    backend = DrivenBackend(tiny_card(version="1.0.0-rc.1+build.5"))
    assert list(Watched(backend).readiness.report()["models"]) == ["tiny 1.0.0-rc.1+build.5"]


async def test_a_watcher_that_takes_nothing_keeps_nobody_from_what_is_new(watched: Watched) -> None:
    """As a stranger whose HTTP/2 window is shut: its stream stands where the first status is sent."""
    await watched.readiness.probe()
    stuck = aiter(watched.health.Watch(health_pb2.HealthCheckRequest(), None))
    other = aiter(watched.health.Watch(health_pb2.HealthCheckRequest(), None))
    assert (await anext(stuck)).status == (await anext(other)).status == SERVING
    watched.readiness.drain()
    assert (await anext(other)).status == NOT_SERVING
