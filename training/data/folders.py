"""Any folder, zip or tar of pictures as a data set: its layout, its splits, and its pictures at one size.

Pictures lie in one folder, or in a folder for each class; either also below `train` and `test`. One folder around it
all is no matter, so that what `gantry batch sample` writes (`images/CLASS/*.png`) is a data set too.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import torch

from training.data.dataset import MEMORY_BUDGET, DataError, ImageDataset, Split
from training.data.pictures import IMAGE_SUFFIXES, in_threads, is_picture, is_visible, picture_files, read_header
from training.data.splits import divide
from training.data.streams import Squares

DOMAINS = ("trainA", "trainB")
"""Folders of a set of two domains."""

UNKNOWN_LICENCE = "not known to Gantry; ask whoever gave the pictures"

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_SIZES = (28, 32, 64)  # that are chosen where none is given
_FEWEST = 10  # pictures that a set needs to train on, and each class of it
_NAMES: dict[Split, str] = {"train": "train training", "validation": "val valid validation", "test": "test testing"}
SPLITS: dict[str, Split] = {name: split for split, names in _NAMES.items() for name in names.split()}
"""The split that a folder of this name holds."""


def picture_set_at(path: Path) -> str | None:
    """The name of the set of pictures that a path itself is: of a folder, or of an archive without its suffix.

    None if there is nothing, or a folder without pictures of its own: one that only holds data sets is none.

    Raises:
        DataError: If a folder may not be read.
    """
    found = _set_at(path)
    if found and found.is_file():
        return re.sub(r"(\.tar)?\.\w+$", "", found.name, flags=re.IGNORECASE)
    return found.name if found else None


def find_set(name: str, data_dir: Path | None) -> Path:
    """Finds a set of pictures: `data_dir` itself, or the folder or archive of this name in it.

    Raises:
        DataError: If there is neither.
    """
    if data_dir is None:
        raise DataError(f"{name}: say where it is with --data-dir or GANTRY_DATA_DIR")
    itself = _set_at(data_dir)
    if itself and picture_set_at(data_dir) == name:
        return itself
    inside = [data_dir / f"{name}{suffix}" for suffix in ("", *_ARCHIVE_SUFFIXES)]
    if found := next((each for each in inside if each.exists()), itself):
        return found
    what = "is no set of pictures and holds none of this name" if data_dir.exists() else "does not exist"
    raise DataError(f"{name}: {data_dir} {what}; name a folder, zip or tar with --data-dir")


def load_pictures(path: Path, name: str, split: Split, size: int | None = None) -> ImageDataset:
    """Loads one split of a folder, a zip or a tar of pictures; a set is grey if every picture of it is.

    Args:
        path: Where it is.
        name: What to call it.
        split: See `divide` for those that have no folder of their own.
        size: Side to which the square in each picture's middle is resized; without it the greatest of 28, 32 and 64
            for which at most half of the pictures must be enlarged.

    Raises:
        DataError: If it cannot be used; the message says why and what is expected.
    """
    all_files = picture_files(path)
    if not all_files:
        raise DataError(f"{path}: holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
    parts, folders = _layout(path, [tuple(file.path.split("/")) for file in all_files])
    given = {part: [place for place, own in enumerate(parts) if own == part] for part in set(parts)}
    splits = divide(str(path), given, _FEWEST, class_of=folders.__getitem__)
    classes = sorted(set(folders) - {""}, key=_natural)
    counts = Counter(folders[place] for place in given["train"])
    if few := [each for each in classes if counts[each] < _FEWEST]:
        found = f"found {counts[few[0]]} of {few[0]!r}"
        raise DataError(f"{path}: at least {_FEWEST} pictures of each class are needed to train on, {found}")
    sizes, greys = zip(*in_threads(read_header, all_files, f"looking at {name}"), strict=True)
    median = sorted(map(min, sizes))[len(sizes) // 2]
    size = size or max((side for side in _SIZES if side <= median), default=_SIZES[0])
    chosen = splits[split]
    squares = Squares([all_files[place] for place in chosen], "L" if all(greys) else "RGB", size)
    images = squares[:] if squares.shape.numel() <= MEMORY_BUDGET else squares
    labels = torch.tensor([classes.index(folders[place]) for place in chosen]) if classes else None
    names = tuple(map(unquote, classes))  # `gantry batch sample` writes what is not safe in a folder's name as %XX
    held = {part: len(places) for part, places in splits.items()}
    return ImageDataset(name, split, images, labels, names, UNKNOWN_LICENCE, held, resized=True)


def _layout(path: Path, files: Sequence[tuple[str, ...]]) -> tuple[list[Split], list[str]]:
    """The split that each file is given to, and the folder of its class, "" where there are none."""
    if any(file[-2] in DOMAINS for file in files if len(file) > 1):
        raise DataError(
            f"{path}: is a set of two domains ({' and '.join(DOMAINS)}), for cyclegan and pix2pix; expected a folder "
            "of pictures, or of a folder for each class"
        )
    inner = _without_common(files)
    parts: list[Split] = ["train"] * len(inner)
    tops = {file[0] for file in inner if len(file) > 1}
    known = sorted(top for top in tops if top.casefold() in SPLITS)
    if len(known) > 1 and min(map(len, inner)) > 1:  # alone, it is a class that is called "train"
        if others := sorted(tops - set(known)):
            raise DataError(f"{path}: beside {', '.join(known)} lies {', '.join(others)}, which is no split")
        parts = [SPLITS[file[0].casefold()] for file in inner]
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
    shared = os.path.commonpath(["/".join(path[:-1]) for path in paths])
    return [path[len(Path(shared).parts) :] for path in paths]


def _natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key that puts "9" before "10"."""
    return [(text.casefold(), int(number or -1)) for text, number in re.findall(r"(\D*)(\d*)", name)], name


def _set_at(path: Path) -> Path | None:
    """The set that a path is: itself, but for a set of two domains, which may lie in a folder of another name."""
    try:
        return path if path.is_file() else _set_in(path.resolve()) if path.is_dir() else None
    except OSError as error:
        raise DataError(f"{path}: not a readable folder: {error}") from error


def _set_in(folder: Path) -> Path | None:
    folders = [each for each in _visible(folder) if each.is_dir()]
    if any(is_picture(each.name) for place in (folder, *folders) for each in _visible(place)):
        return folder
    inner = folders if len(folders) == 1 else [each for each in folders if each.name.casefold() in SPLITS]
    found = [each for each in inner if _set_in(each)]
    return found[0] if found and (found[0] / DOMAINS[0]).is_dir() else folder if found else None


def _visible(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if is_visible(each.name)]
