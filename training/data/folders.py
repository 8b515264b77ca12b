"""Any folder, zip or tar of pictures as a data set: its layout, its splits, and its pictures at one size.

Pictures lie in one folder, or in a folder for each class; either also below `train` and `test`. One folder around it
all is no matter, so that what `gantry batch sample` writes (`images/CLASS/*.png`) is a data set too.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import torch
from torch import Tensor

from training.data.dataset import MEMORY_BUDGET, DataError, ImageDataset, MissingDataError, Split, hold_out
from training.data.pictures import (
    ARCHIVE_SUFFIXES,
    IMAGE_SUFFIXES,
    Header,
    Mode,
    Source,
    in_threads,
    is_picture,
    is_visible,
    open_source,
    read_header,
)
from training.data.streams import Squares

SIZES = (28, 32, 64, 128)
"""Sides that pictures can be resized to."""

FEWEST = 10
"""Pictures that a set needs to train on, and each class of it."""

DOMAINS = ("trainA", "trainB")
"""Folders of a set of two domains."""

UNKNOWN_LICENCE = "not known to Gantry; ask whoever gave the pictures"

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


@dataclass(frozen=True)
class _Layout:
    """Where the pictures of each split are, as indices of the source's files, and the class of each file."""

    splits: Mapping[Split, Tensor]
    labels: Tensor | None
    class_names: tuple[str, ...]


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
    if found is None:
        return None
    if found.is_dir():
        return found.name
    suffix = next((suffix for suffix in ARCHIVE_SUFFIXES if found.name.lower().endswith(suffix)), found.suffix)
    return found.name[: len(found.name) - len(suffix)]


def environment_dir() -> Path | None:
    """The folder that GANTRY_DATA_DIR names, where --data-dir names none."""
    named = os.environ.get("GANTRY_DATA_DIR")
    return Path(named) if named else None


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
    for candidate in (data_dir / name, *(data_dir / f"{name}{suffix}" for suffix in ARCHIVE_SUFFIXES)):
        if candidate.exists():
            return candidate
    if itself:
        return itself
    raise MissingDataError(
        f"{name}: {data_dir} is no set of pictures and holds none of this name, as a folder or an archive "
        f"({', '.join(ARCHIVE_SUFFIXES)}); name the right one with --data-dir or GANTRY_DATA_DIR"
    )


def load_pictures(
    path: Path, name: str, split: Split, size: int | None = None, budget: int = MEMORY_BUDGET
) -> ImageDataset:
    """Loads one split of a folder, a zip or a tar of pictures.

    Without a test part of its own a tenth is held out as the test split, and then a tenth of the rest as validation,
    both by a fixed seed. A set is grey if every picture of it is.

    Args:
        path: Where it is.
        name: What to call it.
        split: Which split.
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
    layout = _layout(source)
    headers = list(in_threads(partial(read_header, source), source.files, f"looking at {name}"))
    mode: Mode = "L" if all(header.grey for header in headers) else "RGB"
    chosen = layout.splits[split]
    files = [source.files[index] for index in chosen.tolist()]
    squares = Squares(source, files, mode, size or _fitting(headers))
    return ImageDataset(
        name,
        split,
        squares.resident(f"reading {name}") if squares.shape.numel() <= budget else squares,
        None if layout.labels is None else layout.labels[chosen],
        layout.class_names,
        UNKNOWN_LICENCE,
        {split: len(indices) for split, indices in layout.splits.items()},
        resized=True,
    )


def _layout(source: Source) -> _Layout:
    paths = [tuple(file.path.split("/")) for file in source.files]
    if any(path[-2] in DOMAINS for path in paths if len(path) > 1):
        raise DataError(
            f"{source.path}: is a set of two domains ({' and '.join(DOMAINS)}), for cyclegan; expected a folder of "
            "pictures, or of a folder for each class"
        )
    inner = _without_common(paths)
    names = _split_names(source, {path[0] for path in inner if len(path) > 1}) if min(map(len, inner)) > 1 else {}
    if names:
        parts = [names[path[0]] for path in inner]
        inner = _without_common([path[1:] for path in inner])
    else:
        parts = ["train"] * len(inner)
    labels, class_names = _classes(source, inner, parts)
    return _Layout(_divided(source, parts), labels, class_names)


def _without_common(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The paths without the folders that all of them share, in which there is nothing to tell apart."""
    while len(paths[0]) > 1 and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    return paths


