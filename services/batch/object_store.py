"""An object store, or anything else that fsspec knows, as a store: puts, and journals of many objects."""

import asyncio
import errno
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from services.batch.faults import storage_faults
from services.batch.naming import PRIVATE
from services.batch.object_lock import ObjectLock

# Lines that come within this time share an object; each object costs a request.
LINGER_SECONDS = 0.2
# Objects of a journal that are read with one request each, side by side.
_READ_TOGETHER = 64


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
            with storage_faults(self.url):
                read = self._filesystem.cat(together)
            for path in together:
                yield from read[path].splitlines(keepends=True)

    def open_journal(self, name: str) -> "ObjectJournal":
        """See `Store.open_journal`."""
        folder = f"{PRIVATE}/{name}"
        lock = ObjectLock(
            lambda: self._read(self._path(f"{folder}/lock")),
            lambda data, replace: self._put(self._path(f"{folder}/lock"), data, replace=replace),
            lambda: self._filesystem.rm_file(self._path(f"{folder}/lock")),
        )
        with storage_faults(self.url):
            lock.acquire(f"{self.url}: another process works on this shard of the same output")
        return ObjectJournal(lambda part, data: self._put(self._path(f"{folder}/{part}"), data, replace=True), lock)

    def _list(self, folder: str) -> list[str]:
        with storage_faults(self.url):
            try:
                return [str(path) for path in self._filesystem.ls(self._path(folder), detail=False, refresh=True)]
            except FileNotFoundError:
                return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _read(self, path: str) -> bytes | None:
        with storage_faults(self.url):
            try:
                return bytes(self._filesystem.cat_file(path))
            except FileNotFoundError:
                return None

    def _put(self, path: str, data: bytes, *, replace: bool) -> None:
        with storage_faults(self.url, OSError):
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
        lock: ObjectLock,
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
