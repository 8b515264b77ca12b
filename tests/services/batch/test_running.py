"""What is around a job: how signals end it."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from services.batch.local_store import LocalStore
from tests.services.batch.engine import lines_of

REPOSITORY = Path(__file__).parents[3]
# A job of four items, of which the first is made and the others wait for ever.
WAITING = textwrap.dedent(
    """
    import asyncio, sys
    from services.batch.job import Job
    from services.batch.local_store import LocalStore
    from services.batch.manifest import open_manifest
    from services.batch.running import Run, carry_out, exit_code_of
    from services.batch.shards import Shard
    from tests.services.batch.engine import MAKER, CountingMake, items_of

    make = CountingMake()

    async def wait(item, known):
        if item.input == "/in/0.jpg":
            return await make(item, known)
        await asyncio.Event().wait()

    async def run():
        store = LocalStore(sys.argv[1])
        manifest = open_manifest(store, Shard())
        job = Job(items_of(4), wait, MAKER, store, manifest, width=4)
        return await carry_out(job, 4, Run(progress=False), clean_up=manifest.close)

    sys.exit(exit_code_of("batch test", lambda: asyncio.run(run())))
    """
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_the_gateway(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path)], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    manifest = tmp_path / ".gantry/manifest-0-of-1.jsonl"
    while process.poll() is None and not (manifest.exists() and b'"done"' in manifest.read_bytes()):
        time.sleep(0.01)
    process.send_signal(number)
    assert process.stderr is not None
    assert f"stopping: {number.name}" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(number)
    _, told = process.communicate()
    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    assert [record.status for record in lines_of(tmp_path)] == ["staged", "done"]
    LocalStore(tmp_path).open_journal("manifest-0-of-1").close()
