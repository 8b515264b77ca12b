"""Pictures behind URLs: single objects, all below a prefix, and globs; through fsspec."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import PurePosixPath
from typing import Any

from services.batch.archives import check_size, too_large
from services.batch.faults import storage_faults
from services.batch.naming import Found, is_picture, unsafe
from services.batch.remote_listing import objects_below


class RemoteFile:
    """One object."""

    folder: str | None = None
    executor: Executor | None = None

    def __init__(self, filesystem: Any, path: str) -> None:
        """Prepare; takes fsspec's file system and a path in it."""
        self._filesystem, self._path = filesystem, path

    def pictures(self) -> Iterator[Found]:
        """See `Input.pictures`."""
        yield remote_picture(self._filesystem, self._filesystem.info(self._path), PurePosixPath(self._path).name)

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return read_remote(self._filesystem, locator)


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
        with storage_faults(str(self._filesystem.unstrip_protocol(self._path))):
            for info in objects_below(self._filesystem, self._path, depth):
                if matches(info["name"]):
                    name = str(info["name"])[len(self._path) :].removeprefix("/")
                    yield remote_picture(self._filesystem, info, name)

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return read_remote(self._filesystem, locator)

    def _matcher(self) -> tuple[Any, int | None]:
        """Return what tells whether a path is meant, and how deep such paths can lie."""
        if self._pattern is None:
            return is_picture, None
        from fsspec.utils import glob_translate

        beyond = self._pattern[len(self._path) :].strip("/")
        return re.compile(glob_translate(self._pattern)).match, None if "**" in beyond else beyond.count("/") + 1


def remote_picture(filesystem: Any, info: Mapping[str, Any], name: str) -> Found:
    """Describe an object.

    Args:
        filesystem: fsspec's.
        info: What that tells of the object.
        name: Its path relative to the input.
    """
    path = str(info["name"])
    return Found(
        input=str(filesystem.unstrip_protocol(path)),
        name=name,
        fingerprint=remote_version(info),
        fault=_unfaithful(name) or unsafe(name) or too_large(info.get("size") or 0),
        locator=path,
    )


def _unfaithful(name: str) -> str | None:
    """Say why a file cannot be called like an object; None where it can."""
    return f"the name {name!r} has an empty part, which a file's cannot have" if "//" in f"/{name}" else None


def remote_version(info: Mapping[str, Any]) -> str | None:
    """Return what changes with an object: its ETag or another digest, else its size and time; None without either."""
    for key in ("ETag", "etag", "md5Hash"):
        if info.get(key):
            return str(info[key]).strip('"')
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        if info.get(key):
            return f"{info.get('size')}:{info[key]}"
    return None


def read_remote(filesystem: Any, path: str) -> bytes:
    """Return an object's bytes.

    Raises:
        OSError: It cannot be read.
        ItemError: It is too large.
        StorageError: Its store cannot be used.
    """
    with storage_faults(path, OSError):
        data = bytes(filesystem.cat_file(path))
    check_size(len(data))
    return data
