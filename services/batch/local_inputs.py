"""Pictures in local folders and files."""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from fnmatch import fnmatchcase

from services.batch.archives import check_size
from services.batch.faults import ItemError, JobError
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
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif is_picture(entry.name) and _is_item(entry):
                    yield local_picture(entry.path, entry.path[len(self._path) :].lstrip("/"))

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
        if os.path.isfile(self._pattern):
            yield local_picture(self._pattern, os.path.relpath(self._pattern, self._root))
            return
        for entry in _matches(self._root, os.path.relpath(self._pattern, self._root).split("/")):
            if _is_item(entry):
                yield local_picture(entry.path, os.path.relpath(entry.path, self._root))

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


def local_version(found: os.stat_result) -> str:
    """Return what changes with a file: its size and time."""
    return f"{found.st_size}:{found.st_mtime_ns}"


def read_local(path: str) -> bytes:
    """Return a file's bytes.

    Raises:
        OSError: It cannot be read.
        ItemError: It is too large, or no regular file.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):  # Of others some never end, or wait for somebody to open them too.
        raise ItemError("UNREADABLE", "is not a regular file")
    check_size(found.st_size)
    with open(path, "rb") as file:
        return file.read()


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder; JobError where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise JobError(f"{folder}: {error.strerror}") from error


def _matches(folder: str, parts: Sequence[str]) -> Iterator[os.DirEntry[str]]:
    """Yield what the parts of a glob find in a folder. As in shells, ** does not follow links, and * finds no .name."""
    part, *rest = parts
    if part == "**":
        yield from _matches(folder, rest or ["*"])
    for entry in _entries(folder):
        if entry.name.startswith(".") and not part.startswith("."):
            continue
        if part == "**":
            if entry.is_dir(follow_symlinks=False):
                yield from _matches(entry.path, parts)
        elif fnmatchcase(entry.name, part):
            if not rest:
                yield entry
            elif os.path.isdir(entry.path):
                yield from _matches(entry.path, rest)


def _is_item(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is a file, or what reading it will find to be none."""
    try:
        # A link that leads nowhere is a picture that is missing.
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:  # A link in a circle, or through a folder that may not be entered.
        return True
