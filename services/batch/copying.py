"""Fill a model store: copy archives from a folder or an object store into a local folder, checked before they appear.

What a chart's init container runs. An archive appears under its name only when it is whole and sound; one that the
source shows to be the same as at the last copy is not fetched again.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from services.batch.remote_inputs import remote_version
from services.batch.storage import open_filesystem
from services.worker.archive import ArchiveError, open_archive

ENDING = ".mar"
# Remembers what was copied; also what two copiers of one folder queue for.
_RECORD = ".copied.json"
_CHUNK_BYTES = 1 << 20


@dataclass
class Copied:
    """What became of the archives of a source, by name.

    Attributes:
        fetched: Copied now.
        unchanged: Here already.
        refused: Not sound: name → what is wrong. One of that name that was here before stays.
        removed: No longer in the source.
    """

    fetched: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Copied:
    """An archive as it was copied.

    Attributes:
        source: URL or path it came from.
        identity: What the source said of its content; None where it says nothing.
        size: Of the copy in bytes.
        mtime_ns: Of the copy.
    """

    source: str
    identity: str | None
    size: int
    mtime_ns: int


def copy_archives(source: str, destination: Path, *, prune: bool = False) -> Copied:
    """Copy every archive of a source into a folder. One copier at a time works on a folder; others wait for it.

    Args:
        source: A folder, an archive or a glob: a local path or any fsspec URL, for example `s3://models/production`.
        destination: A local folder, made where it is missing.
        prune: Whether archives that the source does not have are removed from the folder.

    Returns:
        What was done.

    Raises:
        StorageError: There is nothing to read such a source with.
        OSError: The source cannot be read, has no archives or several of one name, or the folder cannot be written.
    """
    files, found = _find(source)
    destination.mkdir(parents=True, exist_ok=True)
    done = Copied()
    with _record_of(destination) as seen:
        for name, (path, info) in sorted(found.items()):
            _copy(files, path, info, destination / name, seen, done)
        if prune:
            for old in sorted(destination.glob(f"*{ENDING}")):
                if old.name not in found:
                    old.unlink()
                    seen.pop(old.name, None)
                    done.removed.append(old.name)
    return done


def _find(source: str) -> tuple[Any, dict[str, tuple[str, Mapping[str, Any]]]]:
    """Return the file system of a source, and the path and properties of its archives by name."""
    files, root = open_filesystem(source)
    pattern = root if "*" in root or root.endswith(ENDING) else f"{root.rstrip('/')}/*{ENDING}"
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for path, info in sorted(files.glob(pattern, detail=True).items()):
        name = path.rpartition("/")[2]
        if info["type"] != "file" or not name.endswith(ENDING):
            continue
        if name in found:
            raise OSError(f"{source} has two archives named {name}: {found[name][0]} and {path}")
        found[name] = path, info
    if not found:
        raise FileNotFoundError(f"{source} has no archives (*{ENDING})")
    return files, found


def _copy(files: Any, path: str, info: Mapping[str, Any], copy: Path, seen: dict[str, _Copied], done: Copied) -> None:
    source, identity = files.unstrip_protocol(path), remote_version(info)
    if identity is not None and copy.exists() and seen.get(copy.name) == _seen(copy, source, identity):
        done.unchanged.append(copy.name)
        return
    partial = copy.with_name(f".{copy.name}.partial")
    try:
        _fetch(files, path, partial)
        open_archive(partial)
        partial.replace(copy)
    except ArchiveError as error:
        done.refused[copy.name] = str(error)
        return
    finally:
        partial.unlink(missing_ok=True)
    seen[copy.name] = _seen(copy, source, identity)
    done.fetched.append(copy.name)


def _fetch(files: Any, path: str, target: Path) -> None:
    with files.open(path, "rb") as remote, target.open("wb") as local:
        shutil.copyfileobj(remote, local, _CHUNK_BYTES)
        local.flush()
        os.fsync(local.fileno())


def _seen(copy: Path, source: str, identity: str | None) -> _Copied:
    status = copy.stat()
    return _Copied(source, identity, status.st_size, status.st_mtime_ns)


@contextmanager
def _record_of(folder: Path) -> Iterator[dict[str, _Copied]]:
    """Have a folder to oneself, with the record of what was copied into it, which is kept however this ends."""
    with (folder / _RECORD).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        seen = _read(file.read())
        try:
            yield seen
        finally:
            file.truncate(0)
            json.dump({name: asdict(one) for name, one in seen.items()}, file, indent=1)
            file.write("\n")


def _read(text: str) -> dict[str, _Copied]:
    """Read a record. One that a killed copier left unfinished counts for nothing: all is fetched again."""
    try:
        return {name: _Copied(**one) for name, one in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}
