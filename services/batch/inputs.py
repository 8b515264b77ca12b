"""Where a job's pictures come from: folders, files, globs and archives, local or behind a URL, and lists of files.

Listings are streamed: whatever the number of pictures, only those that are being made are in memory, and the names of
one folder.
"""

import os
import re
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, Protocol

from services.batch.archive_input import ArchiveInput
from services.batch.archives import is_archive
from services.batch.faults import JobError, storage_faults
from services.batch.list_input import ListInput
from services.batch.local_inputs import LocalFiles, LocalFolder
from services.batch.naming import Found
from services.batch.remote_inputs import RemoteFile, RemoteFolder
from services.batch.storage import is_url, open_filesystem

_MAGIC = re.compile(r"[*?\[]")


class Input(Protocol):
    """What a user named.

    Attributes:
        folder: Where all its pictures are in, as an absolute path or URL; None where that is not one folder.
        executor: What is to read it; None for any thread.
    """

    folder: str | None
    executor: Executor | None

    def pictures(self) -> Iterator[Found]:
        """Yield what is in it.

        Raises:
            JobError: It cannot be listed.
        """

    def read(self, locator: str) -> bytes:
        """Return a picture as a file.

        Raises:
            OSError: It cannot be read.
            ItemError: It is too large.
        """


def open_input(text: str) -> Input:
    """Find out what a user means.

    Args:
        text: A file, folder, glob or archive, by path or URL; or @ and the path or URL of a list.

    Raises:
        JobError: There is nothing of that name.
    """
    if not text.removeprefix("@"):
        raise JobError("an input has no name")
    if text.startswith("@"):
        return ListInput(text[1:])
    if is_url(text) and not text.startswith("file://"):
        filesystem, path = open_filesystem(text)
        with storage_faults(text):
            return _open_remote(filesystem, path.rstrip("/"), text)
    return _open_local(text.removeprefix("file://"))


def _open_local(text: str) -> Input:
    path = os.path.abspath(text)
    if os.path.isdir(path):
        return LocalFolder(os.path.realpath(path))
    if os.path.isfile(path):
        return ArchiveInput(path) if is_archive(path) else LocalFiles(path, os.path.dirname(path))
    if _MAGIC.search(text):
        return LocalFiles(path, _fixed_part(path))
    raise JobError(f"{text}: {_fault_of(path)}")


def _fault_of(path: str) -> str:
    """Say why a path is neither a file nor a folder."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return "no such file or folder"
    except OSError as error:
        return error.strerror or str(error)
    return "is neither a regular file nor a folder"


def _open_remote(filesystem: Any, path: str, url: str) -> Input:
    if _MAGIC.search(path):
        return RemoteFolder(filesystem, _fixed_part(path), path)
    if is_archive(path):
        return ArchiveInput(url)
    if filesystem.isfile(path):
        return RemoteFile(filesystem, path)
    if filesystem.isdir(path):
        return RemoteFolder(filesystem, path)
    raise JobError(f"{url}: nothing is there")


def _fixed_part(pattern: str) -> str:
    """Return the folder that everything a glob finds is in."""
    parts = pattern.split("/")
    fixed = next(place for place, part in enumerate(parts) if _MAGIC.search(part))
    return "/".join(parts[:fixed]) or "/"
