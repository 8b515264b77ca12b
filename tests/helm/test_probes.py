"""The chart's probes, asked of a real gateway as the kubelet asks them."""

import urllib.error
import urllib.request
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.backends.base import BackendUnavailableError
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from tests.helm.core import TLS, container_of
from tests.helm.rendering import render
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.fakes import DrivenBackend

_PLAIN, _TLS = container_of(render({})), container_of(render(TLS))
_ALIVE, _READY = ("startupProbe", "livenessProbe"), ("readinessProbe",)


async def _passes(gateway: Gateway, probe: dict[str, Any]) -> bool:
    if "httpGet" in probe:
        try:
            url = f"http://127.0.0.1:{gateway.metrics_port}{probe['httpGet']['path']}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        request = health_pb2.HealthCheckRequest(service=probe["grpc"].get("service", ""))
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("container", [_PLAIN, _TLS], ids=["grpc", "http"])
async def test_sound_gateway_passes_all(container: dict[str, Any]) -> None:
    settings = Settings(port=0, metrics_port=0)
    async with Gateway(settings, DrivenBackend(tiny_card(), answers_at_once=True)) as gateway:
        assert [name for name in (*_ALIVE, *_READY) if not await _passes(gateway, container[name])] == []


@pytest.mark.parametrize("container", [_PLAIN, _TLS], ids=["grpc", "http"])
async def test_broken_model_takes_the_pod_out_of_the_service_but_does_not_restart_it(container: dict[str, Any]) -> None:
    backend = DrivenBackend(tiny_card(), answers_at_once=True)
    backend.check_fault = BackendUnavailableError("it broke")
    async with Gateway(Settings(port=0, metrics_port=0), backend) as gateway:
        assert [name for name in (*_ALIVE, *_READY) if not await _passes(gateway, container[name])] == [*_READY]
