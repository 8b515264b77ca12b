"""The engine: what is made, what is not made again, and what a kill at any step leaves."""

import asyncio
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from services.batch.faults import ItemError, JobError, StoppedError
from services.batch.items import Item
from services.batch.local_store import LocalStore
from tests.services.batch.engine import PROVENANCE, CountingMake, assert_whole, items_of, lines_of, output_for, run_job

REPOSITORY = Path(__file__).parents[3]


async def test_every_item_is_made_once(tmp_path: Path) -> None:
    make = CountingMake()
    job, ending = await run_job(tmp_path, items_of(100), make)
    assert (ending, job.tally.done, job.tally.skipped, job.tally.failed) == ("finished", 100, 0, 0)
    assert_whole(tmp_path, items_of(100))
    assert set(make.made.values()) == {1}


async def test_a_second_run_makes_nothing_and_asks_for_nothing(tmp_path: Path) -> None:
    await run_job(tmp_path, items_of(20), CountingMake())
    asked: list[Item] = []
    job, _ = await run_job(tmp_path, items_of(20), CountingMake(asked.append))
    assert (job.tally.done, job.tally.skipped, asked) == (0, 20, [])


async def test_a_touched_input_is_read_and_not_made_again(tmp_path: Path) -> None:
    async def make(item: Item, known: str | None) -> Any:
        inner = replace(item, fingerprint="v1")
        return await counting(inner, known)

    counting = CountingMake()
    await run_job(tmp_path, items_of(3), make)
    job, _ = await run_job(tmp_path, items_of(3, "touched"), make)
    assert (job.tally.skipped, counting.made.total()) == (3, 3)
    asked: list[Item] = []
    job, _ = await run_job(tmp_path, items_of(3, "touched"), CountingMake(asked.append))
    assert (job.tally.skipped, asked) == (3, [])  # The new fingerprint was kept.


@pytest.mark.parametrize(
    ("items", "provenance"),
    [
        (items_of(5, "v2"), PROVENANCE),
        (items_of(5), replace(PROVENANCE, options="others")),
        ([replace(item, fingerprint=None) for item in items_of(5, "v2")], PROVENANCE),
    ],
    ids=["input", "options or model", "no fingerprint"],
)
async def test_what_changed_is_made_anew(tmp_path: Path, items: list[Item], provenance: Any) -> None:
    await run_job(tmp_path, items_of(5), CountingMake())
    job, _ = await run_job(tmp_path, items, CountingMake(), provenance=provenance)
    assert (job.tally.done, job.tally.skipped) == (5, 0)
    assert {(tmp_path / str(item.output)).read_bytes() for item in items} == {output_for(item) for item in items}


async def test_a_removed_output_is_made_anew(tmp_path: Path) -> None:
    await run_job(tmp_path, items_of(5), CountingMake())
    (tmp_path / "sub0/0.png").unlink()
    (tmp_path / "sub1/1.png").write_bytes(b"cut")
    job, _ = await run_job(tmp_path, items_of(5), CountingMake())
    assert (job.tally.done, job.tally.skipped) == (2, 3)


async def test_a_bad_item_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    def fail(item: Item) -> None:
        if item.input in ("/in/3.jpg", "/in/5.jpg"):
            raise ItemError("INVALID_REQUEST", "no picture", "digest")

    items = [*items_of(8), Item(input="/in/a.tar!../x.png", output=None, fault="leads out")]
    job, ending = await run_job(tmp_path, items, CountingMake(fail))
    assert (ending, job.tally.done, job.tally.failed) == ("finished", 6, 3)
    assert job.tally.reasons == {"INVALID_REQUEST": 2, "BAD_MEMBER": 1}
    failed = [record for record in lines_of(tmp_path) if record.status == "failed"]
    assert {(record.input, record.message) for record in failed} == {
        ("/in/3.jpg", "no picture"),
        ("/in/5.jpg", "no picture"),
        ("/in/a.tar!../x.png", "leads out"),
    }


@pytest.mark.parametrize(("reason", "asked_again"), [("INVALID_REQUEST", 0), ("BACKEND_FAILED", 1), ("UNREADABLE", 1)])
async def test_a_failure_stands_where_the_input_is_at_fault(tmp_path: Path, reason: str, asked_again: int) -> None:
    asked: list[Item] = []

    def fail(item: Item) -> None:
        asked.append(item)
        raise ItemError(reason, "bad", "digest")

    await run_job(tmp_path, items_of(1), CountingMake(fail))
    job, _ = await run_job(tmp_path, items_of(1), CountingMake(fail))
    assert (job.tally.failed, len(asked)) == (1, 1 + asked_again)
    job, _ = await run_job(tmp_path, items_of(1, "v2"), CountingMake())
    assert job.tally.done == 1


