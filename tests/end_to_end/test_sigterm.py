"""`gantry serve` as Kubernetes stops it: SIGTERM under load, and what callers, the exit code and the log say."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import grpc
import pytest

from gantry.v1 import generation_pb2, generation_pb2_grpc
from gantry.v1.generation_pb2 import IMAGE_FORMAT_RAW
from tests.archives import write_tiny_archive, write_tiny_translation_archive
from tests.conformance.harness import details_of
from tests.pictures import picture

pytestmark = pytest.mark.slow

OK = "OK", "", False
RETRY = "UNAVAILABLE", "SHUTTING_DOWN", True
PICTURES = 12
PATIENCE = 60.0


class Process:
    """A running `gantry serve`, and the lines of its log as they come."""

    def __init__(self, store: Path) -> None:
        command = [sys.executable, "-m", "services.cli", "serve", "--model-store", str(store), "--log-format", "json"]
        command += ["--port", "0", "--metrics-port", "0", "--execution", "float32"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"gRPC on 127\.0\.0\.1:(\d+)", line):
                self.address = f"127.0.0.1:{found[1]}"
                break
        else:
            pytest.fail("".join(self.log))
        self._reader = Thread(target=lambda: self.log.extend(self.process.stderr or ()))
        self._reader.start()

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> tuple[int, list[dict[str, object]]]:
        """Wait for its end: exit code, and all lines of its log."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code, [json.loads(line) for line in self.log]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    write_tiny_archive(tmp_path)
    write_tiny_translation_archive(tmp_path, "horse2zebra")
    process = Process(tmp_path)
    yield process
    process.process.kill()
    process.process.wait()


class Sampler(Thread):
    """A caller who samples pictures until a call is refused; notes what became of each, by its request id."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.outcomes: dict[str, tuple[str, str, bool]] = {}
        self.is_answered = Event()
        self._address = address

    def run(self) -> None:
        with grpc.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            outcome = OK
            while outcome == OK:
                request_id = f"{self.name}:{len(self.outcomes)}"
                self.outcomes[request_id] = outcome = self._sample(stub, request_id)
                self.is_answered.set()

    def _sample(self, stub: generation_pb2_grpc.GenerationServiceStub, request_id: str) -> tuple[str, str, bool]:
        request = generation_pb2.SampleRequest(model="tiny", count=3)
        call = stub.Sample.future(request, timeout=30, metadata=(("x-request-id", request_id),))
        try:
            outcome = OK if len(call.result().images) == 3 else ("OK", "images are missing", False)
        except grpc.RpcError as error:
            details = details_of(error)
            outcome = error.code().name, details["ErrorInfo"].reason, "RetryInfo" in details
        if dict(call.trailing_metadata()).get("x-request-id") != request_id:
            return outcome[0], "another request id came back", False
        return outcome


def test_sigterm_under_load_loses_no_admitted_call_and_is_told_in_the_log(process: Process) -> None:
    samplers = [Sampler(process.address, f"sampler-{number}") for number in range(3)]
    request = generation_pb2.TranslateRequest(
        model="horse2zebra", source_domain="horse", image=picture(1000, 800, "JPEG"), format=IMAGE_FORMAT_RAW
    )
    end = Event()

    def pictures() -> Iterator[generation_pb2.TranslateStreamRequest]:
        for name in range(PICTURES):
            yield generation_pb2.TranslateStreamRequest(id=str(name), translate=request)
        end.wait()

    # Without the probe a stream holds no more than 64 KiB that nobody has read.
    with grpc.insecure_channel(process.address, [("grpc.http2.bdp_probe", 0)]) as channel:
        for sampler in samplers:
            sampler.start()
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        metadata = (("x-request-id", "stream"), ("authorization", "secret"))
        stream = stub.TranslateStream(pictures(), timeout=PATIENCE, metadata=metadata)
        answers = [next(stream)]
        assert answers[0].more
        assert all(sampler.is_answered.wait(PATIENCE) for sampler in samplers)
        process.terminate()
        # The rest of the picture keeps the gateway from its end until all of them have met its refusal.
        for sampler in samplers:
            sampler.join(PATIENCE)
        with pytest.raises(grpc.RpcError) as broken:
            answers.extend(stream)
        end.set()
    code, log = process.ended()

    assert code == 0
    assert (broken.value.code().name, details_of(broken.value)["ErrorInfo"].reason) == RETRY[:2]
    assert "RetryInfo" in details_of(broken.value)
    lines = {str(line["request_id"]): line for line in log if line["logger"] == "gantry.access"}
    assert lines["stream"]["images"] == sum(not answer.more for answer in answers) > 0
    assert (lines["stream"]["code"], lines["stream"]["reason"]) == RETRY[:2]
    outcomes = {name: outcome for sampler in samplers for name, outcome in sampler.outcomes.items()}
    assert list(outcomes.values()).count(RETRY) == len(samplers)
    assert list(outcomes.values()).count(OK) == len(outcomes) - len(samplers) > 0
    # Each call has its line, and what the gateway holds to be done has reached its caller.
    told = {name: (line["code"], line.get("reason", "")) for name, line in lines.items() if name != "stream"}
    assert told == {name: outcome[:2] for name, outcome in outcomes.items()}
    assert "secret" not in "".join(process.log)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in log)


def test_a_gateway_that_still_waits_for_its_backend_stops_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.cli", "serve", "--backend", "torchserve", "--log-format", "json"]
    command += ["--torchserve-address", "127.0.0.1:1", "--torchserve-management-address", "127.0.0.1:1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert json.loads(next(process.stderr))["message"] == "starting the torchserve backend"
        process.terminate()
        messages = [json.loads(line)["message"] for line in process.stderr]
        assert process.wait(60) == 0
    assert messages == ["stopped while it started"]
