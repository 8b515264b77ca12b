"""The batch benchmark: kills at random moments, locally and with S3; speed against the plain client; memory by length.

Each picture differs from every other, so that an output which was mixed up with another one shows.
"""

import hashlib
import itertools
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import grpc
from PIL import Image
from tqdm import tqdm

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.batch.inputs import open_input
from services.batch.manifest import Record, journal_name, now
from services.batch.running import JobRun
from services.batch.shards import Shard
from services.batch.storage import open_filesystem, open_store
from services.batch.translate import Request, settle
from services.batch.translate_job import translate
from services.client import Client
from services.client.demo_pictures import demo_pictures
from services.client.local_gateway import free_port, running_gateway

# Small pictures, since what is looked at here is not the model.
KILLED_SIDE, LISTED_SIDE = 32, 16
SPEED_SIDES = (256, 64)
LISTED = (1_000, 10_000, 100_000)
# Of each list, the pictures that are not finished yet: so that the whole of a job is in memory.
LISTED_ANEW = 64
_SEED = 7
_SPEED_PICTURES = {256: 80, 64: 1000}
_COMMAND = [sys.executable, "-m", "services.cli"]
# Linux counts the memory of the process that forked as its child's; only VmHWM is of the program itself.
_TELLING_PEAK = """
import atexit, re, sys
def tell():
    status = open("/proc/self/status").read()
    print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", status)[1], file=sys.stderr)
atexit.register(tell)
from services.cli import app
app()
"""


@dataclass(frozen=True)
class Killed:
    """What became of a job that was killed again and again.

    Attributes:
        storage: Where inputs and outputs were.
        items: Pictures of the job.
        kills: How often it was killed, at random moments.
        lost: Pictures without an output, or without a line that says that it is done.
        repeated: Translations of pictures whose output was in place already.
        different: Outputs that differ from the answer of an online Translate.
        under_way: Translations beyond one a picture: the output of an earlier one was not yet in place at a kill.
        seconds: All runs together.
    """

    storage: str
    items: int
    kills: int
    lost: int
    repeated: int
    different: int
    under_way: int
    seconds: float


@dataclass(frozen=True)
class Speed:
    """A job against the plain client, on the same files.

    Attributes:
        side: Width and height of the pictures.
        pictures: Of each round.
        job: Images per second of the job, which also writes and records them; median over the rounds.
        client: Of the client's `translate_many`, which drops them.
        ratio: Median over the rounds of job to client.
    """

    side: int
    pictures: int
    job: float
    client: float
    ratio: float


@dataclass(frozen=True)
class BatchFigures:
    """All figures of batch jobs.

    Attributes:
        killed: One for each storage.
        speeds: One for each size of pictures.
        peaks: Peak resident memory of the job's process in MiB, by number of listed pictures.
    """

    killed: list[Killed]
    speeds: list[Speed]
    peaks: Mapping[int, float]


def measure_batch(store: Path, model: str, *, items: int, kills: int, rounds: int) -> BatchFigures:
    """Measure everything.

    Args:
        store: Folder with the archive of a translation model.
        model: Its name.
        items: Pictures of the jobs that are killed.
        kills: How often each is killed.
        rounds: How often speeds are measured.

    Returns:
        The figures.
    """
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="gantry-bench-batch-")))
        gateway = ["--backend=embedded", f"--model-store={store}"]
        with _measured_gateway(folder / "gateway.log", *gateway, "--execution=float32") as (address, images):
            killed = [
                _kill_locally(folder, model, address, images, items, kills),
                _kill_with_s3(model, address, images, items, kills),
            ]
            peaks = {length: _peak(folder / f"listed-{length}", model, address, length) for length in LISTED}
        with running_gateway(folder / "fast.log", *gateway) as fast:
            speeds = [_speed(folder / f"speed-{side}", model, fast.address, side, rounds) for side in SPEED_SIDES]
        return BatchFigures(killed, speeds, peaks)


