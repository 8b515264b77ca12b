"""Stores: a local folder, object stores on loopback, and fsspec's memory; what appears when, and who may write."""

import errno
import hashlib
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.batch.faults import LockedError, StorageError
from services.batch.local_store import LocalJournal, LocalStore
from services.batch.object_lock import DEAD_SECONDS, ObjectLock
from services.batch.object_store import ObjectJournal, ObjectStore
from services.batch.storage import Store, open_store
from services.client.local_gateway import free_port
from tests.services.batch.engine import CountingMake, items_of, output_for, run_job


@pytest.fixture(params=["local", "memory", "s3", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "local":
            return open_store(f"file://{tmp_path / 'out'}")
        case "memory":
            return open_store(f"memory://{uuid.uuid4().hex}/out")
    return open_store(f"{request.getfixturevalue(request.param)}/out")


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


def test_lines_come_back_in_order_over_all_runs(store: Store) -> None:
    """Threads write 25 lines side by side, then another 25; and so once more in another run."""
    assert store.journals() == []
    written = []
    with ThreadPoolExecutor(25) as threads:
        for run in range(2):
            journal = store.open_journal("manifest-0-of-2")
            for group in range(2):
                written.append({f"{run} {group} {number}\n".encode() for number in range(25)})
                list(threads.map(journal.append, written[-1]))
            journal.close()
    assert store.journals() == ["manifest-0-of-2"]
    read = list(store.read_journal("manifest-0-of-2"))
    assert len(read) == 100
    assert [set(read[start : start + 25]) for start in range(0, 100, 25)] == written


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


def test_a_folder_s_journal_has_one_owner(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    journal = store.open_journal("manifest-0-of-1")
    with pytest.raises(LockedError, match="another process works on this shard"):
        store.open_journal("manifest-0-of-1")
    other = store.open_journal("manifest-0-of-2")
    journal.close()
    other.close()
    store.open_journal("manifest-0-of-1").close()


def test_a_torn_line_is_set_apart(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"whole\nto")
    journal = LocalJournal(path)
    journal.append(b"next\n")
    journal.close()
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


def test_a_bucket_that_is_not_there_is_told_by_its_url(bucket: str) -> None:
    with pytest.raises(StorageError, match=f"{bucket}-none/out: not found: "):
        open_store(f"{bucket}-none/out").open_journal("manifest-0-of-1")


def test_an_object_store_knows_conditions(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses by itself what would replace an object, so that nobody has to ask first."""
    store = open_store(f"{bucket}/out")
    assert isinstance(store, ObjectStore)
    store.commit("a.png", b"first", replace=False)
    monkeypatch.setattr(store._filesystem, "exists", lambda _: pytest.fail("it was asked first"))
    with pytest.raises(FileExistsError):
        store.commit("a.png", b"second", replace=False)


def test_google_does_not_keep_copies_of_a_job_s_own_files(gcs: str) -> None:
    store = open_store(f"{gcs}/out")
    assert isinstance(store, ObjectStore)
    store.write_private("job.json", b"{}")
    store.commit("a.png", b"data", replace=False)
    kept = [store._filesystem.info(store._path(name)).get("cacheControl") for name in (".gantry/job.json", "a.png")]
    assert kept == ["no-store", None]


def test_a_line_that_is_cut_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is full in the middle of a line, where another item's line may follow."""
    journal = LocalJournal(tmp_path / "manifest-0-of-1.jsonl")
    journal.append(b"one\n")
    with monkeypatch.context() as full:
        write = os.write

        def write_two(file: int, line: bytes) -> int:
            if len(line) < 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, line[:2])

        full.setattr(os, "write", write_two)
        with pytest.raises(StorageError, match=r"manifest-0-of-1\.jsonl: No space left on device"):
            journal.append(b"two\n")
    journal.append(b"three\n")
    journal.close()
    assert (tmp_path / "manifest-0-of-1.jsonl").read_bytes() == b"one\nthree\n"


def test_a_file_beside_the_journals_is_none(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.open_journal("manifest-0-of-1").close()
    store.write_private("manifest-backup.jsonl", b"")
    assert store.journals() == ["manifest-0-of-1"]


def test_a_folder_without_a_name_is_refused() -> None:
    """As of a shell's variable that is not set: it would be the folder that one is in."""
    with pytest.raises(StorageError, match="no name"):
        open_store("")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(StorageError, match="out: Not a directory"):
        open_store(str(tmp_path / "out")).read_private("job.json")
    with pytest.raises(StorageError, match="out: Not a directory"):
        open_store(str(tmp_path / "out")).journals()


def test_a_private_file_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int | str] = []
    sync, rename = os.fsync, os.replace

    def told_sync(file: int) -> None:
        steps.append(os.fstat(file).st_ino)
        sync(file)

    def told_rename(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", told_sync)
    monkeypatch.setattr(os, "replace", told_rename)
    LocalStore(tmp_path).write_private("job.json", b"1")
    folder = tmp_path / ".gantry"
    assert steps == [(folder / "job.json").stat().st_ino, "rename", folder.stat().st_ino]


def test_an_unknown_kind_of_url_is_told() -> None:
    with pytest.raises(StorageError, match="nonsense"):
        open_store("nonsense://bucket/out")


def test_a_host_that_cannot_be_reached_is_told_by_its_url() -> None:
    url = f"ftp://127.0.0.1:{free_port()}/out"
    with pytest.raises(StorageError, match=f"{url}: Connection refused"):
        open_store(url)


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


def test_a_lock_that_another_has_taken_over_is_not_given_back() -> None:
    """As of a process that was suspended until it seemed dead, and ends before its next beat."""
    shared = Shared()
    lock = shared.lock().acquire("taken")
    shared.data = b"another 1"
    lock.release()
    assert shared.data == b"another 1"


def test_of_two_that_take_over_a_dead_owner_s_lock_the_last_one_has_it() -> None:
    shared = Shared()
    shared.data = b"owner 1"
    shared.beats = [b"owner 1"] * int(DEAD_SECONDS) + [b"another 1"]
    with pytest.raises(LockedError, match="taken"):
        shared.lock().acquire("taken")


def test_a_journal_s_lines_share_objects() -> None:
    put: dict[str, bytes] = {}
    lock = Shared().lock().acquire("taken")
    expected = [10, 1]

    def linger(_: float) -> None:
        while len(journal._together.lines) < expected[0]:
            os.sched_yield()
        del expected[0]

    journal = ObjectJournal(put.__setitem__, lock, sleep=linger, wall_clock=lambda: 5.0)
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(journal.append, [b"%d\n" % number for number in range(10)]))
    journal.append(b"last\n")
    journal.close()
    assert list(put) == ["000000000005000-000001.jsonl", "000000000005000-000002.jsonl"]
    assert sorted(put["000000000005000-000001.jsonl"].split()) == [b"%d" % number for number in range(10)]
    assert put["000000000005000-000002.jsonl"] == b"last\n"


def test_a_line_that_cannot_be_put_is_told_to_its_writer() -> None:
    def put(name: str, data: bytes) -> None:
        raise PermissionError("no")

    journal = ObjectJournal(put, Shared().lock().acquire("taken"), linger=0.0)
    with pytest.raises(PermissionError):
        journal.append(b"1\n")
    journal.close()


def test_a_put_that_finds_itself_is_done() -> None:
    """Its answer was lost, and the store's library sent it again."""

    class Twice:
        def __init__(self) -> None:
            self.data = b""

        def pipe_file(self, path: str, data: bytes, mode: str) -> None:
            self.data = self.data or data
            raise FileExistsError(path)

        def cat_file(self, path: str) -> bytes:
            return self.data

    store = ObjectStore(Twice(), "/out", "twice://out")
    store.commit("a", b"1", replace=False)
    with pytest.raises(FileExistsError):
        store.commit("a", b"2", replace=False)


def test_a_lock_that_cannot_be_given_back_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def remove() -> None:
        raise RuntimeError("no network")

    shared = Shared()
    lock = ObjectLock(lambda: shared.data, shared.write, remove).acquire("taken")
    lock.release()
    assert "the next run will wait for it: no network" in caplog.text


def test_a_store_without_conditions_is_asked_first() -> None:
    class Plain:
        def __init__(self) -> None:
            self.files: dict[str, bytes] = {}

        def exists(self, path: str) -> bool:
            return path in self.files

        def cat_file(self, path: str) -> bytes:
            return self.files[path]

        def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
            if mode == "create":
                raise NotImplementedError
            self.files[path] = data

    store = ObjectStore(Plain(), "/out", "plain://out")
    store.commit("a", b"1", replace=False)
    with pytest.raises(FileExistsError):
        store.commit("a", b"2", replace=False)
