"""Files that a list names, local or behind URLs."""

import json
import os
from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from services.batch.faults import JobError, storage_faults
from services.batch.local_inputs import local_picture, read_local
from services.batch.naming import Found, unsafe
from services.batch.remote_inputs import read_remote
from services.batch.storage import is_url, open_filesystem

_ENTRY_KEYS = {"input", "output"}


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
        with storage_faults(self._name), closing(self._lines()) as lines:
            for number, line in enumerate(lines, start=1):
                if text := line.strip():
                    yield self._found(text, f"{self._name}, line {number}")

    def read(self, locator: str) -> bytes:
        """See `Input.read`."""
        return read_remote(*self._open(locator)) if is_url(locator) else read_local(locator)

    def _lines(self) -> Generator[str, None, None]:
        opening, name = open, self._name
        if is_url(self._name):
            filesystem, name = self._open(self._name)
            opening = filesystem.open
        # Some editors begin a file with a byte order mark.
        with opening(name, "r", encoding="utf-8-sig") as lines:
            try:
                yield from lines
            except UnicodeDecodeError as error:
                raise JobError(f"{self._name}: must be UTF-8") from error

    def _found(self, text: str, place: str) -> Found:
        if "\0" in text:
            raise JobError(f"{place}: has a NUL character; a list must be UTF-8")
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
        return local_picture(path, name, output)

    def _open(self, url: str) -> tuple[Any, str]:
        """Return the file system of a URL, one for all URLs of a host or bucket."""
        host = "://".join(urlsplit(url)[:2])
        if host not in self._filesystems:
            self._filesystems[host] = open_filesystem(url)[0]
        filesystem = self._filesystems[host]
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