class _Images:
    """The gateway's own count of the pictures that it made."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def __call__(self) -> int:
        with urllib.request.urlopen(self._url) as answer:
            counts = re.findall(r"^gantry_images_total\{[^}]*\} ([0-9.e+]+)$", answer.read().decode(), re.MULTILINE)
        return int(sum(map(float, counts)))


@contextmanager
def _measured_gateway(log: Path, *arguments: str) -> Iterator[tuple[str, _Images]]:
    port = free_port()
    with running_gateway(log, *arguments, f"--metrics-port={port}") as gateway:
        yield gateway.address, _Images(port)


def _kill_locally(folder: Path, model: str, address: str, images: _Images, items: int, kills: int) -> Killed:
    source, out = folder / "pictures", folder / "translated"
    for name, data in _pictures(items, KILLED_SIDE):
        _write(source / name, data)
    return _kill("local folders", str(source), str(out), model, address, images, kills)


def _kill_with_s3(model: str, address: str, images: _Images, items: int, kills: int) -> Killed:
    with _s3_server() as url:
        told = {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
        os.environ.update(told, AWS_ACCESS_KEY_ID="benchmark", AWS_SECRET_ACCESS_KEY="benchmark")
        filesystem, _ = open_filesystem("s3://benchmark")
        filesystem.mkdir("benchmark")
        filesystem.pipe({f"benchmark/pictures/{name}": data for name, data in _pictures(items, KILLED_SIDE)})
        urls = "s3://benchmark/pictures", "s3://benchmark/translated"
        return _kill("S3 (moto)", *urls, model, address, images, kills)


@contextmanager
def _s3_server() -> Iterator[str]:
    """Run moto's server as a process of its own."""
    port = str(free_port())
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/").close()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"moto ended with code {process.returncode}") from None
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def _kill(storage: str, source: str, out: str, model: str, address: str, images: _Images, kills: int) -> Killed:
    """Run a job, kill it when the gateway has made a random number of its pictures, and so on; then let it end."""
    filesystem, root = open_filesystem(source)
    items = len(filesystem.ls(root))
    job = [*_COMMAND, "batch", "translate", model, source, "--out", out, "--direction", "a_to_b", "--no-progress"]
    job += ["--address", address]
    dice, made_before, began = random.Random(_SEED), images(), time.perf_counter()
    moments = sorted(dice.sample(range(items), kills))
    repeats = _Repeats(out)
    for moment in tqdm(moments, desc=f"killing, {storage}", unit="kill"):
        process = subprocess.Popen(job, stderr=subprocess.DEVNULL)
        while images() - made_before < moment and process.poll() is None:
            time.sleep(0.02)
        time.sleep(dice.random() / 20)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise RuntimeError(f"the job ended with code {process.returncode} before it was killed")
        repeats.look()
    subprocess.run(job, check=True, stderr=subprocess.DEVNULL)
    seconds, made = time.perf_counter() - began, images() - made_before
    repeats.look()
    done = {record.output for record in _records(out) if record.status == "done"}
    outputs = {name: hashlib.sha256(data).hexdigest() for name, data in _files(out)}
    online = _online(model, address, source)
    return Killed(
        storage=storage,
        items=items,
        kills=kills,
        lost=len(online.keys() - (outputs.keys() & done)),
        repeated=repeats.number,
        different=sum(outputs.get(name) != digest for name, digest in online.items()),
        under_way=made - items,
        seconds=seconds,
    )


class _Repeats:
    """Counts translations that were for nothing, by what the manifest and the outputs show after each run."""

    def __init__(self, out: str) -> None:
        self._out = out
        self._translated: Counter[str | None] = Counter()
        self._in_place: set[str | None] = set()
        self.number = 0

    def look(self) -> None:
        """Count, of the run that has ended, those of a picture whose output was there before, or beyond one."""
        translated = Counter(record.output for record in _records(self._out) if record.status == "staged")
        for name, number in (translated - self._translated).items():
            self.number += number if name in self._in_place else number - 1
        self._translated, self._in_place = translated, set(_names(self._out))


def _records(out: str) -> Iterator[Record]:
    store = open_store(out)
    for name in store.journals():
        yield from filter(None, map(Record.from_line, store.read_journal(name)))


def _names(url: str) -> list[str]:
    filesystem, root = open_filesystem(url)
    try:
        paths = filesystem.ls(root, detail=False)
    except FileNotFoundError:  # Killed before there was anything.
        return []
    return sorted(name for path in paths if (name := path.rpartition("/")[2]).endswith(".png"))


def _files(url: str) -> Iterator[tuple[str, bytes]]:
    filesystem, root = open_filesystem(url)
    names = _names(url)
    for start in range(0, len(names), 100):
        for path, data in filesystem.cat([f"{root}/{name}" for name in names[start : start + 100]]).items():
            yield path.rpartition("/")[2], data