async def test_only_failed_items_are_tried_again(tmp_path: Path) -> None:
    def fail(item: Item) -> None:
        if item.input == "/in/1.jpg":
            raise ItemError("INVALID_REQUEST", "bad", "digest")

    await run_job(tmp_path, items_of(3), CountingMake(fail))
    make = CountingMake()
    job, _ = await run_job(tmp_path, items_of(5), make, only_failed=True)
    assert (job.tally.done, list(make.made)) == (1, ["sub1/1.png"])


async def test_a_foreign_output_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "sub0").mkdir()
    (tmp_path / "sub0/0.png").write_bytes(b"mine")
    make = CountingMake()
    for _ in range(2):
        job, _ = await run_job(tmp_path, items_of(2), make)
        assert job.tally.reasons == {"EXISTS": 1}
        assert (tmp_path / "sub0/0.png").read_bytes() == b"mine"
    assert "sub0/0.png" not in make.made
    job, _ = await run_job(tmp_path, items_of(2), make, overwrite=True)
    assert (job.tally.done, job.tally.skipped) == (1, 1)
    assert_whole(tmp_path, items_of(2))


async def test_a_name_that_cannot_be_is_the_item_s_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    items = [Item(input="a", output="file/a.png"), Item(input="b", output="x" * 300), Item(input="c", output="c.png")]
    job, _ = await run_job(tmp_path, items, CountingMake())
    assert (job.tally.done, job.tally.reasons) == (1, {"UNWRITABLE": 2})


