"""What is around a job: its reports, and how signals end it."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from services.batch import running
from services.batch.faults import JobError
from services.batch.items import Item
from services.batch.job import Job, OutputFile, Tally
from services.batch.local_store import LocalStore
from services.batch.manifest import open_manifest
from services.batch.shards import Shard
from tests.services.batch.engine import PROVENANCE, CountingMake, items_of, lines_of, wait_for_lines

REPOSITORY = Path(__file__).parents[3]
# A job of four items, of which the first is made and the others wait for ever.
WAITING = textwrap.dedent(
    """
    import asyncio, sys
    from services.batch.job import Job
    from services.batch.local_store import LocalStore
    from services.batch.manifest import open_manifest
    from services.batch.running import JobRun, carry_out, exit_code_of
    from services.batch.shards import Shard
    from tests.services.batch.engine import PROVENANCE, CountingMake, items_of

    make = CountingMake()

    async def wait(item, known):
        if item.input == "/in/0.jpg":
            return await make(item, known)
        await asyncio.Event().wait()

    async def run():
        store = LocalStore(sys.argv[1])
        manifest = open_manifest(store, Shard())
        job = Job(items_of(4), wait, PROVENANCE, store, manifest, width=4)
        return await carry_out(job, 4, JobRun(progress=False), clean_up=manifest.close)

    sys.exit(exit_code_of("batch test", lambda: asyncio.run(run())))
    """
)


class Slow:
    """A reporter that is at it for as long as whoever does not wait for it needs to go on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, begun: asyncio.Event) -> None:
        self._loop, self._begun = loop, begun
        self.told: list[str] = []

    def tell(self, tally: Tally) -> None:
        self._loop.call_soon_threadsafe(self._begun.set)
        for _ in range(50):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(60)
        self.told.append("on the way")

    def finish(self, tally: Tally, *, finished: bool) -> None:
        self.told.append("at the end")


async def test_the_last_report_follows_those_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a push that takes long would put old numbers over the last ones."""
    begun = asyncio.Event()
    slow, make = Slow(asyncio.get_running_loop(), begun), CountingMake()

    async def wait_for_report(item: Item, known: str | None) -> OutputFile | None:
        await begun.wait()
        return await make(item, known)

    monkeypatch.setattr(running, "_reporters", lambda run, total: [slow])
    store = LocalStore(tmp_path)
    manifest = open_manifest(store, Shard())
    job = Job(items_of(1), wait_for_report, PROVENANCE, store, manifest, width=1)
    assert await running.carry_out(job, 1, running.JobRun(), clean_up=manifest.close) == running.DONE
    assert slow.told[-2:] == ["on the way", "at the end"]
    assert slow.told.count("at the end") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_the_gateway(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path)], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    wait_for_lines(tmp_path, 2, process)
    process.send_signal(number)
    assert process.stderr is not None
    assert any(f"stopping: {number.name}" in line for line in process.stderr)
    assert process.poll() is None
    process.send_signal(number)
    _, told = process.communicate()
    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    assert [record.status for record in lines_of(tmp_path)] == ["staged", "done"]
    LocalStore(tmp_path).open_journal("manifest-0-of-1").close()


@pytest.mark.parametrize("folder", ["", "none"])
def test_a_gateway_of_its_own_needs_archives(tmp_path: Path, folder: str) -> None:
    run = running.JobRun(embedded=True, model_store=tmp_path / folder)
    told = f"model store {tmp_path / folder} is no folder with archives"
    with pytest.raises(JobError, match=told), running.gateway_for(run):
        pass
