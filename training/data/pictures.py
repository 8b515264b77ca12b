"""Reads pictures out of folders, zips and tars: the one reader of labelled and of unpaired pictures.

What archivers and file managers leave beside pictures (`__MACOSX`, hidden files) is passed over. Links are followed.
"""

import bz2
import errno
import gzip
import io
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from training.data.dataset import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")

_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,  # a zip's unknown compression
    ValueError,  # a zip's impossible offsets
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
_DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_CHUNK = 64  # pictures that a thread takes at a time
_THREADS = 8  # at most; more only wait for each other

Mode = Literal["L", "RGB"]
Item = TypeVar("Item")
Result = TypeVar("Result")


class File(NamedTuple):
    """A picture's file.

    Attributes:
        path: Within the source, with slashes.
        size: Bytes.
        check: Checksum where the source keeps one, else 0.
        place: Where the source finds it.
    """

    path: str
    size: int
    check: int
    place: Any


@dataclass(frozen=True)
class Source:
    """A folder, a zip or a tar.

    Attributes:
        path: Where it is.
        files: Its pictures, in the order of their paths.
        folders: Paths of its folders, as far as they are entries of their own.
        open: Opens a picture's file; from any thread.
    """

    path: Path
    files: Sequence[File]
    folders: frozenset[str]
    open: Callable[[File], BinaryIO]


class Header(NamedTuple):
    """What a picture's first bytes tell: width and height as stored, and whether it is grey."""

    width: int
    height: int
    grey: bool


def open_source(path: Path) -> Source:
    """Lists the pictures of a folder, a zip or a tar.

    A compressed tar is unpacked into a temporary file first, since its pictures can be read in any order only there.

    Args:
        path: Where it is.

    Returns:
        The source; there may be no pictures in it.

    Raises:
        DataError: If it is none of these, or is broken or locked.
    """
    try:
        if path.is_dir():
            return _folder(path)
        return _tar(path) if tarfile.is_tarfile(path) else _zip(path)
    except _UNREADABLE as error:
        raise DataError(f"{path}: not a readable folder, zip or tar: {str(error) or type(error).__name__}") from error


def read_header(source: Source, file: File) -> Header:
    """Reads what a picture is like, without decoding it.

    Raises:
        DataError: If it cannot be read; the message names it.
    """
    with _named(source, file), source.open(file) as stream, Image.open(stream) as picture:
        return Header(*picture.size, grey=_is_grey(picture))
    raise AssertionError("unreachable")


def read_square(source: Source, file: File, mode: Mode, size: int) -> Tensor:
    """Reads a picture, cuts the square in its middle and resizes it, antialiased.

    Args:
        source: Where the file is.
        file: The picture.
        mode: "L" for grey, "RGB" for colour.
        size: Side in pixels.

    Returns:
        uint8 [1 or 3, size, size].

    Raises:
        DataError: If it cannot be read; the message names it.
    """
    with _named(source, file), source.open(file) as stream, Image.open(stream) as picture:
        picture.draft(None, (2 * size, 2 * size))  # lets a large JPEG be decoded at a fraction of its size
        whole = _flattened(picture, mode)
        side = min(whole.size)
        left, top = (whole.width - side) // 2, (whole.height - side) // 2
        square = whole.crop((left, top, left + side, top + side))
        return _tensor(square.resize((size, size), Image.Resampling.BICUBIC))
    raise AssertionError("unreachable")


def read_picture(source: Source, file: File, max_side: int | None = None) -> Tensor:
    """Reads a picture at its own size.

    Args:
        source: Where the file is.
        file: The picture.
        max_side: If its shorter side is longer, it is made smaller, so that this is its length.

    Returns:
        uint8 [3, H, W].

    Raises:
        DataError: If it cannot be read; the message names it.
    """
    with _named(source, file), source.open(file) as stream, Image.open(stream) as picture:
        rgb = _flattened(picture, "RGB")
        if max_side and min(rgb.size) > max_side:
            rgb = rgb.resize(shrunk(rgb.width, rgb.height, max_side), Image.Resampling.BICUBIC)
        return _tensor(rgb)
    raise AssertionError("unreachable")


