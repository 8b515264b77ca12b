"""Pictures out of tar and zip archives, which are read where they lie: nothing is ever extracted to a disk."""

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

from services.batch.faults import ItemError, JobError
from services.batch.naming import Found, is_picture, shown, unsafe

# A picture that is larger than any gateway takes is not even read.
MOST_BYTES = 1 << 28

_PIECE_BYTES = 1 << 20

_TAR_SUFFIXES: dict[str, Any] = {
    ".tar": None,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
}
# What the standard library raises of an archive, besides OSError: RuntimeError where a member is encrypted.
_DAMAGED = (
    EOFError,
    NotImplementedError,
    RuntimeError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class PictureArchive(Protocol):
    """An archive of pictures. Its methods are called one after another, and reading goes forward."""

    def members(self) -> Iterator[Found]:
        """Yield its pictures in the order of the archive."""

    def read(self, locator: str) -> bytes:
        """Return a picture as a file."""


def is_archive(name: str) -> bool:
    """Say whether a name ends like that of an archive."""
    return name.lower().endswith((*_TAR_SUFFIXES, ".zip"))


def open_picture_archive(name: str, fingerprint: str | None, open_file: Callable[[], IO[bytes]]) -> PictureArchive:
    """Prepare an archive.

    Args:
        name: Its path or URL, whose ending tells what it is.
        fingerprint: Tells it from what it was before it changed; None where nothing does.
        open_file: Opens it as a file that can seek.
    """
    if name.lower().endswith(".zip"):
        return _Zip(name, fingerprint, open_file)
    suffix = max((suffix for suffix in _TAR_SUFFIXES if name.lower().endswith(suffix)), key=len)
    return _Tar(name, fingerprint, open_file, _TAR_SUFFIXES[suffix])


class _Tar:
    """A tar. The place of each member is kept, so that it is read without reading the headers again."""

    def __init__(
        self, name: str, fingerprint: str | None, open_file: Callable[[], IO[bytes]], decompressor: Any
    ) -> None:
        self._name, self._fingerprint = name, fingerprint
        self._open_file, self._decompressor = open_file, decompressor
        self._file: IO[bytes] | None = None

    def members(self) -> Iterator[Found]:
        try:
            with self._open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # It would remember them all.
                    if not member.isdir() and is_picture(member.name):
                        yield self._found(member)
                # The checksum of what is compressed stands behind the last member.
                while file.read(_PIECE_BYTES):
                    pass
        except (*_DAMAGED, OSError) as error:
            raise JobError(f"{self._name}: {error}") from error

    def read(self, locator: str) -> bytes:
        start, _, size = locator.partition("+")
        try:
            if self._file is None:
                self._file = self._open()
            self._file.seek(int(start))
            data = self._file.read(int(size))
        except _DAMAGED as error:
            raise OSError(f"damaged: {error}") from error
        if len(data) < int(size):
            raise OSError("cut short")
        return data

    def _found(self, member: tarfile.TarInfo) -> Found:
        fault = unsafe(member.name)
        if fault is None and (not member.isreg() or member.issparse()):
            fault = "is a link or no ordinary file"
        return Found(
            input=shown(f"{self._name}!{member.name}"),
            name=shown(member.name),
            fingerprint=self._fingerprint and f"{self._fingerprint}:{member.offset_data}+{member.size}",
            fault=fault or too_large(member.size),
            locator=f"{member.offset_data}+{member.size}",
        )

    def _open(self) -> IO[bytes]:
        file = self._open_file()
        return self._decompressor(file) if self._decompressor else file


class _Zip:
    """A zip. Its table of contents is in memory while it is read."""

    def __init__(self, name: str, fingerprint: str | None, open_file: Callable[[], IO[bytes]]) -> None:
        self._name, self._fingerprint, self._open_file = name, fingerprint, open_file
        self._zip: zipfile.ZipFile | None = None

    def members(self) -> Iterator[Found]:
        try:
            for member in self._opened().infolist():
                if not member.is_dir() and is_picture(member.filename):
                    yield Found(
                        input=f"{self._name}!{member.filename}",
                        name=member.filename,
                        fingerprint=self._fingerprint and f"{self._fingerprint}:{member.header_offset}+{member.CRC}",
                        fault=unsafe(member.filename) or too_large(member.file_size),
                        locator=member.filename,
                    )
        except (*_DAMAGED, OSError) as error:
            raise JobError(f"{self._name}: {error}") from error

    def read(self, locator: str) -> bytes:
        try:
            with self._opened().open(locator) as member:
                # What the table says of its size need not be true.
                data = member.read(MOST_BYTES + 1)
        except _DAMAGED as error:
            raise OSError(f"damaged, encrypted or packed in an unknown way: {error}") from error
        if fault := too_large(len(data)):
            raise ItemError("BAD_MEMBER", fault)
        return data

    def _opened(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = zipfile.ZipFile(self._open_file())
        return self._zip


def too_large(size: int) -> str | None:
    """Say why a picture of so many bytes is not read; None where it is."""
    return f"it has {size} bytes; at most {MOST_BYTES} are read" if size > MOST_BYTES else None


def check_size(size: int) -> None:
    """Raise ItemError where a picture of so many bytes is not read."""
    if fault := too_large(size):
        raise ItemError("TOO_LARGE", fault)