def _online(model: str, address: str, source: str) -> dict[str, str]:
    """SHA-256 of what an online Translate gives for every input, by its name."""
    with grpc.insecure_channel(address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        asked = generation_pb2.TranslateRequest(model=model, direction=generation_pb2.DIRECTION_A_TO_B)
        digests = {}
        for name, data in tqdm(list(_files(source)), desc="online", unit="image"):
            asked.image = data
            digests[name] = hashlib.sha256(stub.Translate(asked).image.data).hexdigest()
        return digests


def _peak(folder: Path, model: str, address: str, length: int) -> float:
    """Return the peak memory in MiB of a job that lists so many pictures, of which all but a few are finished."""
    source, out = folder / "pictures", folder / "translated"
    names = set()
    for name, data in tqdm(_pictures(length, LISTED_SIDE), total=length, desc="listing", unit="image"):
        _write(source / name, data)
        names.add(name)
    _finish(source, out, set(sorted(names)[LISTED_ANEW:]), model, address)
    job = [sys.executable, "-c", _TELLING_PEAK, "batch", "translate", model, str(source), "--out", str(out)]
    job += ["--direction", "a_to_b", "--no-progress", "--address", address]
    done = subprocess.run(job, capture_output=True, text=True, check=True)
    if f"{LISTED_ANEW} done, {length - LISTED_ANEW} finished before" not in done.stderr:
        raise RuntimeError(f"the job did not find what was finished:\n{done.stderr}")
    return int(done.stderr.rpartition("peak ")[2]) / 1024


def _finish(source: Path, out: Path, names: set[str], model: str, address: str) -> None:
    """Leave what a run that finished these pictures leaves: an output of each, and its line in the manifest."""
    with Client(address) as client:
        loaded = client.model(model)
        (first,) = client.translate_many(model, [source / min(names)], direction="a_to_b")
    provenance = settle(Request(model=model, direction="a_to_b"), loaded).provenance
    data = first.result.data  # type: ignore[union-attr]
    journal = Path(out) / ".gantry" / f"{journal_name(Shard())}.jsonl"
    _write(journal, b"")
    with journal.open("wb") as lines:
        for found in open_input(str(source)).pictures():
            if found.name not in names:
                continue
            _write(out / found.name, data)
            record = Record(
                input=found.input,
                output=found.name,
                status="done",
                options=provenance.options,
                fingerprint=found.fingerprint,
                input_digest=hashlib.sha256((source / found.name).read_bytes()).hexdigest(),
                output_digest=hashlib.sha256(data).hexdigest(),
                output_bytes=len(data),
                milliseconds=1.0,
                model=provenance.model,
                version=provenance.version,
                digest=provenance.digest,
                time=now(),
            )
            lines.write(record.to_line())


def _speed(folder: Path, model: str, address: str, side: int, rounds: int) -> Speed:
    """Run client and job in turn on the same files, both in this process, so that neither has more to start."""
    source = folder / "pictures"
    for name, data in _pictures(_SPEED_PICTURES[side], side):
        _write(source / name, data)
    files = sorted(source.iterdir())
    jobs, clients = [], []
    for number in tqdm(range(rounds + 1), desc=f"speed at {side}", unit="round"):
        began = time.perf_counter()
        with Client(address, timeout=None) as client:
            results = list(client.translate_many(model, files, direction="a_to_b"))
        between = time.perf_counter()
        run = JobRun(address=address, progress=False)
        code = translate(Request(model=model, direction="a_to_b"), [str(source)], str(folder / f"out-{number}"), run)
        ended = time.perf_counter()
        if code or len(results) != len(files):
            raise RuntimeError("pictures failed")
        if number:  # The first round warms up.
            clients.append(len(files) / (between - began))
            jobs.append(len(files) / (ended - between))
    ratios = [job / plain for job, plain in zip(jobs, clients, strict=True)]
    return Speed(side, len(files), statistics.median(jobs), statistics.median(clients), statistics.median(ratios))


def _pictures(count: int, side: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and PNG files of pictures of horses, no two the same."""
    drawn = [picture.resize((side, side), Image.Resampling.LANCZOS) for picture in demo_pictures(10)[0]]
    for number, picture in zip(range(count), itertools.cycle(drawn), strict=False):
        marked = picture.copy()
        marked.putpixel((0, 0), (number & 255, number >> 8 & 255, number >> 16))
        file = BytesIO()
        marked.save(file, "PNG", compress_level=1)
        yield f"horse-{number:06}.png", file.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
