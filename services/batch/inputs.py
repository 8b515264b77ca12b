"""Where a job's pictures come from: folders, files, globs and archives, local or behind a URL, and lists of files.

Listings are streamed: whatever the number of pictures, only those that are being made are in memory, and the names of
one folder.
"""

import glob
import json
import os
import re
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import PurePosixPath
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from services.batch.archives import MOST_BYTES, is_archive, open_archive
from services.batch.faults import ItemError, JobError
from services.batch.naming import Found, is_picture, is_text, shown, unsafe
from services.batch.storage import StorageError, is_url, open_filesystem

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
    if text.startswith("@"):
        return ListInput(text[1:])
    if is_url(text) and not text.startswith("file://"):
        try:
            filesystem, path = open_filesystem(text)
        except StorageError as error:
            raise JobError(str(error)) from error
        return _open_remote(filesystem, path.rstrip("/"), text)
    return _open_local(text.removeprefix("file://"))


def _open_local(text: str) -> Input:
    path = os.path.abspath(text)
    if os.path.isdir(path):
        return LocalFolder(path)
    if os.path.isfile(path):
        return ArchiveInput(path) if is_archive(path) else LocalFiles(path, os.path.dirname(path))
    if _MAGIC.search(text):
        return LocalFiles(path, _fixed_part(path))
    raise JobError(f"{text}: no such file or folder")


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
                        elif is_picture(entry.name) and entry.is_file():
                            yield _local(entry.path, os.path.relpath(entry.path, self._path), entry.stat())
            except OSError as error:
                raise JobError(f"{folder}: {error.strerror}") from error

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return _read_local(locator)


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
                yield _local(path, os.path.relpath(path, self._root), os.stat(path))

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return _read_local(locator)


class RemoteFile:
    """One object."""

    folder: str | None = None
    executor: Executor | None = None

    def __init__(self, filesystem: Any, path: str) -> None:
        """Prepare; takes fsspec's file system and a path in it."""
        self._filesystem, self._path = filesystem, path

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`."""
        yield _remote(self._filesystem, self._filesystem.info(self._path), PurePosixPath(self._path).name)

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return _read_remote(self._filesystem, locator)


class RemoteFolder:
    """All pictures below a prefix, or those that a glob finds there."""

    executor: Executor | None = None

    def __init__(self, filesystem: Any, path: str, pattern: str | None = None) -> None:
        """Prepare; takes fsspec's file system, the prefix's path in it, and perhaps a glob that begins with that."""
        self._filesystem, self._path, self._pattern = filesystem, path, pattern
        self.folder: str | None = None if pattern else str(filesystem.unstrip_protocol(path))

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`."""
        matches, depth = self._matcher()
        for _, _, files in self._filesystem.walk(self._path, maxdepth=depth, detail=True):
            for info in files.values():
                if matches(info["name"]):
                    name = str(info["name"])[len(self._path) :].lstrip("/")
                    yield _remote(self._filesystem, info, name)

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return _read_remote(self._filesystem, locator)

    def _matcher(self) -> tuple[Any, int | None]:
        """Return what tells whether a path is meant, and how deep such paths can lie."""
        if self._pattern is None:
            return is_picture, None
        from fsspec.utils import glob_translate

        beyond = self._pattern[len(self._path) :].strip("/")
        return re.compile(glob_translate(self._pattern)).match, None if "**" in beyond else beyond.count("/") + 1


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
        try:
            if is_url(name):
                filesystem, path = open_filesystem(name)
                fingerprint = _version_of(filesystem.info(path)) or ""
                self._archive = open_archive(name, fingerprint, lambda: _opened(filesystem, path))
            else:
                self._archive = open_archive(name, _local_version(os.stat(name)), lambda: open(name, "rb"))  # noqa: SIM115
        except OSError as error:
            raise JobError(f"{name}: {error}") from error

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`."""
        return self._archive.members()

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return self._archive.read(locator)


