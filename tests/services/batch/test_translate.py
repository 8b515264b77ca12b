"""`gantry batch translate`, `status` and `retry` against real gateways, from what is typed to the bytes of outputs."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image
from typer.testing import CliRunner

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.batch.calling import JobCalls
from services.batch.inputs import open_input
from services.batch.manifest import Record
from services.batch.plan import make_plan
from services.batch.shards import Shard
from services.batch.storage import open_filesystem, open_store
from services.batch.translate import SettledTranslation, translating
from services.batch.window import Window
from services.cli import app
from services.client import AsyncClient, TranslateOptions
from services.client.local_gateway import free_port
from services.gateway.errors import QueueFullError, status_of
from services.gateway.server import make_backend
from tests.archives import write_tiny_translation_archive
from tests.conformance.harness import EventLoop, embedded_settings, serving
from tests.services.batch.engine import PROVENANCE, lines_of, run_job, wait_for_lines
from tests.services.batch.gate import Gate, gated
from tests.services.client.refusing import listening
from tests.waiting import wait_until

MODEL = "tiny-translation"
REPOSITORY = Path(__file__).parents[3]


def picture(seed: int, width: int = 24, height: int = 20) -> bytes:
    """A picture of its own for every seed."""
    file = BytesIO()
    Image.frombytes("RGB", (width, height), hashlib.shake_128(str(seed).encode()).digest(3 * width * height)).save(
        file, "PNG"
    )
    return file.getvalue()


def write_pictures(folder: Path, number: int) -> None:
    for index in range(number):
        path = folder / f"sub{index % 3}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(index, 16 + index % 9))


def batch(*arguments: object, code: int = 0, environment: dict[str, str] | None = None) -> str:
    result = CliRunner(env=environment).invoke(app, ["batch", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def outputs_of(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file() and ".gantry" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def online(address: str, inputs: dict[str, bytes], model: str = MODEL, **fields: Any) -> dict[str, bytes]:
    """What Translate, called once for each picture, gives for inputs."""
    with grpc.insecure_channel(address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        requests = {
            name: generation_pb2.TranslateRequest(model=model, image=data, **fields) for name, data in inputs.items()
        }
        return {name: stub.Translate(request).image.data for name, request in requests.items()}


@pytest.mark.parametrize(
    ("arguments", "fields", "ending"),
    [
        (["--to", "zebra"], {"target_domain": "zebra"}, ".png"),
        (
            ["--direction", "b_to_a", "--format", "jpeg", "--quality", "70"],
            {"direction": 2, "format": 2, "quality": 70},
            ".jpeg",
        ),
        (
            ["--to", "horse", "--max-side", "16", "--format", "webp"],
            {"target_domain": "horse", "max_side": 16, "format": 3},
            ".webp",
        ),
    ],
)
def test_outputs_are_those_of_translate_online(
    address: str, tmp_path: Path, arguments: list[str], fields: dict[str, Any], ending: str
) -> None:
    write_pictures(tmp_path / "in", 20)
    batch("translate", MODEL, tmp_path / "in", "--out", tmp_path / "out", "--address", address, *arguments)
    inputs = {str(Path(name).with_suffix(ending)): data for name, data in outputs_of(tmp_path / "in").items()}
    assert outputs_of(tmp_path / "out") == online(address, inputs, **fields)


def test_a_record_tells_all_of_its_item(address: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    batch("translate", MODEL, tmp_path / "in", "--out", tmp_path / "out", "--address", address, "--to", "zebra")
    staged, done = lines_of(tmp_path / "out")
    assert (staged.status, done.status) == ("staged", "done")
    assert (done.input, done.output) == (str(tmp_path / "in/sub0/0.png"), "sub0/0.png")
    assert done.input_digest == hashlib.sha256((tmp_path / "in/sub0/0.png").read_bytes()).hexdigest()
    assert done.output_digest == hashlib.sha256((tmp_path / "out/sub0/0.png").read_bytes()).hexdigest()
    assert (done.model, done.version, len(done.digest)) == (MODEL, "1.0.0", 64)
    assert done.milliseconds is not None
    assert done.milliseconds > 0


def test_bad_items_fail_alone_and_can_be_retried(address: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 6)
    (tmp_path / "in/bad.jpg").write_bytes(b"no picture")
    (tmp_path / "in/large.png").write_bytes(picture_of_size(3000))
    common = "--out", tmp_path / "out", "--address", address
    for _ in range(2):
        batch("translate", MODEL, tmp_path / "in", *common, "--to", "zebra", code=3)
    told = json.loads(batch("status", tmp_path / "out", "--json"))
    assert (told["done"], told["failed"]) == (6, 2)
    assert told["reasons"] == {"IMAGE_TOO_LARGE": 1, "INVALID_REQUEST": 1}
    assert "no job ran" in batch("status", tmp_path / "none", code=1)

    (tmp_path / "in/bad.jpg").write_bytes(picture(100))
    batch("retry", tmp_path / "out", "--address", address, code=3)
    (tmp_path / "in/large.png").unlink()
    (tmp_path / "in/large.png").write_bytes(picture(101))
    batch("retry", tmp_path / "out", "--address", address)
    assert len(outputs_of(tmp_path / "out")) == 8
    batch("translate", MODEL, tmp_path / "in", *common, "--to", "zebra")
    assert (
        Counter(record.key for record in lines_of(tmp_path / "out") if record.status == "done").most_common(1)[0][1]
        == 1
    )


def picture_of_size(side: int) -> bytes:
    file = BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def test_shards_together_make_everything(address: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 30)
    common = "translate", MODEL, tmp_path / "in", "--out", tmp_path / "out", "--address", address, "--to", "zebra"
    batch(*common, "--shard", "0/3")
    told = json.loads(batch("status", tmp_path / "out", "--json"))
    assert (told["shards"], told["missing"]) == (3, [1, 2])
    batch(*common, environment={"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "3"})
    batch(*common, "--shard", "2/3")
    assert json.loads(batch("status", tmp_path / "out", "--json"))["done"] == 30
    batch(*common)  # Another number of shards finds everything finished.
    assert lines_of(tmp_path / "out") == []


def test_a_tar_to_an_object_store(address: str, tmp_path: Path, bucket: str) -> None:
    write_pictures(tmp_path / "in", 9)
    with tarfile.open(tmp_path / "in.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "in", ".")
    common = "translate", MODEL, tmp_path / "in.tar.gz", "--out", f"{bucket}/out", "--address", address, "--to", "zebra"
    batch(*common)
    batch(*common)
    outputs = pictures_below(*open_filesystem(f"{bucket}/out"))
    assert outputs == online(address, outputs_of(tmp_path / "in"), target_domain="zebra")
    told = json.loads(batch("status", f"{bucket}/out", "--json"))
    assert (told["done"], told["failed"], told["under_way"]) == (9, 0, 0)


def test_the_manifest_may_be_elsewhere(address: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    common = "--manifest", tmp_path / "job", "--address", address
    batch("translate", MODEL, tmp_path / "in", "--out", tmp_path / "out", "--to", "zebra", *common)
    assert len(lines_of(tmp_path / "job")) == 6
    assert json.loads(batch("status", tmp_path / "job", "--json"))["done"] == 3


def test_a_model_with_one_way_needs_no_direction(address: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    batch("translate", "tiny-one-way", tmp_path / "in", "--out", tmp_path / "out", "--address", address)
    sent = outputs_of(tmp_path / "in")
    assert outputs_of(tmp_path / "out") == online(address, sent, model="tiny-one-way", target_domain="photo")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none", "IN", "--to", "zebra"], "model 'none'"),
        (["tiny", "IN", "--to", "zebra"], "does not translate pictures"),
        ([MODEL, "IN", "--to", "cow"], "--to cow: model tiny-translation translates horse ↔ zebra"),
        ([MODEL, "IN"], "give --to horse or zebra, or --direction"),
        (["tiny-one-way", "IN", "--to", "sketch"], "--to sketch: model tiny-one-way translates sketch → photo"),
        (["tiny-one-way", "IN", "--direction", "b_to_a"], "--direction b_to_a: model tiny-one-way translates sketch"),
        ([MODEL, "IN", "--to", "zebra", "--direction", "b_to_a"], "such that they agree"),
        ([MODEL, "IN/none.jpg", "--to", "zebra"], "no such file"),
        ([MODEL, "--to", "zebra"], "at least one input"),
        ([MODEL, "IN", "--to", "zebra", "--shard", "2/2"], "must be i/n"),
        ([MODEL, "IN", "--to", "zebra", "--push-label", "x"], "NAME=VALUE"),
        ([MODEL, "nonsense://x/y", "--to", "zebra"], "nonsense"),
    ],
)
def test_a_job_at_fault_makes_nothing(address: str, tmp_path: Path, arguments: list[str], told: str) -> None:
    write_pictures(tmp_path / "in", 2)
    given = [argument.replace("IN", str(tmp_path / "in")) for argument in arguments]
    output = batch("translate", *given, "--out", tmp_path / "out", "--address", address, code=1)
    assert told in output
    assert outputs_of(tmp_path / "out") == {}


def test_a_gateway_that_is_not_there_is_the_job_s_fault(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    arguments = "translate", MODEL, tmp_path / "in", "--out", tmp_path / "out", "--to", "zebra"
    told = batch(*arguments, "--address", "127.0.0.1:9", "--patience", "0", code=1)
    assert "has not answered" in told


class FullServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Has no room for each picture the first two times that it comes."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()

    def TranslateStream(  # noqa: N802
        self, request_iterator: Iterator[generation_pb2.TranslateStreamRequest], context: Any
    ) -> Iterator[generation_pb2.TranslateStreamResponse]:
        for message in request_iterator:
            data = message.translate.image
            self.seen[data] += 1
            answer = generation_pb2.TranslateStreamResponse(id=message.id)
            if self.seen[data] <= 2:
                status = status_of(QueueFullError("full", 0.01))
                answer.error.CopyFrom(
                    generation_pb2.ItemError(code=status.code, message=status.message, details=status.details)
                )
            else:
                answer.result.image.CopyFrom(
                    generation_pb2.EncodedImage(data=data + b" translated", width=1, height=1, channels=3, format=1)
                )
                answer.result.direction, answer.result.digest = generation_pb2.DIRECTION_A_TO_B, "d" * 64
            yield answer


async def test_a_gateway_without_room_fails_no_item(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(40):
        (tmp_path / f"in/{index}.png").write_bytes(b"%d" % index)
    inputs = [open_input(str(tmp_path / "in"))]
    window, servicer = Window(8), FullServicer()
    caller = JobCalls(window)
    settled = SettledTranslation(PROVENANCE, TranslateOptions(direction="a_to_b"))
    with listening(servicer) as address:
        async with AsyncClient(address) as client, translating(client, inputs, settled, caller, 8) as make:
            plan = make_plan(inputs, str(tmp_path / "out"), Shard(), "png")
            job, ending = await run_job(tmp_path / "out", list(plan), make, width=16)
    assert (ending, job.tally.done, job.tally.failed) == ("finished", 40, 0)
    assert set(servicer.seen.values()) == {3}
    assert outputs_of(tmp_path / "out") == {f"{index}.png": b"%d translated" % index for index in range(40)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_tiny_translation_archive(folder)
    return folder


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    with closing(EventLoop()) as loop:
        yield loop


def started(*arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "services.cli", "batch", "translate", MODEL, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_a_gateway_that_is_replaced_fails_no_item(loop: EventLoop, store: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 150)
    port = free_port()
    settings = embedded_settings(store, port=port, drain_seconds=0)
    arguments = tmp_path / "in", "--out", tmp_path / "out", "--to", "zebra", "--address", f"127.0.0.1:{port}"
    backend = make_backend(settings)
    gate = Gate(loop, backend)
    with serving(loop, settings, backend):
        gate.allow(60)
        process = started(*arguments)
        wait_for_lines(tmp_path / "out", 60, process)
    with serving(loop, settings, make_backend(settings)):
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()
    finished = Counter(record.key for record in lines_of(tmp_path / "out") if record.status == "done")
    assert len(finished) == 150
    assert set(finished.values()) == {1}
    assert len(outputs_of(tmp_path / "out")) == 150


@pytest.mark.slow
def test_kills_lose_and_repeat_nothing_and_sigterm_ends_in_order(store: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 300)
    with gated(store) as gate:
        arguments = tmp_path / "in", "--out", tmp_path / "out", "--to", "zebra", "--address", gate.address
        arguments += ("--concurrency", "4")
        for lines, end in ((30, signal.SIGKILL), (120, signal.SIGTERM), (200, signal.SIGKILL)):
            gate.allow(60)
            process = started(*arguments)
            wait_for_lines(tmp_path / "out", lines, process)
            process.send_signal(end)
            if end == signal.SIGTERM:
                assert process.stderr is not None
                assert any(b"stopping: SIGTERM" in line for line in process.stderr)
                gate.allow()  # It finishes what is with the gateway.
            _, told = process.communicate()
            assert process.returncode == (143 if end == signal.SIGTERM else -end), told.decode()
        gate.allow()
        process = started(*arguments)
        _, told = process.communicate()
        assert process.returncode == 0, told.decode()
        expected = online(gate.address, outputs_of(tmp_path / "in"), target_domain="zebra")
    assert outputs_of(tmp_path / "out") == expected
    staged = Counter(record.key for record in lines_of(tmp_path / "out") if record.status == "staged")
    assert set(staged.values()) == {1}


@pytest.mark.slow
def test_a_kill_amid_puts_into_an_object_store(store: Path, tmp_path: Path, bucket: str) -> None:
    """The next run waits for the dead one's lock; what was put is not made again, and nothing is lost."""
    write_pictures(tmp_path / "in", 200)
    filesystem, root = open_filesystem(f"{bucket}/out")
    with gated(store) as gate:
        arguments = tmp_path / "in", "--out", f"{bucket}/out", "--to", "zebra", "--address", gate.address
        arguments += ("--concurrency", "8")
        gate.allow(100)
        process = started(*arguments)
        wait_until(lambda: process.poll() is not None or len(pictures_below(filesystem, root)) >= 40, "40 are put")
        process.kill()
        _, told = process.communicate()
        assert process.returncode == -signal.SIGKILL, told.decode()
        gate.allow()
        before = pictures_below(filesystem, root)
        batch("translate", MODEL, *arguments)
        after = pictures_below(filesystem, root)
        assert after == online(gate.address, outputs_of(tmp_path / "in"), target_domain="zebra")
    assert 40 <= len(before) < len(after) == 200
    records = [
        record
        for line in open_store(f"{bucket}/out").read_journal("manifest-0-of-1")
        if (record := Record.from_line(line))
    ]
    made = Counter(record.key for record in records if record.status == "staged")
    assert {made[name] for name in before} == {1}
    assert {record.key for record in records if record.status == "done"} == set(after)


