"""Reads pictures out of folders, zips and tars: the one reader of labelled and of unpaired pictures.

What archivers and file managers leave beside pictures (`__MACOSX`, hidden files) is passed over. Links are followed.
"""

import bz2
import gzip
import io
import lzma
import os
import posixpath
import shutil
import tarfile
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track
from torch import Tensor

from training.data.dataset import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")

_DECOMPRESSORS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
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
        open: Opens a picture's file; from any thread.
    """

    path: Path
    files: Sequence[File]
    open: Callable[[File], BinaryIO]


class Header(NamedTuple):
    """What a picture's first bytes tell: width and height as stored, and whether it is grey."""

    width: int
    height: int
    grey: bool


def open_source(path: Path) -> Source:
    """Lists the pictures of a folder, a zip or a tar.

    Args:
        path: Where it is.

    Returns:
        The source; there may be no pictures in it.

    Raises:
        DataError: If it is none of these, or is broken.
    """
    try:
        return _folder(path) if path.is_dir() else _archive(path)
    except Exception as error:  # a broken archive makes Python's readers raise almost anything
        raise DataError(f"{path}: not a readable folder, zip or tar: {str(error) or type(error).__name__}") from error


def read_header(source: Source, file: File) -> Header:
    """Reads what a picture is like, without decoding it.

    Raises:
        DataError: If it cannot be read; the message names it.
    """
    return _read(source, file, lambda picture: Header(*picture.size, grey=_is_grey(picture)))


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

    def square(picture: Image.Image) -> Tensor:
        picture.draft(None, (2 * size, 2 * size))  # lets a large JPEG be decoded at a fraction of its size
        whole = _flattened(picture, mode)
        side = min(whole.size)
        left, top = (whole.width - side) // 2, (whole.height - side) // 2
        middle = whole.crop((left, top, left + side, top + side))
        return _tensor(middle.resize((size, size), Image.Resampling.BICUBIC))

    return _read(source, file, square)


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

    def whole(picture: Image.Image) -> Tensor:
        rgb = _flattened(picture, "RGB")
        return _tensor(rgb.resize(shrunk(rgb.width, rgb.height, max_side), Image.Resampling.BICUBIC))

    return _read(source, file, whole)


def shrunk(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """The size of a picture whose shorter side may have this length at most."""
    scale = min(1.0, max_side / min(width, height)) if max_side else 1.0
    return round(width * scale), round(height * scale)


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], title: str | None = None) -> Iterator[Result]:
    """Maps a function over items in threads, in order; decoders let go of Python's lock.

    Args:
        function: What to call.
        items: What to call it with.
        title: If given, progress is shown under it on a terminal.

    Yields:
        The results.
    """
    threads = min(_THREADS, len(os.sched_getaffinity(0)))
    chunk = max(1, min(_CHUNK, len(items) // (4 * threads)))
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        results: Iterable[Result] = chain.from_iterable(
            pool.map(lambda part: [function(item) for item in part], chunks)
        )
        if title and (console := Console(stderr=True)).is_terminal:
            results = track(results, title, len(items), console=console, transient=True)
        yield from results


def is_picture(name: str) -> bool:
    """Whether a file of this name is a picture that is read."""
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_visible(name: str) -> bool:
    """Whether a file or folder of this name is looked at."""
    return name != "__MACOSX" and not name.startswith(".")


def _folder(root: Path) -> Source:
    def refuse(error: OSError) -> None:
        raise error

    files = []
    for folder, inner, names in os.walk(root, onerror=refuse, followlinks=True):
        inner[:] = filter(is_visible, inner)
        for name in names:
            if is_visible(name) and is_picture(name):
                place = os.path.join(folder, name)
                files.append(File(os.path.relpath(place, root), os.stat(place).st_size, 0, place))
    return Source(root, sorted(files), lambda file: open(file.place, "rb"))


def _archive(path: Path) -> Source:
    archive: Any
    stream: Any
    if tarfile.is_tarfile(path):
        stream = _unpacked(path)
        archive = tarfile.open(fileobj=stream)  # noqa: SIM115  # closed with its source
        entries = [(member.name, member.size, 0, member) for member in archive if not member.isdir()]
        reader = archive.extractfile
    else:
        stream = archive = zipfile.ZipFile(path)
        entries = [(entry.filename, entry.file_size, entry.CRC, entry) for entry in archive.infolist()]
        reader = archive.open
    lock = threading.Lock()

    def opened(file: File) -> BinaryIO:
        with lock, reader(file.place) as stored:
            return io.BytesIO(stored.read())

    files = [File(posixpath.normpath(name).lstrip("/"), *entry) for name, *entry in entries if name[-1] != "/"]
    shown = {file.path: file for file in files if is_picture(file.path) and all(map(is_visible, file.path.split("/")))}
    source = Source(path, sorted(shown.values()), opened)
    weakref.finalize(source, stream.close)
    return source


def _unpacked(path: Path) -> BinaryIO:
    """The tar in a file: itself, or in a temporary file, since only there its pictures can be read in any order."""
    decompress = _DECOMPRESSORS.get(path.suffix.lower())
    if decompress is None:
        return path.open("rb")
    plain = tempfile.TemporaryFile()  # noqa: SIM115  # closed with its source
    with decompress(path) as packed:
        shutil.copyfileobj(packed, plain, 1 << 20)
    plain.seek(0)
    return plain


def _read(source: Source, file: File, use: Callable[[Image.Image], Result]) -> Result:
    """Opens a picture and gives what is made of it; whatever reading it raises becomes a DataError that names it."""
    try:
        with source.open(file) as stream, Image.open(stream) as picture:
            return use(picture)
    except Exception as error:  # a broken file makes Pillow's readers raise almost anything
        unknown = isinstance(error, UnidentifiedImageError)  # whose message shows a Python object
        reason = "its bytes are of no known format" if unknown else str(error) or type(error).__name__
        raise DataError(f"{source.path}: {file.path}: not a readable picture: {reason}") from error


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