class ListInput:
    """Files that a list names, one a line: paths and URLs, or JSON objects {"input": …, "output": …}.

    A relative path is relative to the folder the job runs in and keeps its folders; of an absolute path and of a URL
    the whole path is kept, so that no two become one. `output`, which may be absent, is taken as it is.
    """

    folder: str | None = None
    executor: Executor | None = None

    def __init__(self, name: str) -> None:
        """Prepare; takes the path or URL of the list."""
        self._name = name
        self._filesystems: dict[str, Any] = {}

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`."""
        try:
            with closing(self._lines()) as lines:
                for number, line in enumerate(lines, start=1):
                    if text := line.strip():
                        yield self._found(text, f"{self._name}, line {number}")
        except (OSError, UnicodeDecodeError) as error:
            raise JobError(f"{self._name}: {error}") from error

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return _read_remote(*self._open(locator)) if is_url(locator) else _read_local(locator)

    def _lines(self) -> Generator[str, None, None]:
        if is_url(self._name):
            filesystem, path = self._open(self._name)
            with filesystem.open(path, "r", encoding="utf-8") as lines:
                yield from lines
        else:
            with open(self._name, encoding="utf-8") as lines:
                yield from lines

    def _found(self, text: str, place: str) -> Found:
        entry, output = _entry(text, place) if text.startswith("{") else (text, None)
        entry = entry.removeprefix("file://")
        if output is not None and (fault := unsafe(output)):
            raise JobError(f"{place}: output: {fault}")
        if is_url(entry):
            name = urlsplit(entry).path.strip("/")
            return Found(input=entry, name=name, output=output, locator=entry)
        path = os.path.abspath(entry)
        name = entry if not os.path.isabs(entry) and ".." not in entry.split("/") else path
        name = os.path.normpath(name).lstrip("/")
        try:
            return _local(path, name, os.stat(path), output)
        except OSError:  # Reading it will say what is wrong.
            return Found(input=path, name=name, output=output, locator=path)

    def _open(self, url: str) -> tuple[Any, str]:
        """Return the file system of a URL, one for all URLs of a kind."""
        scheme = url.partition("://")[0]
        if scheme not in self._filesystems:
            try:
                self._filesystems[scheme] = open_filesystem(url)[0]
            except StorageError as error:
                raise JobError(str(error)) from error
        filesystem = self._filesystems[scheme]
        return filesystem, str(filesystem._strip_protocol(url))


def _entry(text: str, place: str) -> tuple[str, str | None]:
    """Read a line of JSON."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise JobError(f"{place}: not JSON: {error}") from error
    entry, output = found.get("input"), found.get("output")
    if not isinstance(entry, str) or not entry or not isinstance(output, str | None) or found.keys() - _ENTRY_KEYS:
        raise JobError(f'{place}: must be {{"input": "…"}} or {{"input": "…", "output": "…"}}')
    return entry, output


_ENTRY_KEYS = {"input", "output"}


def _local(path: str, name: str, stat: os.stat_result, output: str | None = None) -> Found:
    name = name.replace(os.sep, "/")
    fault = None if output is not None and is_text(path) else unsafe(name)
    return Found(
        input=shown(path),
        name=shown(name),
        fingerprint=_local_version(stat),
        fault=fault,
        output=output,
        locator=shown(path),
    )


def _local_version(stat: os.stat_result) -> str:
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _remote(filesystem: Any, info: dict[str, Any], name: str) -> Found:
    path = str(info["name"])
    return Found(
        input=str(filesystem.unstrip_protocol(path)),
        name=name,
        fingerprint=_version_of(info),
        fault=unsafe(name),
        locator=path,
    )


def _version_of(info: dict[str, Any]) -> str | None:
    """Return what changes with an object: its ETag or another digest, else its size and time; None without either."""
    for key in ("ETag", "etag", "md5Hash"):
        if info.get(key):
            return str(info[key]).strip('"')
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        if info.get(key):
            return f"{info.get('size')}:{info[key]}"
    return None


def _read_local(path: str) -> bytes:
    with open(path, "rb") as file:
        _check_size(os.fstat(file.fileno()).st_size)
        return file.read()


def _read_remote(filesystem: Any, path: str) -> bytes:
    data = bytes(filesystem.cat_file(path))
    _check_size(len(data))
    return data


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ItemError("TOO_LARGE", f"it has {size} bytes; at most {MOST_BYTES} are read")


def _opened(filesystem: Any, path: str) -> IO[bytes]:
    file: IO[bytes] = filesystem.open(path, "rb")
    return file
