"""The pictures of a tar or zip, local or behind a URL, as an input of a job."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import IO, Any

from services.batch.archives import open_picture_archive
from services.batch.faults import storage_faults
from services.batch.local_inputs import local_version
from services.batch.naming import Found
from services.batch.remote_inputs import remote_version
from services.batch.storage import is_url, open_filesystem


class ArchiveInput:
    """The pictures of a tar or zip."""

    folder: str | None = None

    def __init__(self, name: str) -> None:
        """Open an archive.

        Args:
            name: Absolute path or URL.

        Raises:
            JobError: There is none.
        """
        # One thread, which goes forward through the archive.
        self.executor: Executor | None = ThreadPoolExecutor(1, "archive")
        self._name = name
        with storage_faults(name):
            if is_url(name):
                filesystem, path = open_filesystem(name)
                fingerprint = remote_version(filesystem.info(path))
                self._archive = open_picture_archive(name, fingerprint, lambda: _opened(filesystem, path))
            else:
                self._archive = open_picture_archive(name, local_version(os.stat(name)), lambda: open(name, "rb"))  # noqa: SIM115

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`."""
        with storage_faults(self._name):
            yield from self._archive.members()

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        with storage_faults(self._name, OSError):
            return self._archive.read(locator)


def _opened(filesystem: Any, path: str) -> IO[bytes]:
    file: IO[bytes] = filesystem.open(path, "rb")
    return file
