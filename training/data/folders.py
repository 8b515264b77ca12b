"""Any folder, zip or tar of pictures as a data set: where it is, its splits, and its pictures at one size."""

import re
from collections import Counter
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import torch

from training.data.dataset import MEMORY_BUDGET, DataError, ImageDataset, Split
from training.data.layouts import NOTES, Layout, read_layout, spells, split_of
from training.data.pictures import IMAGE_SUFFIXES, in_threads, is_picture, is_visible, picture_files, read_header
from training.data.splits import divide
from training.data.streams import Squares

DOMAINS = ("trainA", "trainB")
"""Folders of a set of two domains."""

UNKNOWN_LICENCE = "not known to Gantry; ask whoever gave the pictures"

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_SIZES = (28, 32, 64)  # that are chosen where none is given
_FEWEST = 10  # pictures that a set needs to train on, and each class of it


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
        size: Side to which the square in each picture's middle is resized; without it that of the layout, else the
            greatest of 28, 32 and 64 for which at most half of the pictures must be enlarged.

    Raises:
        DataError: If it cannot be used; the message says why and what is expected.
    """
    found = picture_files(path, NOTES)
    pictures, notes = ([file for file in found if is_picture(file.path) == wanted] for wanted in (True, False))
    if not pictures:
        raise DataError(f"{path}: holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
    if any(folder in DOMAINS for file in pictures for folder in file.path.split("/")[-2:-1]):
        raise DataError(
            f"{path}: is a set of two domains ({' and '.join(DOMAINS)}), for cyclegan and pix2pix; expected a folder "
            "of pictures, or of a folder for each class"
        )
    layout = read_layout(path, pictures, notes)
    splits = _divided(path, layout)
    classes = sorted(set(layout.classes) - {""}, key=_natural)
    sizes, greys = zip(*in_threads(read_header, layout.files, f"looking at {name}"), strict=True)
    median = sorted(map(min, sizes))[len(sizes) // 2]
    size = size or layout.size or max((side for side in _SIZES if side <= median), default=_SIZES[0])
    chosen = splits[split]
    mode = layout.mode or ("L" if all(greys) else "RGB")
    squares = Squares([layout.files[place] for place in chosen], mode, size)
    images = squares[:] if squares.shape.numel() <= MEMORY_BUDGET else squares
    labels = torch.tensor([classes.index(layout.classes[place]) for place in chosen]) if classes else None
    values, meanings = layout.table.scaled(layout.keys, splits["train"]) if layout.table else (None, {})
    return ImageDataset(
        name,
        split,
        images,
        labels,
        tuple(map(unquote, classes)),  # `gantry batch sample` writes what is not safe in a folder's name as %XX
        layout.licence or UNKNOWN_LICENCE,
        {part: len(places) for part, places in splits.items()},
        resized=True,
        attributes=None if values is None else values[chosen],
        attribute_meanings=meanings,
    )


def _divided(path: Path, layout: Layout) -> dict[Split, list[int]]:
    """The places of each split's pictures, in order; those of one person are in one split."""
    groups: dict[object, list[int]] = {}
    for place in range(len(layout.files)):
        groups.setdefault(layout.people[place] if layout.people else place, []).append(place)
    given: dict[Split, list[list[int]]] = {}
    for group in groups.values():
        given.setdefault(layout.parts[group[0]], []).append(group)
    if layout.people:
        splits = divide(str(path), given, _FEWEST, what_counts="people")
    else:
        splits = divide(str(path), given, _FEWEST, class_of=lambda group: layout.classes[group[0]])
    counts = Counter(layout.classes[place] for group in given["train"] for place in group)
    if few := sorted((each for each in set(layout.classes) if counts[each] < _FEWEST), key=_natural):
        found = f"found {counts[few[0]]} of {few[0]!r}"
        raise DataError(f"{path}: at least {_FEWEST} pictures of each class are needed to train on, {found}")
    return {split: sorted(chain(*chosen)) for split, chosen in splits.items()}


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
    if any(_holds_pictures(each) for each in (folder, *folders)):
        return folder
    inner = folders if len(folders) == 1 else [each for each in folders if split_of(each.name)]
    found = [each for each in inner if _set_in(each)]
    return found[0] if found and (found[0] / DOMAINS[0]).is_dir() else folder if found else None


def _holds_pictures(folder: Path, *above: str) -> bool:
    """Whether there are pictures in a folder, or below it in such as they are scattered over."""
    inside = _visible(folder)
    if any(is_picture(each.name) and (not above or spells(above, each.name)) for each in inside):
        return True
    one = next((each for each in inside if len(each.name) == 1 and each.is_dir()), None)
    return one is not None and _holds_pictures(one, *above, one.name)


def _visible(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if is_visible(each.name)]
