"""What a real gateway exposes after a few calls, and what a real batch job pushes: the chart's rules live on it."""

import tempfile
import time
from collections import defaultdict
from functools import cache
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.batch.job import Tally
from services.batch.reporting import JobMetrics
from services.gateway.server import make_backend
from services.gateway.settings import Settings
from tests.archives import write_tiny_archive
from tests.conformance.harness import EventLoop, serving
from tests.services.gateway.certificates import Authority

_PATIENCE_SECONDS = 30.0


@cache
def gateway_exposition() -> str:
    """/metrics of a gateway with TLS, after calls that went well and one that was refused."""
    with tempfile.TemporaryDirectory() as folder:
        return _scrape(Path(folder))


def _scrape(folder: Path) -> str:
    write_tiny_archive(folder)
    authority = Authority()
    certificate, key = authority.sign("localhost", "localhost").write(folder / "tls")
    settings = Settings(
        host="127.0.0.1", port=0, metrics_port=0, model_store=folder, tls_certificate=certificate, tls_key=key
    )
    loop = EventLoop()
    try:
        with serving(loop, settings, make_backend(settings)) as served:
            credentials = grpc.ssl_channel_credentials(authority.certificate)
            with grpc.secure_channel(f"localhost:{served.gateway.port}", credentials) as channel:
                stub = generation_pb2_grpc.GenerationServiceStub(channel)
                for _ in range(3):
                    stub.Sample(generation_pb2.SampleRequest(model="tiny"))
                    list(
                        stub.SampleStream(
                            generation_pb2.SampleStreamRequest(sample=generation_pb2.SampleRequest(model="tiny"))
                        )
                    )
                with pytest.raises(grpc.RpcError):
                    stub.Sample(generation_pb2.SampleRequest(model="unknown"))
            # A call that is refused is counted just after its caller was told.
            return _metrics_with("NOT_FOUND", f"http://127.0.0.1:{served.gateway.metrics_port}/metrics")
    finally:
        loop.close()


def _metrics_with(code: str, url: str) -> str:
    """What the URL shows once it shows a call that ended with the code."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        with urlopen(url, timeout=_PATIENCE_SECONDS) as response:
            text: str = response.read().decode()
        if f'grpc_code="{code}"' in text:
            return text
        time.sleep(0.01)
    raise AssertionError(f"no call that ended with {code} was counted within {_PATIENCE_SECONDS:g} s:\n{text}")


@cache
def batch_exposition() -> str:
    """What a batch job that ran to the end of its items pushes."""
    metrics = JobMetrics()
    metrics.update(Tally(done=3, failed=1), 2.0)
    metrics.succeeded()
    return generate_latest(metrics.registry).decode()


def labels_of(exposition: str) -> dict[str, list[set[str]]]:
    """Names of the labels of every series, by the series' name."""
    found: dict[str, list[set[str]]] = defaultdict(list)
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found[sample.name].append(set(sample.labels))
    return dict(found)
