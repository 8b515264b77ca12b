"""Pictures of two domains without pairs, in the layout that CycleGAN's users know: trainA, trainB, testA, testB.

The four folders may lie in a folder, a zip or a tar, at its top or below one other folder. What archivers and file
managers leave beside pictures (`__MACOSX`, hidden files) is passed over.
"""

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from training.data.dataset import MissingDataError, Split

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")

_PIECE_BYTES = 1 << 20  # of a file that is read to its end
_LEVELS = 3  # of a picture's path at most: a folder, trainA, the picture
_UNREADABLE = (
    OSError,
    EOFError,
    KeyError,  # a tar's link to nowhere
    RuntimeError,  # a zip's password
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)

_LICENCES = {"horse2zebra": "pictures from ImageNet, for research use only; so are weights trained on them"}
_UNKNOWN_LICENCE = "not known to Gantry; ask whoever gave the pictures"


class UnpairedDataError(ValueError):
    """A data set of two domains is there, but not usable; the message names the file or folder."""


@dataclass(frozen=True)
class UnpairedInfo:
    """What a trained model must remember of its data.

    Attributes:
        name: The name the data set is loaded by.
        licence: One line on where the data comes from and under what terms.
        images: Pictures of both domains in the split it was trained on.
    """

    name: str
    licence: str
    images: int


@dataclass(frozen=True)
class UnpairedDataset:
    """One split of two domains, wholly in memory.

    Attributes:
        name: The name it is loaded by, e.g. "horse2zebra".
        split: "train" or "test".
        a: The pictures of domain A in the order of their file names, each uint8 [3, H, W] of its own size.
        b: Those of domain B.
    """

    name: str
    split: Split
    a: list[Tensor]
    b: list[Tensor]

    @property
    def info(self) -> UnpairedInfo:
        """What a trained model must remember of this data set."""
        licence = _LICENCES.get(self.name, _UNKNOWN_LICENCE)
        return UnpairedInfo(self.name, licence, len(self.a) + len(self.b))


def load_unpaired(
    name: str, split: Split, data_dir: Path | None = None, *, max_side: int | None = None
) -> UnpairedDataset:
    """Loads one split of a data set of two domains.

    Args:
        name: The data set's name; it is sought as a folder or an archive of this name in `data_dir`, unless `data_dir`
            itself is the archive or holds trainA and trainB.
        split: "train" or "test".
        data_dir: Where to look; the environment's GANTRY_DATA_DIR where None.
        max_side: Pictures whose shorter side is longer are made smaller, to save memory.

    Returns:
        The split, in memory: greyscale as RGB, transparency over white, turned as EXIF says.

    Raises:
        MissingDataError: If the data set is nowhere.
        UnpairedDataError: If a domain has no pictures, or a picture cannot be read.
    """
    if data_dir is None and "GANTRY_DATA_DIR" in os.environ:
        data_dir = Path(os.environ["GANTRY_DATA_DIR"])
    source = _find(name, data_dir)
    domains: dict[str, list[tuple[str, Tensor]]] = {f"{split}A": [], f"{split}B": []}
    for path, content in _pictures(source, frozenset(domains)):
        domains[path.parent.name].append((path.name, _decode(source, path, content, max_side)))
    for folder, pictures in domains.items():
        if not pictures:
            raise UnpairedDataError(f"{source}: {folder} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
        pictures.sort(key=lambda picture: picture[0])
    a, b = ([picture for _, picture in pictures] for pictures in domains.values())
    return UnpairedDataset(name, split, a, b)


def name_at(path: Path) -> str | None:
    """The name of the data set that a path itself is.

    Args:
        path: Where to look.

    Returns:
        The name of the folder that holds trainA, or of the archive without its suffix; None if it is neither.
    """
    if path.is_file():
        suffix = next((suffix for suffix in ARCHIVE_SUFFIXES if path.name.lower().endswith(suffix)), path.suffix)
        return path.name[: len(path.name) - len(suffix)]
    return path.resolve().name if (path / "trainA").is_dir() else None


def _find(name: str, data_dir: Path | None) -> Path:
    if data_dir is None:
        raise MissingDataError(f"{name}: say where it is with --data-dir or GANTRY_DATA_DIR")
    if name_at(data_dir):
        return data_dir
    candidates = [data_dir / name, *(data_dir / f"{name}{suffix}" for suffix in ARCHIVE_SUFFIXES)]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise MissingDataError(
        f"{name}: {data_dir} holds neither trainA nor {name}, as a folder or an archive "
        f"({', '.join(ARCHIVE_SUFFIXES)}); name the right one with --data-dir or GANTRY_DATA_DIR"
    )


def _pictures(source: Path, folders: frozenset[str]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The pictures that lie directly in folders of the given names, with their paths in the source."""

    def wanted(path: PurePosixPath) -> bool:
        return (
            path.parent.name in folders
            and path.suffix.lower() in IMAGE_SUFFIXES
            and len(path.parts) <= _LEVELS
            and not any(part == "__MACOSX" or part.startswith(".") for part in path.parts)
        )

    try:
        if source.is_dir():
            yield from _in_folder(source, wanted)
        else:
            yield from (_in_tar if tarfile.is_tarfile(source) else _in_zip)(source, wanted)
    except _UNREADABLE as error:
        raise UnpairedDataError(f"{source}: not a readable folder, zip or tar: {error}") from error


def _in_folder(source: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    for pattern in ("*/*", "*/*/*"):  # "**" would not follow links
        for file in source.glob(pattern):
            path = PurePosixPath(file.relative_to(source).as_posix())
            if wanted(path) and file.is_file():
                yield path, file.read_bytes()


def _in_zip(source: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if wanted(path) and not entry.is_dir():
                yield path, archive.read(entry)


def _in_tar(source: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    with tarfile.open(source) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if wanted(path) else None  # follows links; None of a folder
            if file:
                yield path, file.read()
        # The members end before the file does, and only at its end stands the checksum of what is compressed.
        while archive.fileobj and archive.fileobj.read(_PIECE_BYTES):
            pass


def _decode(source: Path, path: PurePosixPath, content: bytes, max_side: int | None) -> Tensor:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            upright = ImageOps.exif_transpose(picture)
            rgb = _flattened(upright)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnpairedDataError(f"{source}: {path}: not a readable picture: {error}") from error
    if max_side and min(rgb.size) > max_side:
        scale = max_side / min(rgb.size)
        rgb = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def _flattened(picture: Image.Image) -> Image.Image:
    """As RGB of 8 bits; what is transparent becomes white."""
    if picture.mode.startswith("I;16"):  # grey of 16 bits, which `convert` would clip
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert("RGB")
