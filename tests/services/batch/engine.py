"""What the tests of the engine share: items that need no gateway, made by a function that can be counted."""

import hashlib
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from services.batch.items import Item
from services.batch.job import Job, JobProvenance, OutputFile
from services.batch.local_store import LocalStore
from services.batch.manifest import Record, open_manifest
from services.batch.shards import Shard
from services.batch.storage import Store
from tests.waiting import wait_until

PROVENANCE = JobProvenance(model="m", version="1.0.0", digest="d" * 64, options="options")


def output_for(item: Item) -> bytes:
    """What a test's item is made into."""
    return f"{item.input} {item.fingerprint}".encode() * 50


def items_of(number: int, fingerprint: str = "v1") -> list[Item]:
    return [Item(input=f"/in/{n}.jpg", output=f"sub{n % 3}/{n}.png", fingerprint=fingerprint) for n in range(number)]


class CountingMake:
    """Makes items, counts how often each is made, and may be told to do something first."""

    def __init__(self, before: Callable[[Item], None] = lambda _: None) -> None:
        self.made: Counter[str] = Counter()
        self._before = before

    async def __call__(self, item: Item, known: str | None) -> OutputFile | None:
        digest = hashlib.sha256(f"{item.input} {item.fingerprint}".encode()).hexdigest()
        self._before(item)
        if digest == known:
            return None
        self.made[item.key] += 1
        return OutputFile(data=output_for(item), milliseconds=1.0, input_digest=digest)


async def run_job(root: Path | Store, items: Iterable[Item], make: Any, **options: Any) -> tuple[Job, str]:
    """Run a job on a folder and return it with how it ended."""
    store = LocalStore(root) if isinstance(root, Path) else root
    provenance, width = options.pop("provenance", PROVENANCE), options.pop("width", 4)
    manifest = open_manifest(store, options.pop("shard", Shard()))
    job = Job(items, make, provenance, store, manifest, width=width, **options)
    try:
        return job, await job.run()
    finally:
        manifest.close()


def lines_of(root: Path, shard: str = "0-of-1") -> list[Record]:
    """All sound lines of a manifest."""
    text = (root / ".gantry" / f"manifest-{shard}.jsonl").read_bytes()
    return [record for line in text.splitlines() if (record := Record.from_line(line))]


def assert_whole(root: Path, items: Sequence[Item]) -> None:
    """See that every item has its output, that nothing else is there, and that none was finished twice."""
    files = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] != ".gantry"
    }
    assert files == {str(item.output): output_for(item) for item in items}
    finished = Counter(record.key for record in lines_of(root) if record.status == "staged")
    assert set(finished.values()) <= {1}


def wait_for_lines(root: Path, number: int, process: "subprocess.Popen[Any]") -> None:
    """Wait until a process that goes on has written so many lines of its manifest."""
    manifest = root / ".gantry/manifest-0-of-1.jsonl"

    def is_so() -> bool:
        assert process.poll() is None, f"the job ended, with {process.returncode}, before it had {number} lines"
        return manifest.exists() and manifest.read_bytes().count(b"\n") >= number

    wait_until(is_so, f"the manifest has {number} lines")
