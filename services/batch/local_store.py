"""A local folder as a store: outputs are staged beside their places and renamed, journals are locked files."""

import asyncio
import errno
import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from services.batch.faults import LockedError, StorageError
from services.batch.naming import PRIVATE

# A power cut may lose the journal's lines of this many seconds; a killed process loses none.
SYNC_SECONDS = 1.0


class LocalStore:
    """A folder. Outputs are staged beside their places and renamed."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open a folder; it is made with the first thing that is written.

        Args:
            root: The folder.
            clock: Monotonic seconds.
        """
        self.url, self._root, self._clock = str(root), root, clock

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
        part = self._private() / f"{name}.{uuid.uuid4().hex}.part"
        part.write_bytes(data)
        part.replace(self._root / PRIVATE / name)

    def journals(self) -> list[str]:
        """See `Store.journals`."""
        return sorted(path.stem for path in (self._root / PRIVATE).glob("manifest-*.jsonl"))

    def read_journal(self, name: str) -> Iterator[bytes]:
        """See `Store.read_journal`."""
        with self._journal(name).open("rb") as lines:
            yield from lines

    def open_journal(self, name: str) -> "LocalJournal":
        """See `Store.open_journal`."""
        self._private()
        return LocalJournal(self._journal(name), self._clock)

    def _private(self) -> Path:
        """Return the folder of the job's own files, which is made where it is missing."""
        folder = self._root / PRIVATE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self._root}: {error.strerror}") from error
        return folder

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
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(errno.ENOSPC, "the journal's file system is full")


def _digest_of(path: Path) -> str | None:
    """SHA-256 of a file, None where none can be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
