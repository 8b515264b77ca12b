"""Where a job writes: a local folder or an object store, with its outputs and, under .gantry, its journals.

An output appears in two steps, so that a process may be killed between any two instructions. It is first staged; then
its journal line is written; then it is committed, which is atomic. `settle` finds out after a kill whether a staged
output was committed, and finishes what can be finished.
"""

import os
import re
from collections.abc import Iterator
from typing import Any, Protocol

from services.batch.faults import StorageError, storage_faults
from services.batch.local_store import LocalStore
from services.batch.object_store import ObjectStore

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_GOOGLE = ("gs://", "gcs://")
# What everybody may read, Google would answer with as it was up to an hour ago: a lock, for one.
_PRIVATE_GOOGLE = {"fixed_key_metadata": {"cache_control": "no-store"}}


class Journal(Protocol):
    """Lines that outlive the process, and the lock on them. Its methods block; threads may append side by side."""

    def append(self, line: bytes) -> None:
        """Write a line, which ends in a newline; when this returns, a kill does not lose it."""

    def close(self) -> None:
        """Give the lock back; nobody is to append any more."""


class Store(Protocol):
    """Outputs and journals. Names are relative, with slashes. All methods block; threads may call them side by side.

    Attributes:
        url: What the user called it.
    """

    url: str

    def is_taken(self, name: str) -> bool:
        """Say whether there is an output of this name, as far as can be told without a request; `commit` finds out."""

    def holds(self, name: str, size: int) -> bool:
        """Say whether an output that was once committed is still to be counted on."""

    def stage(self, name: str, data: bytes) -> None:
        """Prepare an output."""

    def commit(self, name: str, data: bytes, *, replace: bool) -> None:
        """Let a staged output appear, all of it at once.

        Raises:
            FileExistsError: There is one already, and it is not to be replaced.
        """

    def settle(self, name: str, digest: str) -> bool:
        """Commit an output that was staged by a process that is dead, unless that did it.

        Returns:
            Whether the output of this SHA-256 is there now.
        """

    def read_private(self, name: str) -> bytes | None:
        """Return a file of the job's own, None where there is none."""

    def write_private(self, name: str, data: bytes) -> None:
        """Write a file of the job's own, all of it at once."""

    def journals(self) -> list[str]:
        """Return the names of all journals, sorted."""

    def read_journal(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a journal in order; the last one may be torn."""

    def open_journal(self, name: str) -> Journal:
        """Lock a journal and open it to append.

        Raises:
            LockedError: Another process has it.
        """


def is_url(text: str) -> bool:
    """Say whether a text names something for fsspec; file:// is a local path by another name."""
    return _URL.match(text) is not None


def open_store(url: str) -> Store:
    """Open a folder, which need not be there yet, or an object store's prefix.

    Args:
        url: A local path, file://… or anything that fsspec knows, for example s3://bucket/prefix.

    Raises:
        StorageError: It cannot be used.
    """
    if not url:
        raise StorageError("the folder that outputs go to has no name")
    if not is_url(url):
        return LocalStore(url)
    if url.startswith("file://"):
        return LocalStore(url.removeprefix("file://"))
    filesystem, path = open_filesystem(url)
    return ObjectStore(filesystem, path, url, private_options=_PRIVATE_GOOGLE if url.startswith(_GOOGLE) else {})


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it; credentials are where its library looks for them.

    Raises:
        StorageError: fsspec, or what it needs for this kind of URL, is not installed, or does not know it; or the host
            cannot be reached.
    """
    try:
        import fsspec
    except ModuleNotFoundError:
        raise StorageError(f"{url}: URLs need fsspec; pip install 'gantry[batch]'") from None
    # What gcsfs has of its own for zonal buckets puts neither at once nor on a condition, and asks for the kind of a
    # bucket with every request where it may not know.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    with storage_faults(url):
        filesystem, path = fsspec.core.url_to_fs(url, **_options_of(url))
    return filesystem, str(path)


def _options_of(url: str) -> dict[str, Any]:
    """A job sees what others change; and listings of what was seen would only fill the memory."""
    return {"use_listings_cache": False} if url.startswith(("s3://", *_GOOGLE)) else {}