def shrunk(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """The size of a picture whose shorter side may have this length at most."""
    scale = min(1.0, max_side / min(width, height)) if max_side else 1.0
    return round(width * scale), round(height * scale)


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], title: str | None = None) -> Iterator[Result]:
    """Maps a function over items in threads, in order; decoders let go of Python's lock.

    Args:
        function: What to call.
        items: What to call it with.
        title: If given, progress is shown under it on a terminal, should it take more than a second.

    Yields:
        The results.
    """
    threads = min(_THREADS, len(os.sched_getaffinity(0)))
    chunk = max(1, min(_CHUNK, len(items) // (4 * threads)))
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    hidden = None if title else True  # None is hidden where there is no terminal
    bar = tqdm(desc=title, total=len(items), unit="picture", delay=1, leave=False, disable=hidden)
    with bar, ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        for results in pool.map(lambda part: [function(item) for item in part], chunks):
            yield from results
            bar.update(len(results))


def is_picture(name: str) -> bool:
    """Whether a file of this name is a picture that is read."""
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_visible(name: str) -> bool:
    """Whether a file or folder of this name is looked at."""
    return name != "__MACOSX" and not name.startswith(".")


def _folder(root: Path) -> Source:
    files: list[File] = []
    folders: set[str] = set()

    def walk(folder: str, path: str, above: frozenset[tuple[int, int]]) -> None:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link back
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                inner = f"{path}{entry.name}"
                if not is_visible(entry.name):
                    continue
                if entry.is_dir():
                    folders.add(inner)
                    walk(entry.path, f"{inner}/", above | {here})
                elif is_picture(entry.name):
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        files.append(File(inner, status.st_size, 0, entry.path))

    walk(str(root), "", frozenset())
    return Source(root, sorted(files), frozenset(folders), lambda file: open(file.place, "rb"))


def _zip(path: Path) -> Source:
    archive = zipfile.ZipFile(path)
    lock = threading.Lock()
    found = {}
    for entry in archive.infolist():
        found[_clean(entry.filename)] = (entry.is_dir(), entry.file_size, entry.CRC, entry)
        if entry.flag_bits & 1:
            raise OSError(f"{entry.filename} needs a password; unpack it")

    def read(file: File) -> BinaryIO:
        with lock:
            return io.BytesIO(archive.read(file.place))

    return _archive(path, found, read, archive)


def _tar(path: Path) -> Source:
    plain = _decompressed(path)
    places: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    folders: set[str] = set()
    with tarfile.open(fileobj=plain, mode="r:") as archive:
        for member in archive:
            name = _clean(member.name)
            if member.isreg():
                places[name] = (member.offset_data, member.size)
            elif member.isdir():
                folders.add(name)
            elif member.islnk():
                links[name] = _clean(member.linkname)
            elif member.issym():
                links[name] = _clean(posixpath.join(posixpath.dirname(name), member.linkname))
    for name in filter(is_picture, links):
        places[name] = _followed(name, links, places)
    found: dict[str, tuple[bool, int, int, Any]]
    found = {name: (False, size, 0, offset) for name, (offset, size) in places.items()}
    found.update((name, (True, 0, 0, None)) for name in folders)
    return _archive(path, found, lambda file: io.BytesIO(os.pread(plain.fileno(), file.size, file.place)), plain)


def _followed(name: str, links: Mapping[str, str], places: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    target = name
    for _ in range(len(links)):
        if target in places:
            break
        target = links.get(target, target)
    if target not in places:
        raise tarfile.TarError(f"{name} is a link to {links[name]}, which is not there")
    return places[target]


def _decompressed(path: Path) -> BinaryIO:
    """The tar itself, or what is compressed in it, unpacked into a temporary file."""
    with path.open("rb") as file:
        magic = file.read(6)
    decompress = next((reader for start, reader in _DECOMPRESSORS.items() if magic.startswith(start)), None)
    if decompress is None:
        return path.open("rb")
    plain = tempfile.TemporaryFile()  # noqa: SIM115  # closed with its source
    try:
        with decompress(path) as packed:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except BaseException as error:
        plain.close()
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            where = tempfile.gettempdir()
            raise OSError(f"{where} has no room to unpack it; unpack it yourself, or set TMPDIR") from error
        raise
    plain.seek(0)
    return plain


def _archive(
    path: Path, found: Mapping[str, tuple[bool, int, int, Any]], read: Callable[[File], BinaryIO], file: Any
) -> Source:
    visible = {name: entry for name, entry in found.items() if all(map(is_visible, name.split("/")))}
    files = [
        File(name, size, check, place)
        for name, (is_folder, size, check, place) in sorted(visible.items())
        if not is_folder and is_picture(name)
    ]
    source = Source(path, files, frozenset(name for name, entry in visible.items() if entry[0]), read)
    weakref.finalize(source, file.close)
    return source


def _clean(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")


class _named:  # noqa: N801  # used like a function
    """Turns whatever a picture's reading raises into a DataError that names it."""

    def __init__(self, source: Source, file: File) -> None:
        self._what = f"{source.path}: {file.path}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):  # a broken file makes Pillow's readers raise almost anything
            unknown = isinstance(error, UnidentifiedImageError)  # whose message shows a Python object
            reason = "its bytes are of no known format" if unknown else str(error) or type(error).__name__
            raise DataError(f"{self._what}: not a readable picture: {reason}") from error


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode == "P":
        red, green, blue = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3).T
        return bool((red == green).all() and (green == blue).all())
    return picture.mode in ("1", "L", "LA", "La", "I", "F") or picture.mode.startswith("I;16")


def _flattened(picture: Image.Image, mode: Mode) -> Image.Image:
    """Upright, with 8 bits a channel; what is transparent becomes white."""
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I;16") or (upright.mode == "I" and picture.format in ("PNG", "PPM")):
        # Grey of 16 bits, which `convert` would clip.
        return Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert(mode)
    if upright.mode in ("I", "F"):
        raise ValueError("it has 32 bits a channel; 8 and 16 are read")
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert(mode)
    return upright.convert(mode)


def _tensor(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
