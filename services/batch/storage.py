"""Where a job writes: a local folder or an object store, with its outputs and, under .gantry, its journals.

An output appears in two steps, so that a process may be killed between any two instructions. It is first staged; then
its journal line is written; then it is committed, which is atomic. `settle` finds out after a kill whether a staged
output was committed, and finishes what can be finished.
"""

import asyncio
import errno
import fcntl
import hashlib
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, Self

PRIVATE = ".gantry"
# A power cut may lose the journal's lines of this many seconds; a killed process loses none.
SYNC_SECONDS = 1.0
# Lines that come within this time share an object; each object costs a request.
LINGER_SECONDS = 0.2
# An owner writes its lock this often; one that was not written for the longer time is of a dead owner.
BEAT_SECONDS, DEAD_SECONDS = 4.0, 15.0
# Objects of a journal that are read with one request each, side by side.
_READ_TOGETHER = 64

_log = logging.getLogger(__name__)

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
# What is wrong with one output's name, not with the whole store.
NAME_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ, errno.EINVAL}


class StorageError(Exception):
    """The store cannot be used; the message says why."""


class LockedError(StorageError):
    """Another process works on the same journal."""


class Journal(Protocol):
    """Lines that outlive the process, and the lock on them."""

    async def append(self, line: bytes) -> None:
        """Write a line, which ends in a newline; when this returns, a kill does not lose it."""

    async def close(self) -> None:
        """Write what is left and give the lock back."""