def pictures_below(filesystem: Any, root: str) -> dict[str, bytes]:
    """The outputs in a prefix of an object store, by name."""
    found = [path for path in filesystem.find(root) if path.endswith(".png")]
    return {path.removeprefix(f"{root}/"): data for path, data in (filesystem.cat(found) if found else {}).items()}


@pytest.mark.slow
def test_a_second_process_on_the_same_shard_is_refused(address: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    common = "translate", MODEL, tmp_path / "in", "--out", tmp_path / "out", "--address", address, "--to", "zebra"
    with closing(open_store(str(tmp_path / "out")).open_journal("manifest-0-of-1")):
        assert "another process works on this shard" in batch(*common, code=1)
        batch(*common, "--shard", "0/2")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_killed_job_leaves_no_gateway_behind(store: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    process = started(tmp_path / "in", "--out", tmp_path / "out", "--to", "zebra", "--embedded", "--model-store", store)
    gateways: list[int] = []

    def has_begun() -> bool:
        gateways[:] = gateways_of(process.pid)
        return gateways != [] or process.poll() is not None

    wait_until(has_begun, "the job starts a gateway")
    process.kill()
    _, told = process.communicate()
    assert len(gateways) == 1, told.decode()
    wait_until(lambda: has_ended(gateways[0]), "the gateway ends")


def gateways_of(pid: int) -> list[int]:
    """The gateways among the children of a process."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in children if b"serve" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except (FileNotFoundError, ProcessLookupError):  # One has ended since it was listed.
        return []


def has_ended(pid: int) -> bool:
    """Whether a process has ended, though perhaps nobody has taken note of it yet."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
def test_a_gateway_for_the_job_alone(loop: EventLoop, store: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 4)
    command = [sys.executable, "-m", "services.cli", "batch", "translate", MODEL, str(tmp_path / "in")]
    command += ["--out", str(tmp_path / "out"), "--to", "zebra", "--embedded", "--model-store", str(store)]
    environment = os.environ | {"GANTRY_EXECUTION": "float32"}
    process = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr.decode()
    settings = embedded_settings(store)
    with serving(loop, settings, make_backend(settings)) as served:
        expected = online(f"127.0.0.1:{served.gateway.port}", outputs_of(tmp_path / "in"), target_domain="zebra")
    assert outputs_of(tmp_path / "out") == expected
