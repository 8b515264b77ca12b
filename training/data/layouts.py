"""What the paths in a set of pictures say of each picture: its split, its class, its person, what is known of it.

Pictures lie in one folder, or in a folder for each class; either also below `train` and `test`. One folder around it
all is no matter, so that what `gantry batch sample` writes (`images/CLASS/*.png`) is a data set too. Three public data
sets are known by layouts of their own: LSUN's exported pictures, CelebA, and the fingerprints of SOCOFing.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.data import attributes
from training.data.attributes import CELEBA, CELEBA_SPLITS, OWN, Table
from training.data.dataset import DataError, Split
from training.data.pictures import File, Mode

NOTES = (OWN, CELEBA, CELEBA_SPLITS)
"""Names of files beside pictures that say more of them."""

_NAMES: dict[Split, str] = {"train": "train training", "validation": "val valid validation", "test": "test testing"}
_SPLITS: dict[str, Split] = {name: split for split, names in _NAMES.items() for name in names.split()}
_CELEBA_LICENCE = "CelebA (Liu et al., 2015), for non-commercial research only"
_FINGER = re.compile(r"(\d+)__[MF]_(left|right)_(thumb|index|middle|ring|little)_finger\.\w+", re.IGNORECASE)
_FINGERS = "Real"  # the folder of those that were not altered
_FINGERS_LICENCE = "SOCOFing (Shehu et al., 2018), for non-commercial research only"
_FINGERS_SIZE = 80

_Path = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What is known of each picture of a set.

    Attributes:
        files: The pictures.
        parts: The split that each is given to.
        classes: The class of each, "" where there are none.
        people: Whom each is of, where no person may be in two splits.
        table: What is known of each in numbers, where anything is.
        keys: How that names each.
        licence: Under what terms they are, where that is known.
        mode: What they are read as, where that is not for each to say.
        size: The side that they are resized to unless told otherwise, where it does not follow from theirs.
    """

    files: Sequence[File]
    parts: Sequence[Split]
    classes: Sequence[str]
    people: Sequence[str] | None = None
    table: Table | None = None
    keys: Sequence[str] = ()
    licence: str | None = None
    mode: Mode | None = None
    size: int | None = None


def read_layout(path: Path, pictures: Sequence[File], notes: Sequence[File]) -> Layout:
    """Finds out how a set is laid out.

    Args:
        path: Where it is.
        pictures: All in it, at least one.
        notes: The files of the names in `NOTES`.

    Raises:
        DataError: If it is laid out in no way that is known.
    """
    return (
        _celeba(pictures, {PurePosixPath(file.path).name: file for file in notes})
        or _fingerprints(path, pictures)
        or _folders(path, pictures, [file for file in notes if PurePosixPath(file.path).name == OWN])
    )


def split_of(folder: str) -> Split | None:
    """The split that a folder's name says, such as "val"."""
    return _SPLITS.get(folder.casefold())


def spells(folders: Sequence[str], name: str) -> bool:
    """Whether folders scatter files: two or more, of one character each, that spell how a file's name begins."""
    return len(folders) > 1 and all(len(each) == 1 for each in folders) and name.startswith("".join(folders))


def _celeba(pictures: Sequence[File], notes: dict[str, File]) -> Layout | None:
    """CelebA's pictures, told by the list of their attributes; the splits are those of its other list, if it is there.

    Lists and pictures name each other by the pictures' own names, in whatever folder.
    """
    if CELEBA not in notes:
        return None
    names = [PurePosixPath(file.path).name for file in pictures]
    parts: list[Split] = ["train"] * len(names)
    if listed := notes.get(CELEBA_SPLITS):
        splits = attributes.read_celeba_splits(listed)
        if missing := [name for name in names if name not in splits]:
            raise DataError(
                f"{listed.source}: {listed.path}: expected a line for every picture, there is none for {missing[0]}"
            )
        parts = [splits[name] for name in names]
    table = attributes.read_celeba(notes[CELEBA])
    return Layout(pictures, parts, [""] * len(names), table=table, keys=names, licence=_CELEBA_LICENCE)


