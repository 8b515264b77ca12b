"""A local folder as a store: outputs are staged beside their places and renamed, journals are locked files."""

import errno
import fcntl
import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from services.batch.faults import LockedError, StorageError
from services.batch.naming import JOURNAL, PRIVATE

# A power cut may lose the journal's lines of this many seconds; a killed process loses none.
SYNC_SECONDS = 1.0


class LocalStore:
    """A folder. Outputs are staged beside their places and renamed."""

    def __init__(self, root: str | os.PathLike[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open a folder; it is made with the first thing that is written.

        Args:
            root: The folder.
            clock: Monotonic seconds.
        """
        self.url, self._clock = os.fspath(root), clock
        self._private = self._path(PRIVATE)

    def is_taken(self, name: str) -> bool:
        """See `Store.is_taken`."""
        return os.path.lexists(self._path(name))

    def holds(self, name: str, size: int) -> bool:
        """See `Store.holds`: the file is there and as long as it was."""
        try:
            return os.stat(self._path(name)).st_size == size
        except OSError:
            return False

    def stage(self, name: str, data: bytes) -> None:
        """See `Store.stage`."""
        part = self._part(name)
        try:
            _write(part, data)
        except FileNotFoundError:  # The first output of its folder.
            _make_folder(os.path.dirname(part))
            _write(part, data)

    def commit(self, name: str, data: bytes, *, replace: bool) -> None:  # noqa: ARG002 - the data is staged
        """See `Store.commit`."""
        if not replace and self.is_taken(name):
            raise FileExistsError(errno.EEXIST, "exists", name)
        os.replace(self._part(name), self._path(name))

    def settle(self, name: str, digest: str) -> bool:
        """See `Store.settle`."""
        part, output = self._part(name), self._path(name)
        if _digest_of(part) == digest:
            os.replace(part, output)
            return True
        return _digest_of(output) == digest

    def read_private(self, name: str) -> bytes | None:
        """See `Store.read_private`."""
        try:
            return Path(self._private, name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(error) from error

    def write_private(self, name: str, data: bytes) -> None:
        """See `Store.write_private`."""
        self._make_private()
        # Shards of one job write the same file at the same time.
        part = f"{self._private}/{name}.{uuid.uuid4().hex}.part"
        _write(part, data, sync=True)
        os.replace(part, f"{self._private}/{name}")
        _sync(self._private)

    def journals(self) -> list[str]:
        """See `Store.journals`."""
        try:
            names = os.listdir(self._private)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._fault(error) from error
        stems = (name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl"))
        return sorted(filter(JOURNAL.fullmatch, stems))

    def read_journal(self, name: str) -> Iterator[bytes]:
        """See `Store.read_journal`."""
        with open(self._journal(name), "rb") as lines:
            yield from lines

    def open_journal(self, name: str) -> "LocalJournal":
        """See `Store.open_journal`."""
        self._make_private()
        return LocalJournal(self._journal(name), self._clock)

    def _make_private(self) -> None:
        try:
            _make_folder(self._private)
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> StorageError:
        return StorageError(f"{self.url}: {error.strerror}")

    def _path(self, name: str) -> str:
        return os.path.join(self.url, name)

    def _journal(self, name: str) -> str:
        return f"{self._private}/{name}.jsonl"

    def _part(self, name: str) -> str:
        folder, base = os.path.split(self._path(name))
        return f"{folder}/.gantry-{hashlib.sha256(os.fsencode(base)).hexdigest()[:24]}.part"


class LocalJournal:
    """A file that is only ever appended to, by one process at a time."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        """Lock and open the file; arguments and errors as of `Store.open_journal`."""
        self._path, self._clock, self._synced = path, clock, clock()
        self._writing = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise LockedError(f"{path}: another process works on this shard of the same output") from None
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self._write(b"\n")  # Sets the torn line of a process that was killed apart.

    def append(self, line: bytes) -> None:
        """See `Journal.append`: one write, so that the line is there as a whole or not at all."""
        with self._writing:
            self._write(line)
            now = self._clock()
            if is_due := now - self._synced >= SYNC_SECONDS:
                self._synced = now
        if is_due:
            os.fsync(self._file)

    def close(self) -> None:
        """See `Journal.close`."""
        os.fsync(self._file)
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):  # Once, unless there is no room for all of it.
                written += os.write(self._file, line[written:])
        except OSError as error:
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise StorageError(f"{self._path}: {error.strerror}") from error


def _write(path: str, data: bytes, *, sync: bool = False) -> None:
    with open(path, "wb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _sync(folder: str) -> None:
    """Have what was renamed in a folder outlive a power cut, where its file system can do that."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # Those of networks may not know it of folders.
            os.fsync(opened)
    finally:
        os.close(opened)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{error.filename} is a file") from error


def _digest_of(path: str) -> str | None:
    """SHA-256 of a file, None where none can be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