def _split_names(source: Source, folders: set[str]) -> dict[str, Split]:
    """The split of each folder, where folders are splits and not classes."""
    known = {folder: _SPLITS[folder.casefold()] for folder in folders if folder.casefold() in _SPLITS}
    if len(known) < 2:
        return {}  # a class may be called "train"
    if len(known) < len(folders):
        others = _listed(sorted(folders - known.keys()))
        raise DataError(f"{source.path}: beside {_listed(sorted(known))} lies {others}, which is no split")
    if "train" not in known.values():
        raise DataError(f"{source.path}: holds {_listed(sorted(known))}, but no train")
    return known


def _classes(source: Source, paths: list[tuple[str, ...]], parts: list[Split]) -> tuple[Tensor | None, tuple[str, ...]]:
    """The label of each file and the names of the classes, in natural order; None and no names without classes."""
    deep, flat = max(paths, key=len), min(paths, key=len)
    if len(deep) > 2 or len(deep) != len(flat):
        raise DataError(
            f"{source.path}: pictures lie neither all in one folder nor all in a folder for each class: "
            f"{'/'.join(flat)}, {'/'.join(deep)}; move them, or name a data set in it with --data"
        )
    if len(deep) == 1:
        return None, ()
    folders = sorted({path[0] for path in paths}, key=_natural)
    counts = Counter(path[0] for path, part in zip(paths, parts, strict=True) if part == "train")
    beside = {file.path.rpartition("/")[0].rpartition("/")[0] for file in source.files}
    empty = [folder for folder in source.folders if folder.rpartition("/")[0] in beside]
    for folder in [*folders, *sorted({folder.rpartition("/")[2] for folder in empty} - set(folders))]:
        if counts[folder] < FEWEST:
            raise DataError(
                f"{source.path}: the class {folder!r} has {counts[folder]} pictures to train on, at least {FEWEST} are "
                "needed"
            )
        if not folder.isprintable():
            raise DataError(f"{source.path}: the class {folder!r} needs a name that can be printed")
    numbers = {folder: number for number, folder in enumerate(folders)}
    return torch.tensor([numbers[path[0]] for path in paths]), _class_names(folders)


def _divided(source: Source, parts: list[Split]) -> dict[Split, Tensor]:
    """The files of each split: those that are given, and what is held out where one is not."""
    splits = {part: torch.tensor([place for place, own in enumerate(parts) if own == part]) for part in set(parts)}
    if len(splits["train"]) < FEWEST:
        raise DataError(
            f"{source.path}: {len(splits['train'])} pictures are too few to train on, at least {FEWEST} are needed"
        )
    for name in ("test", "validation"):
        if name not in splits:
            kept, held = hold_out(len(splits["train"]), name)
            splits["train"], splits[name] = splits["train"][kept], splits["train"][held]
    return splits


def _natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """A key that puts "9" before "10"; texts and numbers alternate in it."""
    pieces = re.split(r"([0-9]+)", name)
    return [_number(piece) if place % 2 else piece.casefold() for place, piece in enumerate(pieces)], name


def _number(digits: str) -> tuple[int, str]:
    return len(digits.lstrip("0")), digits.lstrip("0")


def _class_names(folders: Sequence[str]) -> tuple[str, ...]:
    """What the folders stand for: `gantry batch sample` writes what is not safe in a name as %XX."""
    try:
        names = [unquote(folder, errors="strict") for folder in folders]
    except UnicodeDecodeError:
        return tuple(folders)
    clear = len(set(names)) == len(names) and all(name.isprintable() and name for name in names)
    return tuple(names if clear else folders)


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
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if is_visible(entry.name)]
    folders = [Path(entry.path) for entry in visible if entry.is_dir()]
    if any(is_picture(entry.name) and entry.is_file() for entry in visible) or any(map(_holds_picture, folders)):
        return folder
    inner = folders if len(folders) == 1 else [each for each in folders if each.name.casefold() in _SPLITS]
    found = [each for each in inner if around and _in_folder(each, around - 1)]
    if found and (found[0] / DOMAINS[0]).is_dir():
        return found[0]
    return folder if found else None


def _holds_picture(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_visible(entry.name) and is_picture(entry.name) and entry.is_file() for entry in entries)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}, …"
