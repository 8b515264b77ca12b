"""Stores: a local folder, an S3 on loopback, and fsspec's memory; what appears when, and who may write."""

import asyncio
import hashlib
import os
import uuid
from pathlib import Path

import pytest

from services.batch.faults import LockedError, StorageError
from services.batch.local_store import LocalJournal, LocalStore
from services.batch.object_lock import DEAD_SECONDS, ObjectLock
from services.batch.object_store import ObjectJournal, ObjectStore
from services.batch.storage import Store, open_store
from tests.services.batch.engine import CountingMake, items_of, output_for, run_job


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "local":
            return open_store(f"file://{tmp_path / 'out'}")
        case "memory":
            return open_store(f"memory://{uuid.uuid4().hex}/out")
    return open_store(f"{request.getfixturevalue('s3')}/out")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_output_appears_with_its_commit(store: Store) -> None:
    store.stage("a/b.png", b"data")
    assert not store.settle("a/c.png", digest(b"data"))
    store.commit("a/b.png", b"data", replace=False)
    assert store.settle("a/b.png", digest(b"data"))
    assert not store.settle("a/b.png", digest(b"other"))
    assert store.holds("a/b.png", 4)


def test_an_output_is_replaced_only_where_that_is_asked_for(store: Store) -> None:
    store.stage("a.png", b"old")
    store.commit("a.png", b"old", replace=False)
    store.stage("a.png", b"new")
    with pytest.raises(FileExistsError):
        store.commit("a.png", b"new", replace=False)
    store.commit("a.png", b"new", replace=True)
    assert store.settle("a.png", digest(b"new"))


def test_private_files_are_read_as_written(store: Store) -> None:
    assert store.read_private("job.json") is None
    store.write_private("job.json", b"1")
    store.write_private("job.json", b"2")
    assert store.read_private("job.json") == b"2"


async def test_lines_come_back_in_order_over_all_runs(store: Store) -> None:
    assert store.journals() == []
    written = []
    for run in range(2):
        journal = await asyncio.to_thread(store.open_journal, "manifest-0-of-2")
        lines = [f"{run} {number}\n".encode() for number in range(50)]
        await asyncio.gather(*(journal.append(line) for line in lines[:25]))
        await asyncio.gather(*(journal.append(line) for line in lines[25:]))
        await journal.close()
        written += lines
    assert store.journals() == ["manifest-0-of-2"]
    assert list(store.read_journal("manifest-0-of-2")) == written


async def test_jobs_on_any_store_finish_and_are_not_repeated(store: Store) -> None:
    items = items_of(12)
    first, _ = await run_job(store, items, CountingMake())
    assert (first.tally.done, first.tally.failed) == (12, 0)
    second, _ = await run_job(store, items, CountingMake())
    assert (second.tally.done, second.tally.skipped) == (0, 12)
    for item in items:
        assert store.settle(str(item.output), digest(output_for(item)))


async def test_what_was_put_before_a_kill_is_not_made_again(store: Store) -> None:
    """The process ends between the commit and the line `done`; and, of another item, between `staged` and commit."""

    class Killed(BaseException):
        pass

    commits: list[str] = []
    commit = store.commit

    def commit_and_die(name: str, data: bytes, *, replace: bool) -> None:
        commits.append(name)
        if len(commits) == 1:
            commit(name, data, replace=replace)
        raise Killed

    store.commit = commit_and_die  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(BaseExceptionGroup) as caught:
            await run_job(store, items_of(2), CountingMake(), width=1)
        assert caught.group_contains(Killed)
    store.commit = commit  # type: ignore[method-assign]
    make = CountingMake()
    job, _ = await run_job(store, items_of(2), make)
    # A folder keeps what was staged; of an object store's only what was put.
    assert job.tally.skipped == (2 if isinstance(store, LocalStore) else 1)
    assert "sub0/0.png" not in make.made
    for item in items_of(2):
        assert store.settle(str(item.output), digest(output_for(item)))


async def test_a_foreign_object_is_kept(store: Store) -> None:
    store.stage("sub0/0.png", b"mine")
    store.commit("sub0/0.png", b"mine", replace=False)
    for _ in range(2):
        job, _ = await run_job(store, items_of(1), CountingMake())
        assert job.tally.reasons == {"EXISTS": 1}
        assert store.settle("sub0/0.png", digest(b"mine"))
    job, _ = await run_job(store, items_of(1), CountingMake(), overwrite=True)
    assert job.tally.done == 1


