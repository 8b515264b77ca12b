"""Pictures in local folders and files."""

import glob
import os
from collections.abc import Iterator
from concurrent.futures import Executor

from services.batch.archives import check_size
from services.batch.faults import JobError
from services.batch.naming import Found, is_picture, is_text, shown, unsafe


class LocalFolder:
    """All pictures in a folder and the folders in it."""

    executor: Executor | None = None

    def __init__(self, path: str) -> None:
        """Prepare; takes an absolute path."""
        self.folder: str | None = path
        self._path = path

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`; in no particular order."""
        folders = [self._path]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        # A link that leads nowhere is a picture that is missing.
                        elif is_picture(entry.name) and (entry.is_file() or not os.path.exists(entry.path)):
                            yield local_picture(entry.path, entry.path[len(self._path) :].lstrip("/"))
            except OSError as error:
                raise JobError(f"{folder}: {error.strerror}") from error

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return read_local(locator)


class LocalFiles:
    """A file, or what a glob finds."""

    folder: str | None = None
    executor: Executor | None = None

    def __init__(self, pattern: str, root: str) -> None:
        """Prepare.

        Args:
            pattern: Absolute path or glob.
            root: The folder that the pictures' names are relative to.
        """
        self._pattern, self._root = pattern, root

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`."""
        paths = [self._pattern] if os.path.isfile(self._pattern) else glob.iglob(self._pattern, recursive=True)
        for path in paths:
            if os.path.isfile(path):
                yield local_picture(path, os.path.relpath(path, self._root))

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return read_local(locator)


def local_picture(path: str, name: str, output: str | None = None) -> Found:
    """Describe a file.

    Args:
        path: Its absolute path; there need not be anything.
        name: Its path relative to the input.
        output: Name of its output where the user gave one.
    """
    try:
        fingerprint = local_version(os.stat(path))
    except OSError:  # Reading it will say what is wrong.
        fingerprint = None
    fault = None if output is not None and is_text(path) else unsafe(name)
    return Found(
        input=shown(path),
        name=shown(name),
        fingerprint=fingerprint,
        fault=fault,
        output=output,
        locator=shown(path),
    )


def local_version(stat: os.stat_result) -> str:
    """Return what changes with a file: its size and time."""
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def read_local(path: str) -> bytes:
    """Return a file's bytes.

    Raises:
        OSError: It cannot be read.
        ItemError: It is too large.
    """
    with open(path, "rb") as file:
        check_size(os.fstat(file.fileno()).st_size)
        return file.read()