def _fingerprints(path: Path, pictures: Sequence[File]) -> Layout | None:
    """SOCOFing's fingerprints as they were taken, without the altered copies; a class for each finger."""
    # By name, since the set is also given away with all of it twice.
    own = {file.path.split("/")[-1]: file for file in pictures if f"{path.stem}/{file.path}".split("/")[-2] == _FINGERS}
    found = {name: _FINGER.fullmatch(name) for name in sorted(own)}
    matches = [match for match in found.values() if match]
    if not matches:
        return None
    if others := [name for name, match in found.items() if not match]:
        raise DataError(
            f"{path}: {own[others[0]].path}: expected a name as all others in the folder {_FINGERS} have, such as "
            "1__M_Left_index_finger.BMP"
        )
    return Layout(
        [own[name] for name in found],
        ["train"] * len(matches),
        ["-".join(match.group(2, 3)).lower() for match in matches],
        people=[match[1] for match in matches],
        licence=_FINGERS_LICENCE,
        mode="L",
        size=_FINGERS_SIZE,
    )


def _folders(path: Path, pictures: Sequence[File], tables: Sequence[File]) -> Layout:
    """Pictures in folders of splits, of classes, or of both, and our table of what is known of them, if it is there."""
    if len(tables) > 1:
        raise DataError(f"{path}: expected one {OWN}, found {tables[0].path} and {tables[1].path}")
    parts, classes = _parts_and_classes(path, [_gathered(tuple(file.path.split("/"))) for file in pictures])
    table = attributes.read_own(tables[0]) if tables else None
    return Layout(pictures, parts, classes, table=table, keys=[file.path for file in pictures])


def _parts_and_classes(path: Path, files: Sequence[_Path]) -> tuple[list[Split], list[str]]:
    """The split that each file is given to, and the folder of its class, "" where there are none."""
    inner = _without_common(files)
    parts: list[Split] = ["train"] * len(inner)
    tops = {file[0] for file in inner if len(file) > 1}
    known = {top: found for top in tops if (found := _split_and_category(top))}
    of_category = Counter(category for _, category in known.values())
    # A split alone is none but a class, that may be called "train".
    if max(of_category.values(), default=0) > 1 and min(map(len, inner)) > 1:
        if others := sorted(tops - known.keys()):
            raise DataError(f"{path}: beside {', '.join(sorted(known))} lies {', '.join(others)}, which is no split")
        parts = [known[file[0]][0] for file in inner]
        inner = _without_common([(*filter(None, [known[file[0]][1]]), *file[1:]) for file in inner])
    deep, flat = max(inner, key=len), min(inner, key=len)
    if len(deep) > 2 or len(deep) != len(flat):
        raise DataError(
            f"{path}: pictures lie neither all in one folder nor all in a folder for each class: "
            f"{'/'.join(flat)}, {'/'.join(deep)}; move them, or name a data set in it with --data"
        )
    return parts, ["".join(file[:-1]) for file in inner]


def _split_and_category(folder: str) -> tuple[Split, str] | None:
    """What a folder of a split says: its split, and what stands before it, as in LSUN's "bedroom_val"."""
    category, _, name = folder.rpartition("_")
    split = split_of(name)
    return (split, category) if split else None


def _gathered(file: _Path) -> _Path:
    """A path without the folders that files are scattered over."""
    *folders, name = file
    kept = next((place for place in range(len(folders)) if spells(folders[place:], name)), len(folders))
    return (*folders[:kept], name)


def _without_common(files: Sequence[_Path]) -> Sequence[_Path]:
    """The paths without the folders that all of them share, in which there is nothing to tell apart."""
    shared = os.path.commonpath(["/".join(file[:-1]) for file in files])
    return [file[len(Path(shared).parts) :] for file in files]