async def test_a_folder_s_journal_has_one_owner(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    journal = store.open_journal("manifest-0-of-1")
    with pytest.raises(LockedError, match="another process works on this shard"):
        store.open_journal("manifest-0-of-1")
    other = store.open_journal("manifest-0-of-2")
    await journal.close()
    await other.close()
    await store.open_journal("manifest-0-of-1").close()


async def test_a_torn_line_is_set_apart(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"whole\nto")
    journal = LocalJournal(path)
    await journal.append(b"next\n")
    await journal.close()
    assert path.read_bytes() == b"whole\nto\nnext\n"


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        open_store(str(tmp_path / "file" / "out")).open_journal("manifest-0-of-1")


def test_looking_at_a_store_makes_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"))
    assert store.journals() == []
    assert store.read_private("job.json") is None
    assert not (tmp_path / "out").exists()


def test_a_bucket_that_is_not_there_is_told_by_its_url(s3: str) -> None:
    with pytest.raises(StorageError, match=f"{s3}-none/out: The specified bucket does not exist"):
        open_store(f"{s3}-none/out").open_journal("manifest-0-of-1")


async def test_a_line_that_is_cut_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is full in the middle of a line, where another item's line may follow."""
    journal = LocalJournal(tmp_path / "manifest-0-of-1.jsonl")
    await journal.append(b"one\n")
    with monkeypatch.context() as full:
        write = os.write
        full.setattr(os, "write", lambda file, line: write(file, line[:2]))
        with pytest.raises(OSError, match="full"):
            await journal.append(b"two\n")
    await journal.append(b"three\n")
    await journal.close()
    assert (tmp_path / "manifest-0-of-1.jsonl").read_bytes() == b"one\nthree\n"


def test_an_unknown_kind_of_url_is_told() -> None:
    with pytest.raises(StorageError, match="nonsense"):
        open_store("nonsense://bucket/out")


class Shared:
    """An object that two locks see, and a clock on which one of them may live on while the other waits."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.now = 0.0
        self.beats: list[bytes] = []

    def write(self, data: bytes, replace: bool) -> None:
        if self.data is not None and not replace:
            raise FileExistsError
        self.data = data

    def remove(self) -> None:
        self.data = None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.beats:
            self.data = self.beats.pop(0)

    def lock(self) -> ObjectLock:
        return ObjectLock(lambda: self.data, self.write, self.remove, clock=lambda: self.now, sleep=self.sleep)


def test_an_owner_that_lives_keeps_its_lock() -> None:
    shared = Shared()
    shared.data, shared.beats = b"owner 1", [b"owner 1", b"owner 1", b"owner 2"]
    with pytest.raises(LockedError, match="taken"):
        shared.lock().acquire("taken")
    assert shared.now == 3.0


def test_a_dead_owner_s_lock_is_taken_over_and_given_back() -> None:
    shared = Shared()
    shared.data = b"owner 1"
    lock = shared.lock().acquire("taken")
    assert DEAD_SECONDS <= shared.now < 2 * DEAD_SECONDS
    assert shared.data != b"owner 1"
    lock.release()
    assert shared.data is None


def test_of_two_that_take_over_a_dead_owner_s_lock_the_last_one_has_it() -> None:
    shared = Shared()
    shared.data = b"owner 1"
    shared.beats = [b"owner 1"] * int(DEAD_SECONDS) + [b"another 1"]
    with pytest.raises(LockedError, match="taken"):
        shared.lock().acquire("taken")


async def test_a_journal_s_lines_share_objects() -> None:
    put: dict[str, bytes] = {}
    lock = Shared().lock().acquire("taken")
    journal = ObjectJournal(put.__setitem__, lock, linger=0.0, wall_clock=lambda: 5.0)
    await asyncio.gather(*(journal.append(b"%d\n" % number) for number in range(10)))
    await journal.append(b"last\n")
    await journal.close()
    assert list(put) == ["000000000005000-000001.jsonl", "000000000005000-000002.jsonl"]
    assert put["000000000005000-000002.jsonl"] == b"last\n"


async def test_a_line_that_cannot_be_put_is_told_to_its_writer() -> None:
    def put(name: str, data: bytes) -> None:
        raise PermissionError("no")

    journal = ObjectJournal(put, Shared().lock().acquire("taken"), linger=0.0)
    with pytest.raises(PermissionError):
        await journal.append(b"1\n")
    await journal.close()


def test_a_store_without_conditions_is_asked_first() -> None:
    class Plain:
        def __init__(self) -> None:
            self.files: dict[str, bytes] = {}

        def exists(self, path: str) -> bool:
            return path in self.files

        def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
            if mode == "create":
                raise NotImplementedError
            self.files[path] = data

    store = ObjectStore(Plain(), "/out", "plain://out")
    store.commit("a", b"1", replace=False)
    with pytest.raises(FileExistsError):
        store.commit("a", b"2", replace=False)
