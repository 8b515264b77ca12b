"""Any folder, zip or tar of pictures as a data set: its layout, its splits, and its pictures at one size.

Pictures lie in one folder, or in a folder for each class; either also below `train` and `test`. One folder around it
all is no matter, so that what `gantry batch sample` writes (`images/CLASS/*.png`) is a data set too.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import torch

from training.data.dataset import MEMORY_BUDGET, DataError, ImageDataset, MissingDataError, Split, divide
from training.data.pictures import (
    ARCHIVE_SUFFIXES,
    IMAGE_SUFFIXES,
    Header,
    in_threads,
    is_picture,
    is_visible,
    open_source,
    read_header,
)
from training.data.streams import Squares

SIZES = (28, 32, 64, 128)
"""Sides that pictures can be resized to."""

DOMAINS = ("trainA", "trainB")
"""Folders of a set of two domains."""

UNKNOWN_LICENCE = "not known to Gantry; ask whoever gave the pictures"

_FEWEST = 10  # pictures that a set needs to train on, and each class of it
_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_DEFAULT_SIZE = 64  # at most, where none is given
_AROUND = 2  # folders that may lie around a set


def picture_set_at(path: Path) -> str | None:
    """The name of the set of pictures that a path itself is.

    Args:
        path: Where to look.

    Returns:
        The name of the folder, or of the archive without its suffix; None if there is nothing, or a folder without
        pictures of its own: one that only holds data sets is none.

    Raises:
        DataError: If a folder may not be read.
    """
    found = _set_at(path)
    if found is None or found.is_dir():
        return found.name if found else None
    suffix = next((suffix for suffix in ARCHIVE_SUFFIXES if found.name.lower().endswith(suffix)), found.suffix)
    return found.name[: len(found.name) - len(suffix)]


def find_set(name: str, data_dir: Path | None) -> Path:
    """Finds a set of pictures.

    Args:
        name: Its name.
        data_dir: The set itself, or a folder that holds one of this name, as a folder or as an archive.

    Returns:
        Where it is.

    Raises:
        MissingDataError: If it is neither.
    """
    if data_dir is None:
        raise MissingDataError(f"{name}: say where it is with --data-dir or GANTRY_DATA_DIR")
    if not data_dir.exists():
        raise MissingDataError(f"{name}: {data_dir} does not exist; name the right folder with --data-dir")
    itself = _set_at(data_dir)
    if itself and picture_set_at(data_dir) == name:
        return itself
    inside = [data_dir / f"{name}{suffix}" for suffix in ("", *ARCHIVE_SUFFIXES)]
    found = next((each for each in inside if each.exists()), itself)
    if found is None:
        raise MissingDataError(
            f"{name}: {data_dir} is no set of pictures and holds none of this name, as a folder or an archive "
            f"({', '.join(ARCHIVE_SUFFIXES)}); name the right one with --data-dir or GANTRY_DATA_DIR"
        )
    return found


def load_pictures(
    path: Path, name: str, split: Split, size: int | None = None, budget: int = MEMORY_BUDGET
) -> ImageDataset:
    """Loads one split of a folder, a zip or a tar of pictures; a set is grey if every picture of it is.

    Args:
        path: Where it is.
        name: What to call it.
        split: Which split; see `divide` for those that have no folder of their own.
        size: One of `SIZES`, to which the square in each picture's middle is resized; without it the greatest of them,
            up to 64, for which at most half of the pictures must be enlarged.
        budget: Bytes of pixels that are held in memory; a larger split is decoded when it is asked for.

    Returns:
        The split.

    Raises:
        DataError: If it cannot be used; the message says why and what is expected.
    """
    if size is not None and size not in SIZES:
        raise DataError(f"--size {size}: must be {', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]}")
    source = open_source(path)
    if not source.files:
        raise DataError(f"{path}: holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    parts, folders = _layout(path, [tuple(file.path.split("/")) for file in source.files])
    given = {part: [place for place, own in enumerate(parts) if own == part] for part in set(parts)}
    splits = divide(str(path), given, _FEWEST)
    classes = _classes(path, folders, parts)
    headers = list(in_threads(partial(read_header, source), source.files, f"looking at {name}"))
    chosen, grey = splits[split], all(header.grey for header in headers)
    files = [source.files[place] for place in chosen]
    squares = Squares(source, files, "L" if grey else "RGB", size or _fitting(headers))
    return ImageDataset(
        name,
        split,
        squares[:] if squares.shape.numel() <= budget else squares,
        torch.tensor([classes.index(folders[place]) for place in chosen]) if classes else None,
        # `gantry batch sample` writes what is not safe in a folder's name as %XX.
        tuple(map(unquote, classes)),
        UNKNOWN_LICENCE,
        {part: len(places) for part, places in splits.items()},
        resized=True,
    )


def _layout(path: Path, files: Sequence[tuple[str, ...]]) -> tuple[list[Split], list[str]]:
    """The split that each file is given to, and the folder of its class, "" where there are none."""
    if any(file[-2] in DOMAINS for file in files if len(file) > 1):
        raise DataError(
            f"{path}: is a set of two domains ({' and '.join(DOMAINS)}), for cyclegan; expected a folder of "
            "pictures, or of a folder for each class"
        )
    inner = _without_common(files)
    parts: list[Split] = ["train"] * len(inner)
    tops = {file[0] for file in inner if len(file) > 1}
    known = sorted(top for top in tops if top.casefold() in _SPLITS)
    if len(known) > 1 and min(map(len, inner)) > 1:  # alone, it is a class that is called "train"
        if others := sorted(tops - set(known)):
            raise DataError(f"{path}: beside {', '.join(known)} lies {', '.join(others)}, which is no split")
        parts = [_SPLITS[file[0].casefold()] for file in inner]
        inner = _without_common([file[1:] for file in inner])
    deep, flat = max(inner, key=len), min(inner, key=len)
    if len(deep) > 2 or len(deep) != len(flat):
        raise DataError(
            f"{path}: pictures lie neither all in one folder nor all in a folder for each class: "
            f"{'/'.join(flat)}, {'/'.join(deep)}; move them, or name a data set in it with --data"
        )
    return parts, ["".join(file[:-1]) for file in inner]


def _without_common(paths: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """The paths without the folders that all of them share, in which there is nothing to tell apart."""
    while len(paths[0]) > 1 and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    return paths


def _classes(path: Path, folders: Sequence[str], parts: Sequence[Split]) -> list[str]:
    """The folders of the classes in natural order; none without classes."""
    counts = Counter(folder for folder, part in zip(folders, parts, strict=True) if part == "train")
    classes = sorted(set(folders) - {""}, key=_natural)
    for each in classes:
        if counts[each] < _FEWEST:
            raise DataError(
                f"{path}: the class {each!r} has {counts[each]} pictures to train on, at least {_FEWEST} are needed"
            )
    return classes


def _natural(name: str) -> tuple[list[str | int], str]:
    """A key that puts "9" before "10"; texts and numbers alternate in it."""
    pieces = re.split(r"(\d+)", name)
    return [int(piece) if place % 2 else piece.casefold() for place, piece in enumerate(pieces)], name


def _fitting(headers: Sequence[Header]) -> int:
    """The greatest size, up to a default, for which at most half of the pictures must be enlarged."""
    sides = sorted(min(header.width, header.height) for header in headers)
    return max((size for size in SIZES if size <= min(_DEFAULT_SIZE, sides[len(sides) // 2])), default=SIZES[0])


def _set_at(path: Path) -> Path | None:
    """The set that a path is: itself, but for a set of two domains, which may lie in a folder of another name."""
    try:
        return path if path.is_file() else _in_folder(path.resolve(), _AROUND) if path.is_dir() else None
    except OSError as error:
        raise DataError(f"{path}: not a readable folder: {error}") from error


def _in_folder(folder: Path, around: int) -> Path | None:
    folders = [each for each in _visible(folder) if each.is_dir()]
    if any(is_picture(each.name) for place in (folder, *folders) for each in _visible(place)):
        return folder
    inner = folders if len(folders) == 1 else [each for each in folders if each.name.casefold() in _SPLITS]
    found = [each for each in inner if around and _in_folder(each, around - 1)]
    return found[0] if found and (found[0] / DOMAINS[0]).is_dir() else folder if found else None


def _visible(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if is_visible(each.name)]
