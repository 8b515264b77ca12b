"""Reads pictures out of folders, zips and tars: the one reader of labelled and of unpaired pictures.

What archivers and file managers leave beside pictures (`__MACOSX`, hidden files) is passed over. Links are followed.
A picture that cannot be read raises a DataError that names it.
"""

import io
import os
import posixpath
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track
from torch import Tensor

from training.data.dataset import DataError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_CHUNK = 64  # pictures that a thread takes at a time
_THREADS = 8  # at most; more only wait for each other

Mode = Literal["L", "RGB"]
Item = TypeVar("Item")
Result = TypeVar("Result")


class File(NamedTuple):
    """A picture's file in a folder or an archive."""

    path: str  # within the source, with slashes
    size: int  # in bytes
    check: int  # a checksum where the archive keeps one, else 0
    source: Path
    open: Callable[[], Any]  # gives a binary stream; from any thread


def picture_files(source: Path, notes: Sequence[str] = ()) -> list[File]:
    """Lists the pictures of a folder, a zip or a tar, in the order of their paths.

    Args:
        source: Where they are.
        notes: Names of other files that are listed too.

    Raises:
        DataError: If it is none of these, or is broken.
    """
    try:
        found = (_in_folder if source.is_dir() else _in_archive)(source, partial(_is_wanted, notes))
        return sorted({file.path: file for file in found}.values())
    except Exception as error:  # a broken archive makes Python's readers raise almost anything
        reason = "it is damaged, cut short or something else"
        if isinstance(error, OSError) and error.filename:
            reason = f"{error.strerror}: {error.filename}"
        raise DataError(f"{source}: not a readable folder, zip or tar: {reason}") from error


def read_header(file: File) -> tuple[tuple[int, int], bool]:
    """A picture's width and height as stored, and whether it is grey, without decoding it."""
    with _opened(file) as picture:
        return picture.size, _is_grey(picture)


def read_square(file: File, mode: Mode, size: int) -> Tensor:
    """The square in a picture's middle, resized and antialiased: uint8 [1 or 3, size, size]."""
    with _opened(file) as picture:
        picture.draft(None, (2 * size, 2 * size))  # lets a large JPEG be decoded at a fraction of its size
        whole = _flattened(picture, mode)
        side = min(whole.size)
        left, top = (whole.width - side) // 2, (whole.height - side) // 2
        return _resized(whole.crop((left, top, left + side, top + side)), (size, size))


def read_picture(file: File, max_side: int | None = None) -> Tensor:
    """A picture at the size that `shrunk` says: uint8 [3, H, W]."""
    with _opened(file) as picture:
        rgb = _flattened(picture, "RGB")
        return _resized(rgb, shrunk(rgb.size, max_side))


def shrunk(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """The size of a picture whose shorter side may have this length at most."""
    scale = min(1.0, max_side / min(size)) if max_side else 1.0
    return round(size[0] * scale), round(size[1] * scale)


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], title: str | None = None) -> Iterator[Result]:
    """Maps a function over items in threads, in order; a title shows progress under it on a terminal."""
    threads = min(_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPool(threads) as pool:
        results = pool.imap(function, items, max(1, min(_CHUNK, len(items) // (4 * threads))))
        shown = track(results, title, len(items), console=Console(stderr=True), transient=True) if title else results
        yield from shown


def is_picture(path: str) -> bool:
    """Whether a file of this name, or path with slashes, is a picture that is read."""
    return _is_wanted((), path)


def is_visible(name: str) -> bool:
    """Whether a file or folder of this name is looked at."""
    return name != "__MACOSX" and not name.startswith(".")


def _is_wanted(notes: Sequence[str], path: str) -> bool:
    *folders, name = path.split("/")
    return (name.lower().endswith(IMAGE_SUFFIXES) or name in notes) and all(map(is_visible, (*folders, name)))


def _in_folder(root: Path, is_wanted: Callable[[str], bool]) -> Iterator[File]:
    def refuse(error: OSError) -> None:
        raise error

    for folder, inner, names in os.walk(root, onerror=refuse, followlinks=True):
        inner[:] = filter(is_visible, inner)
        for place in (Path(folder, name) for name in names if is_wanted(name)):
            yield File(str(place.relative_to(root)), place.stat().st_size, 0, root, partial(place.open, "rb"))


def _in_archive(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[File]:
    archive: Any
    if tarfile.is_tarfile(path):
        archive = tarfile.open(fileobj=_unpacked(path))  # noqa: SIM115  # closed with the last of its files
        entries = [(member.name, member.size, 0, member) for member in archive if not member.isdir()]
        reader = archive.extractfile
    else:
        archive = zipfile.ZipFile(path)
        members = [member for member in archive.infolist() if not member.is_dir()]
        entries = [(member.filename, member.file_size, member.CRC, member) for member in members]
        reader = archive.open
    lock = threading.Lock()

    def opened(member: Any) -> BinaryIO:
        with lock, reader(member) as stored:
            return io.BytesIO(stored.read())

    for name, size, check, member in entries:
        if is_wanted(inner := posixpath.normpath(name).lstrip("/")):
            yield File(inner, size, check, path, partial(opened, member))


def _unpacked(path: Path) -> BinaryIO:
    """The tar in a file: itself, or in a temporary file, since only there its pictures can be read in any order."""
    with tarfile.open(path) as archive:
        stream: Any = archive.fileobj
        if isinstance(stream, io.BufferedReader):
            return path.open("rb")
        plain = tempfile.TemporaryFile()  # noqa: SIM115
        stream.seek(0)
        shutil.copyfileobj(stream, plain, 1 << 20)  # to the end, where the checksum stands
    plain.seek(0)
    return plain


@contextmanager
def _opened(file: File) -> Iterator[Image.Image]:
    """Opens a picture; whatever reading it raises becomes a DataError that names it."""
    try:
        with file.open() as stream, Image.open(stream) as picture:
            yield picture
    except Exception as error:  # a broken file makes Pillow's readers raise almost anything
        unknown = isinstance(error, UnidentifiedImageError)  # whose message shows a Python object
        reason = "its bytes are of no known format" if unknown else str(error) or type(error).__name__
        raise DataError(f"{file.source}: {file.path}: not a readable picture: {reason}") from error


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode == "P":
        palette = np.array(picture.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
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


def _resized(picture: Image.Image, size: tuple[int, int]) -> Tensor:
    pixels = np.array(picture.resize(size, Image.Resampling.BICUBIC))
    return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1)
