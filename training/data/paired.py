"""Pairs of pictures, one of each domain, in either of two layouts.

- `trainA` and `trainB`, `testA` and `testB`: the pictures of a pair have the same file name, suffixes apart.
- `train` and `test`, as pix2pix's data sets come: one picture for each pair, A on its left and B on its right.

`val` beside `train` and `test` is the validation split. The folders may lie in a folder, a zip or a tar, at its top or
below one other folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from torch import Tensor

from training.data.dataset import DataError, Split, environment_dir, fingerprint
from training.data.domains import LEVELS, DomainsDataset, held_in_memory
from training.data.folders import find_set
from training.data.layouts import split_of
from training.data.pictures import File, in_threads, picture_files, read_header
from training.data.splits import divide
from training.data.streams import Pictures

Pair = tuple[File, File]


class PairedDataset(DomainsDataset):
    """One split of pairs: each picture of A shows what the picture of B in its place does, and has its size."""


def load_paired(name: str, split: Split, data_dir: Path | None = None, *, max_side: int | None = None) -> PairedDataset:
    """Loads one split of a data set of pairs.

    Args:
        name: The data set's name; see `find_set` for where it is sought.
        split: See `divide` for those that have no folders of their own.
        data_dir: Where to look; the environment's GANTRY_DATA_DIR where None.
        max_side: Pictures whose shorter side is longer are made smaller, to save memory.

    Raises:
        DataError: If it is nowhere or no set of pairs, a picture has no partner or one of another size, there are too
            few, or one cannot be read.
    """
    source = find_set(name, data_dir or environment_dir())
    files = picture_files(source)
    given = _in_two_folders(source, files) or _side_by_side(files)
    if "train" not in given:
        raise DataError(
            f"{source}: holds no pairs; put their pictures in trainA and trainB under the same names, or both of a "
            "pair side by side into one picture in train"
        )
    splits = divide(f"{source}: pairs in train", given, 1)
    # Of all splits, so that what is no pair is found before training rather than at its evaluation.
    pairs = [pair for part in splits.values() for pair in part]
    every = list(dict.fromkeys(file for pair in pairs for file in pair))
    headers = in_threads(read_header, every, f"looking at {name}")
    sizes = {file: size for file, (size, _) in zip(every, headers, strict=True)}
    a, b = ([pair[side] for pair in splits[split]] for side in (0, 1))
    if len(every) == len(pairs):
        _refuse_other_shapes(source, sizes)
        domains: tuple[Pictures, Pictures] = _Half(a, max_side, "left"), _Half(b, max_side, "right")
    else:
        _refuse_unequal_sizes(source, pairs, sizes)
        domains = Pictures(a, max_side), Pictures(b, max_side)
    counts = [{part: len(pairs) for part, pairs in splits.items()}] * 2
    return PairedDataset(name, split, *held_in_memory(name, domains, sizes.values(), max_side), counts)


class _Half(Pictures):
    """One half of each of some pictures."""

    def __init__(self, files: Sequence[File], max_side: int | None, side: Literal["left", "right"]) -> None:
        super().__init__(files, max_side)
        self._side = side

    @property
    def fingerprint(self) -> str:
        return fingerprint(super().fingerprint, self._side)

    def __getitem__(self, index: Any) -> Any:
        both: Tensor = super().__getitem__(index)
        left, right = both.chunk(2, dim=2)
        return (left if self._side == "left" else right).contiguous()


def _in_two_folders(source: Path, files: Sequence[File]) -> dict[Split, Sequence[Pair]]:
    """The pairs of each split that has folders for A and B, in the order of their names; none where none has."""
    domains: dict[Split, dict[str, dict[str, File]]] = {}
    for folder, file in _in_folders(files):
        top, letter = folder[:-1], folder[-1:]
        if letter in ("A", "B") and (part := split_of(top)):
            of_name = domains.setdefault(part, {"A": {}, "B": {}})[letter]
            if (other := of_name.setdefault(PurePosixPath(file.path).stem, file)) is not file:
                raise DataError(f"{source}: {other.path} and {file.path} have one name, by which pairs are found")
    return {split: _paired(source, sides["A"], sides["B"]) for split, sides in domains.items()}


def _paired(source: Path, a: Mapping[str, File], b: Mapping[str, File]) -> Sequence[Pair]:
    if lonely := sorted(a.keys() ^ b.keys()):
        own, other = (a, "B") if lonely[0] in a else (b, "A")
        path = PurePosixPath(own[lonely[0]].path)
        more = f"; nor have {len(lonely) - 1} others" if lonely[1:] else ""
        raise DataError(f"{source}: {path} has no partner {path.parent.name[:-1]}{other}/{lonely[0]}.*{more}")
    return [(a[name], b[name]) for name in sorted(a)]


def _side_by_side(files: Sequence[File]) -> dict[Split, Sequence[Pair]]:
    """The pictures of each split that has a folder; both of a pair are in one file."""
    found: dict[Split, list[Pair]] = {}
    for folder, file in _in_folders(files):
        if part := split_of(folder):
            found.setdefault(part, []).append((file, file))
    return {split: sorted(pairs, key=lambda pair: pair[0].path) for split, pairs in found.items()}


def _in_folders(files: Sequence[File]) -> Iterable[tuple[str, File]]:
    """Each picture that lies as deep as the set's do, with the name of its folder."""
    for file in files:
        path = file.path.split("/")
        if 1 < len(path) <= LEVELS:
            yield path[-2], file


def _refuse_unequal_sizes(source: Path, pairs: Sequence[Pair], sizes: Mapping[File, tuple[int, int]]) -> None:
    for pair in pairs:
        if sizes[pair[0]] != sizes[pair[1]]:
            shown = [f"{file.path} has {'×'.join(map(str, sizes[file]))}" for file in pair]
            raise DataError(f"{source}: {' and '.join(shown)}; the pictures of a pair must have one size")


def _refuse_other_shapes(source: Path, sizes: Mapping[File, tuple[int, int]]) -> None:
    for file, (width, height) in sizes.items():
        if width != 2 * height:
            raise DataError(f"{source}: {file.path} has {width}×{height}; a pair side by side is twice as wide as high")
