"""An object store, or anything else that fsspec knows, as a store: puts, and journals of many objects."""

import errno
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any

from services.batch.faults import storage_faults
from services.batch.naming import JOURNAL, PRIVATE
from services.batch.object_lock import ObjectLock

# Lines that come within this time share an object; each object costs a request.
LINGER_SECONDS = 0.2
# Objects of a journal that are read with one request each, side by side.
_READ_TOGETHER = 64


class ObjectStore:
    """A prefix of an object store, or of anything else that fsspec knows.

    There is no rename and no append. A put is atomic, so that it is the commit; a journal is a folder of objects.
    """

    def __init__(
        self, filesystem: Any, root: str, url: str, *, private_options: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Open a prefix.

        Args:
            filesystem: fsspec's.
            root: Path of the prefix in it.
            url: What the user called it.
            private_options: Arguments of its `pipe_file` for the job's own files.
        """
        self.url, self._filesystem, self._root = url, filesystem, root.rstrip("/")
        self._private_options = private_options

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
        path = self._path(name)
        try:
            self._put(path, data, replace=replace)
        except FileExistsError:
            # A put whose answer was lost is sent again by the store's library, and finds what it wrote itself.
            if self._read(path) != data:
                raise

    def settle(self, name: str, digest: str) -> bool:
        """See `Store.settle`: what was not put is gone with its process."""
        data = self._read(self._path(name))
        return data is not None and hashlib.sha256(data).hexdigest() == digest

    def read_private(self, name: str) -> bytes | None:
        """See `Store.read_private`."""
        return self._read(self._private(name))

    def write_private(self, name: str, data: bytes) -> None:
        """See `Store.write_private`."""
        self._put_private(name, data, replace=True)

    def journals(self) -> list[str]:
        """See `Store.journals`."""
        names = {path.rsplit("/", 1)[-1] for path in self._list("")}
        return sorted(filter(JOURNAL.fullmatch, names))

    def read_journal(self, name: str) -> Iterator[bytes]:
        """See `Store.read_journal`."""
        segments = sorted(path for path in self._list(name) if path.endswith(".jsonl"))
        for start in range(0, len(segments), _READ_TOGETHER):
            together = segments[start : start + _READ_TOGETHER]
            with storage_faults(self.url):
                read = self._filesystem.cat(together)
            for path in together:
                yield from read[path].splitlines(keepends=True)

    def open_journal(self, name: str) -> "ObjectJournal":
        """See `Store.open_journal`."""
        lock = ObjectLock(
            lambda: self._read(self._private(f"{name}/lock")),
            lambda data, replace: self._put_private(f"{name}/lock", data, replace=replace),
            lambda: self._filesystem.rm_file(self._private(f"{name}/lock")),
        )
        with storage_faults(self.url):
            lock.acquire(f"{self.url}: another process works on this shard of the same output")
        return ObjectJournal(lambda part, data: self._put_private(f"{name}/{part}", data, replace=True), lock)

    def _list(self, folder: str) -> list[str]:
        with storage_faults(self.url):
            try:
                return [str(path) for path in self._filesystem.ls(self._private(folder), detail=False, refresh=True)]
            except FileNotFoundError:
                return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _private(self, name: str) -> str:
        return self._path(f"{PRIVATE}/{name}".rstrip("/"))

    def _read(self, path: str) -> bytes | None:
        with storage_faults(self.url):
            try:
                return bytes(self._filesystem.cat_file(path))
            except FileNotFoundError:
                return None

    def _put_private(self, name: str, data: bytes, *, replace: bool) -> None:
        self._put(self._private(name), data, replace=replace, **self._private_options)

    def _put(self, path: str, data: bytes, *, replace: bool, **options: Any) -> None:
        with storage_faults(self.url, OSError):
            if replace:
                self._filesystem.pipe_file(path, data, **options)
                return
            try:
                self._filesystem.pipe_file(path, data, mode="create", **options)
            except (NotImplementedError, TypeError):  # It knows no conditions: ask first.
                if self._filesystem.exists(path):
                    raise FileExistsError(errno.EEXIST, "exists", path) from None
                self._filesystem.pipe_file(path, data, **options)


class ObjectJournal:
    """Numbered objects, each with the lines of a short time."""

    def __init__(
        self,
        put: Callable[[str, bytes], None],
        lock: ObjectLock,
        *,
        linger: float = LINGER_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin a run of objects, which come after those of earlier runs.

        Args:
            put: Writes an object of the journal, by its name.
            lock: Is given back at the end.
            linger: Seconds in which lines gather.
            sleep: Waits the seconds it is given.
            wall_clock: Seconds since 1970.
        """
        self._put, self._lock = put, lock
        self._linger, self._sleep = linger, sleep
        self._run, self._number = f"{int(wall_clock() * 1000):015d}", 0
        self._gathering, self._together = threading.Lock(), _Together()

    def append(self, line: bytes) -> None:
        """See `Journal.append`."""
        with self._gathering:
            together = self._together
            together.lines.append(line)
            is_first = len(together.lines) == 1
        if is_first:
            self._write(together)
        together.written.result()

    def close(self) -> None:
        """See `Journal.close`."""
        self._lock.release()

    def _write(self, together: "_Together") -> None:
        """Wait for lines of other threads, and write them all."""
        self._sleep(self._linger)
        with self._gathering:
            self._together = _Together()
            self._number += 1
            name = f"{self._run}-{self._number:06d}.jsonl"
        try:
            self._lock.check()
            self._put(name, b"".join(together.lines))
        except BaseException as error:
            together.written.set_exception(error)
        else:
            together.written.set_result(None)


class _Together:
    """Lines that share an object, and word of when that is written."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.written: Future[None] = Future()