class Store(Protocol):
    """Outputs and journals. Names are relative, with slashes. All but the journal's methods block.

    Attributes:
        url: What the user called it.
    """

    url: str

    def is_taken(self, name: str) -> bool:
        """Say whether there is an output of this name, as far as can be told without a request; `commit` finds out."""

    def holds(self, name: str, size: int) -> bool:
        """Say whether an output that was once committed is still to be counted on."""

    def stage(self, name: str, data: bytes) -> None:
        """Prepare an output."""

    def commit(self, name: str, data: bytes, *, replace: bool) -> None:
        """Let a staged output appear, all of it at once.

        Raises:
            FileExistsError: There is one already, and it is not to be replaced.
        """

    def settle(self, name: str, digest: str) -> bool:
        """Commit an output that was staged by a process that is dead, unless that did it.

        Returns:
            Whether the output of this SHA-256 is there now.
        """

    def read_private(self, name: str) -> bytes | None:
        """Return a file of the job's own, None where there is none."""

    def write_private(self, name: str, data: bytes) -> None:
        """Write a file of the job's own, all of it at once."""

    def journals(self) -> list[str]:
        """Return the names of all journals, sorted."""

    def read_journal(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a journal in order; the last one may be torn."""

    def open_journal(self, name: str) -> Journal:
        """Lock a journal and open it to append; to be called where an event loop runs, or before.

        Raises:
            LockedError: Another process has it.
        """


def is_url(text: str) -> bool:
    """Say whether a text names something for fsspec; file:// is a local path by another name."""
    return _URL.match(text) is not None


def open_store(url: str) -> Store:
    """Open a folder, which is made where it is missing, or an object store's prefix.

    Args:
        url: A local path, file://… or anything that fsspec knows, for example s3://bucket/prefix.

    Raises:
        StorageError: It cannot be used.
    """
    if not is_url(url):
        return LocalStore(Path(url))
    if url.startswith("file://"):
        return LocalStore(Path(url.removeprefix("file://")))
    filesystem, path = open_filesystem(url)
    return ObjectStore(filesystem, path, url)


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it; credentials are where its library looks for them.

    Raises:
        StorageError: fsspec, or what it needs for this kind of URL, is not installed, or does not know it.
    """
    try:
        import fsspec
    except ModuleNotFoundError:
        raise StorageError(f"{url}: URLs need fsspec; pip install 'gantry[batch]'") from None
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **_options_of(url))
    except (ImportError, ValueError) as error:
        raise StorageError(f"{url}: {error}") from error
    return filesystem, str(path)


def _options_of(url: str) -> dict[str, Any]:
    """A job sees what others change; and listings of what was seen would only fill the memory."""
    return {"use_listings_cache": False} if url.startswith(("s3://", "gs://", "gcs://")) else {}


class LocalStore:
    """A folder. Outputs are staged beside their places and renamed."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open a folder and make it where it is missing.

        Args:
            root: The folder.
            clock: Monotonic seconds.

        Raises:
            StorageError: It cannot be made.
        """
        self.url, self._root, self._clock = str(root), root, clock
        try:
            (root / PRIVATE).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{root}: {error}") from error

    def is_taken(self, name: str) -> bool:
        """See `Store.is_taken`."""
        return os.path.lexists(self._root / name)

    def holds(self, name: str, size: int) -> bool:
        """See `Store.holds`: the file is there and as long as it was."""
        try:
            return (self._root / name).stat().st_size == size
        except OSError:
            return False

    def stage(self, name: str, data: bytes) -> None:
        """See `Store.stage`."""
        part = self._part(name)
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, f"{error.filename} is a file") from error
        part.write_bytes(data)

    def commit(self, name: str, data: bytes, *, replace: bool) -> None:  # noqa: ARG002 - the data is staged
        """See `Store.commit`."""
        if not replace and self.is_taken(name):
            raise FileExistsError(errno.EEXIST, "exists", name)
        self._part(name).replace(self._root / name)

    def settle(self, name: str, digest: str) -> bool:
        """See `Store.settle`."""
        part, output = self._part(name), self._root / name
        if _digest_of(part) == digest:
            part.replace(output)
            return True
        return _digest_of(output) == digest

    def read_private(self, name: str) -> bytes | None:
        """See `Store.read_private`."""
        try:
            return (self._root / PRIVATE / name).read_bytes()
        except FileNotFoundError:
            return None

    def write_private(self, name: str, data: bytes) -> None:
        """See `Store.write_private`."""
        # Shards of one job write the same file at the same time.
        part = self._root / PRIVATE / f"{name}.{uuid.uuid4().hex}.part"
        part.write_bytes(data)
        part.replace(self._root / PRIVATE / name)

    def journals(self) -> list[str]:
        """See `Store.journals`."""
        return sorted(path.stem for path in (self._root / PRIVATE).glob("manifest-*.jsonl"))

    def read_journal(self, name: str) -> Iterator[bytes]:
        """See `Store.read_journal`."""
        with self._journal(name).open("rb") as lines:
            yield from lines

    def open_journal(self, name: str) -> Journal:
        """See `Store.open_journal`."""
        return LocalJournal(self._journal(name), self._clock)

    def _journal(self, name: str) -> Path:
        return self._root / PRIVATE / f"{name}.jsonl"

    def _part(self, name: str) -> Path:
        output = self._root / name
        return output.with_name(f".gantry-{hashlib.sha256(os.fsencode(output.name)).hexdigest()[:24]}.part")


class LocalJournal:
    """A file that is only ever appended to, by one process at a time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Lock and open the file; arguments and errors as of `Store.open_journal`."""
        self._clock, self._synced = clock, clock()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise LockedError(f"{path}: another process works on this shard of the same output") from None
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self._write(b"\n")  # Sets the torn line of a process that was killed apart.

    async def append(self, line: bytes) -> None:
        """See `Journal.append`: one write, so that the line is there as a whole or not at all."""
        self._write(line)
        if self._clock() - self._synced >= SYNC_SECONDS:
            self._synced = self._clock()
            await asyncio.to_thread(os.fsync, self._file)

    async def close(self) -> None:
        """See `Journal.close`."""
        await asyncio.to_thread(os.fsync, self._file)
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, "the journal's file system is full")


class ObjectStore:
    """A prefix of an object store, or of anything else that fsspec knows.

    There is no rename and no append. A put is atomic, so that it is the commit; a journal is a folder of objects.
    """

    def __init__(self, filesystem: Any, root: str, url: str) -> None:
        """Open a prefix.

        Args:
            filesystem: fsspec's.
            root: Path of the prefix in it.
            url: What the user called it.
        """
        self.url, self._filesystem, self._root = url, filesystem, root.rstrip("/")

    def is_taken(self, name: str) -> bool:  # noqa: ARG002 - asking costs a request an item
        """See `Store.is_taken`."""
        return False

    def holds(self, name: str, size: int) -> bool:  # noqa: ARG002 - the same
        """See `Store.holds`: a put that was answered is durable, so nobody is asked."""
        return True

    def stage(self, name: str, data: bytes) -> None:
        """See `Store.stage`: the data waits in memory."""

    def commit(self, name: str, data: bytes, *, replace: bool) -> None:
        """See `Store.commit`: a put, on the condition that there is no such object where the store knows conditions."""
        self._put(self._path(name), data, replace=replace)

    def settle(self, name: str, digest: str) -> bool:
        """See `Store.settle`: what was not put is gone with its process."""
        data = self._read(self._path(name))
        return data is not None and hashlib.sha256(data).hexdigest() == digest

    def read_private(self, name: str) -> bytes | None:
        """See `Store.read_private`."""
        return self._read(self._path(f"{PRIVATE}/{name}"))

    def write_private(self, name: str, data: bytes) -> None:
        """See `Store.write_private`."""
        self._put(self._path(f"{PRIVATE}/{name}"), data, replace=True)

    def journals(self) -> list[str]:
        """See `Store.journals`."""
        folders = self._list(PRIVATE)
        names = {path.rsplit("/", 1)[-1] for path in folders}
        return sorted(name for name in names if re.fullmatch(r"manifest-\d+-of-\d+", name))

    def read_journal(self, name: str) -> Iterator[bytes]:
        """See `Store.read_journal`."""
        segments = sorted(path for path in self._list(f"{PRIVATE}/{name}") if path.endswith(".jsonl"))
        for start in range(0, len(segments), _READ_TOGETHER):
            together = segments[start : start + _READ_TOGETHER]
            read = self._filesystem.cat(together)
            for path in together:
                yield from read[path].splitlines(keepends=True)

    def open_journal(self, name: str) -> Journal:
        """See `Store.open_journal`."""
        folder = f"{PRIVATE}/{name}"
        lock = ObjectLock(
            lambda: self._read(self._path(f"{folder}/lock")),
            lambda data, replace: self._put(self._path(f"{folder}/lock"), data, replace=replace),
            lambda: self._filesystem.rm_file(self._path(f"{folder}/lock")),
        )
        lock.acquire(f"{self.url}: another process works on this shard of the same output")
        return ObjectJournal(lambda part, data: self._put(self._path(f"{folder}/{part}"), data, replace=True), lock)

    def _list(self, folder: str) -> list[str]:
        try:
            return [str(path) for path in self._filesystem.ls(self._path(folder), detail=False, refresh=True)]
        except FileNotFoundError:
            return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _read(self, path: str) -> bytes | None:
        try:
            return bytes(self._filesystem.cat_file(path))
        except FileNotFoundError:
            return None

    def _put(self, path: str, data: bytes, *, replace: bool) -> None:
        if replace:
            self._filesystem.pipe_file(path, data)
            return
        try:
            self._filesystem.pipe_file(path, data, mode="create")
        except (NotImplementedError, TypeError):  # It knows no conditions: ask first.
            if self._filesystem.exists(path):
                raise FileExistsError(errno.EEXIST, "exists", path) from None
            self._filesystem.pipe_file(path, data)


class ObjectJournal:
    """Numbered objects, each with the lines of a short time."""

    def __init__(
        self,
        put: Callable[[str, bytes], None],
        lock: "ObjectLock",
        *,
        linger: float = LINGER_SECONDS,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin a run of objects, which come after those of earlier runs.

        Args:
            put: Writes an object of the journal, by its name.
            lock: Is given back at the end.
            linger: Seconds in which lines gather.
            wall_clock: Seconds since 1970.
        """
        self._put, self._lock, self._linger = put, lock, linger
        self._run, self._number = f"{int(wall_clock() * 1000):015d}", 0
        self._lines: list[bytes] = []
        self._written: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    async def append(self, line: bytes) -> None:
        """See `Journal.append`."""
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        self._lines.append(line)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await asyncio.shield(self._written)

    async def close(self) -> None:
        """See `Journal.close`."""
        if self._writer is not None:
            await self._writer
        await asyncio.to_thread(self._lock.release)

    async def _write(self) -> None:
        while self._lines:
            await asyncio.sleep(self._linger)
            lines, self._lines = self._lines, []
            written, self._written = self._written, None
            assert written is not None
            try:
                self._lock.check()
                self._number += 1
                await asyncio.to_thread(self._put, f"{self._run}-{self._number:06d}.jsonl", b"".join(lines))
            except Exception as error:
                written.set_exception(error)
            else:
                written.set_result(None)
        self._writer = None


class ObjectLock:
    """An object that its owner writes again and again, so that a dead owner shows."""

    def __init__(
        self,
        read: Callable[[], bytes | None],
        write: Callable[[bytes, bool], None],
        remove: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the lock.

        Args:
            read: Reads the object, None where there is none.
            write: Writes it; with False only where there is none, else FileExistsError.
            remove: Removes it.
            clock: Monotonic seconds.
            sleep: Waits the seconds it is given.
        """
        self._read, self._write, self._remove = read, write, remove
        self._clock, self._sleep = clock, sleep
        self._owner, self._beats = uuid.uuid4().hex, 0
        self._stopped = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)

    def acquire(self, message: str) -> Self:
        """Take the lock; waits where there is an owner, until it shows to live or to be dead.

        Args:
            message: Of the error.

        Raises:
            LockedError: Another process has it.
        """
        try:
            self._write(self._beat(), False)
        except FileExistsError:
            self._wait_for_death(message)
            self._write(self._beat(), True)
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise LockedError where another process has taken the lock, because this one seemed dead."""
        if self._lost is not None:
            raise LockedError(self._lost)

    def release(self) -> None:
        """Give the lock back."""
        self._stopped.set()
        self._thread.join()
        if self._lost is None:
            self._remove()

    def _wait_for_death(self, message: str) -> None:
        seen, since = self._read(), self._clock()
        while seen is not None and self._clock() - since < DEAD_SECONDS:
            self._sleep(1.0)
            if self._read() not in (seen, None):
                raise LockedError(message)

    def _keep(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            try:
                found = self._read()
                if found is not None and not found.startswith(self._owner.encode()):
                    self._lost = "another process has taken over this shard of the same output"
                    return
                self._write(self._beat(), True)
            except Exception as error:  # The next beat may reach the store again.
                _log.warning("the lock could not be renewed: %s", error)

    def _beat(self) -> bytes:
        self._beats += 1
        return f"{self._owner} {self._beats}\n".encode()


def _digest_of(path: Path) -> str | None:
    """SHA-256 of a file, None where none can be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