async def test_a_store_that_fails_is_the_job_s_fault(tmp_path: Path) -> None:
    class Full(LocalStore):
        def stage(self, name: str, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(JobError, match="No space left"):
        await run_job(Full(tmp_path), items_of(3), CountingMake())


async def test_a_fault_waits_for_the_thread_that_looks_at_items(tmp_path: Path) -> None:
    """Else the manifest's database is closed under it, which ends the process."""
    failed, looked, loop = Event(), Event(), asyncio.get_running_loop()

    def items() -> Iterator[Item]:
        yield from items_of(32)
        failed.wait(60)
        for _ in range(20):  # Whoever does not wait has closed the manifest after so many turns of the loop.
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(60)
        looked.set()
        yield from items_of(64)[32:]

    def fail(item: Item) -> None:
        failed.set()
        raise JobError("broken")

    with pytest.raises(JobError, match="broken"):
        await run_job(tmp_path, items(), CountingMake(fail), width=64)
    assert looked.is_set()


async def test_it_ends_after_too_many_failures(tmp_path: Path) -> None:
    def fail(item: Item) -> None:
        raise ItemError("UNREADABLE", "bad")

    job, ending = await run_job(tmp_path, items_of(500), CountingMake(fail), max_failures=5)
    assert ending == "too many failures"
    assert 5 <= job.tally.failed < 50


async def test_it_stops_when_it_is_told_to(tmp_path: Path) -> None:
    def stop(item: Item) -> None:
        if item.input == "/in/10.jpg":
            job_of[0].stop()
        if stopped:
            raise StoppedError

    from services.batch.job import Job
    from services.batch.manifest import open_manifest
    from services.batch.shards import Shard

    stopped: list[bool] = []
    store = LocalStore(tmp_path)
    manifest = open_manifest(store, Shard())
    job_of = [Job(items_of(300), CountingMake(stop), PROVENANCE, store, manifest, width=4)]
    job_of[0].on_stop(lambda: stopped.append(True))
    assert await job_of[0].run() == "stopped"
    manifest.close()
    assert 10 <= job_of[0].tally.done < 20
    job, _ = await run_job(tmp_path, items_of(300), CountingMake())
    assert job.tally.done + job.tally.skipped == 300
    assert_whole(tmp_path, items_of(300))


# What a process does that is killed at its n-th step. Steps: around each part of a store's and a journal's work, in the
# middle of writing a file, in the middle of writing a line.
KILLED = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from services.batch import local_store
    from tests.services.batch.engine import CountingMake, items_of, run_job

    root, kill_at = Path(sys.argv[1]), int(sys.argv[2])
    steps = 0

    def step():
        global steps
        steps += 1
        if steps == kill_at:
            os._exit(9)

    class Store(local_store.LocalStore):
        def stage(self, name, data):
            step()
            part = Path(self._part(name))
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data[:len(data) // 2])
            step()
            super().stage(name, data)
            step()

        def commit(self, name, data, *, replace):
            step()
            super().commit(name, data, replace=replace)
            step()

        def settle(self, name, digest):
            step()
            settled = super().settle(name, digest)
            step()
            return settled

    class Journal(local_store.LocalJournal):
        def _write(self, line):
            global steps
            step()
            if steps + 1 == kill_at:
                os.write(self._file, line[:len(line) // 2])
            step()
            super()._write(line)
            step()

    local_store.LocalJournal = Journal
    asyncio.run(run_job(Store(root), items_of(3), CountingMake(), width=1))
    print(steps)
    """
)


def killed_run(root: Path, kill_at: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", KILLED, str(root), str(kill_at)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.slow
async def test_a_kill_at_any_step_loses_and_repeats_nothing(tmp_path: Path) -> None:
    steps = int(killed_run(tmp_path / "whole", 0).stdout)
    assert steps == 3 * (3 + 2 + 2 * 3)
    # All steps of the second item, which has one before and one after it; then each is killed once more on the way.
    for kill_at in range(12, 23):
        root = tmp_path / str(kill_at)
        assert killed_run(root, kill_at).returncode == 9
        finished = {record.key for record in lines_of(root) if record.status == "staged"}
        again = killed_run(root, 1 + kill_at % 5)
        assert again.returncode == 9, again.stderr
        finished |= {record.key for record in lines_of(root) if record.status == "staged"}
        make = CountingMake()
        job, _ = await run_job(root, items_of(3), make)
        assert not finished & make.made.keys()
        assert job.tally.settled == 3
        assert_whole(root, items_of(3))


# A run of 1,500 items that makes so many of them, and then waits for ever.
SLOW_RUN = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from tests.services.batch.engine import CountingMake, items_of, run_job

    async def main():
        counting = CountingMake()
        async def make(item, known):
            await asyncio.sleep(0.001)
            if counting.made.total() == int(sys.argv[2]):
                await asyncio.Event().wait()
            return await counting(item, known)
        await run_job(Path(sys.argv[1]), items_of(1500), make, width=8)

    print("begins", flush=True)
    asyncio.run(main())
    """
)


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_repeat_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    command = [sys.executable, "-c", SLOW_RUN, str(tmp_path)]
    for _ in range(8):
        # However late the kill is, the run is still at it.
        process = subprocess.Popen([*command, "180"], cwd=REPOSITORY, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n"
        time.sleep(chance.uniform(0.02, 0.25))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert subprocess.run([*command, "1501"], cwd=REPOSITORY, check=False).returncode == 0
    assert_whole(tmp_path, items_of(1500))


@pytest.mark.parametrize(
    ("items", "options", "made"),
    [
        (items_of(1), "options", 0),
        ([replace(items_of(1)[0], fingerprint=None)], "options", 1),
        (items_of(1, "v2"), "options", 1),
        (items_of(1), "others", 1),
    ],
    ids=["nothing", "no fingerprint", "input", "options"],
)
@pytest.mark.parametrize("is_committed", [True, False])
async def test_what_changed_since_a_kill_is_no_foreign_output(
    tmp_path: Path, items: list[Item], options: str, made: int, is_committed: bool
) -> None:
    """The process was killed after the line `staged`, before or after the commit."""
    await run_job(tmp_path, items_of(1), CountingMake())
    manifest = tmp_path / ".gantry/manifest-0-of-1.jsonl"
    manifest.write_bytes(manifest.read_bytes().splitlines(keepends=True)[0])
    if not is_committed:
        store = LocalStore(tmp_path)
        (tmp_path / "sub0/0.png").rename(store._part("sub0/0.png"))
    job, _ = await run_job(tmp_path, items, CountingMake(), provenance=replace(PROVENANCE, options=options))
    assert (job.tally.done, job.tally.failed, job.tally.skipped) == (made, 0, 1 - made)
    assert (tmp_path / "sub0/0.png").read_bytes() == output_for(items[0])


async def test_an_error_nobody_expected_ends_the_job_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(item: Item) -> None:
        raise LookupError("never thought of")

    with pytest.raises(JobError, match="never thought of"):
        await run_job(tmp_path, items_of(20), CountingMake(fail))
    assert "Traceback" in caplog.text
