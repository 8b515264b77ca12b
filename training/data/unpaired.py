"""Pictures of two domains without pairs, in the layout that CycleGAN's users know: trainA, trainB, testA, testB.

The folders may lie in a folder, a zip or a tar, at its top or below one other folder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from training.data.dataset import MEMORY_BUDGET, DataError, Split, environment_dir, fingerprint
from training.data.folders import DOMAINS, UNKNOWN_LICENCE, find_set
from training.data.pictures import File, in_threads, picture_files, read_header, shrunk
from training.data.splits import divide
from training.data.streams import Pictures

EVALUABLE_DOMAIN = 4
"""Test pictures that a domain must have for an evaluation: an unbiased distance is taken between its halves."""

_LEVELS = 3  # of a picture's path at most: a folder, trainA, the picture
_LICENCES = {"horse2zebra": "pictures from ImageNet, for research use only; so are weights trained on them"}


@dataclass(frozen=True)
class UnpairedInfo:
    """What a trained model must remember of its data: as of `DatasetInfo`, images being those of both domains."""

    name: str
    licence: str
    images: int
    fingerprint: str = ""


@dataclass(frozen=True)
class UnpairedDataset:
    """One split of two domains.

    Attributes:
        name: The name it is loaded by, e.g. "horse2zebra".
        a: The pictures of domain A in the order of their file names, each uint8 [3, H, W] of its own size; a list in
            memory, or a sequence that decodes what is asked for.
        b: Those of domain B.
        counts: Pictures of A and of B in each split, as far as known.
    """

    name: str
    split: Split
    a: Sequence[Tensor]
    b: Sequence[Tensor]
    counts: Sequence[Mapping[Split, int]] = ({}, {})

    @cached_property
    def info(self) -> UnpairedInfo:
        """What a trained model must remember of this data set."""
        domains = [each.fingerprint if isinstance(each, Pictures) else fingerprint(*each) for each in (self.a, self.b)]
        licence = _LICENCES.get(self.name, UNKNOWN_LICENCE)
        return UnpairedInfo(self.name, licence, len(self.a) + len(self.b), fingerprint(*domains))


def load_unpaired(
    name: str, split: Split, data_dir: Path | None = None, *, max_side: int | None = None
) -> UnpairedDataset:
    """Loads one split of a data set of two domains.

    Args:
        name: The data set's name; see `find_set` for where it is sought.
        split: See `divide` for those that have no folders of their own.
        data_dir: Where to look; the environment's GANTRY_DATA_DIR where None.
        max_side: Pictures whose shorter side is longer are made smaller, to save memory.

    Raises:
        DataError: If it is nowhere or no set of two domains, a domain has too few pictures, or one cannot be read.
    """
    source = find_set(name, data_dir or environment_dir())
    files = picture_files(source)
    in_a, in_b = (_splits(source, files, letter) for letter in "AB")
    # Of all splits, so that what is no picture is found before training rather than at its evaluation.
    every = [file for domain in (in_a, in_b) for part in domain.values() for file in part]
    headers = in_threads(read_header, every, f"looking at {name}")
    pixels = sum(3 * math.prod(shrunk(size, max_side)) for size, _ in headers)
    a, b = Pictures(in_a[split], max_side), Pictures(in_b[split], max_side)
    counts = [{part: len(files) for part, files in domain.items()} for domain in (in_a, in_b)]
    if pixels > MEMORY_BUDGET:
        return UnpairedDataset(name, split, a, b, counts)
    all_a, all_b = (list(in_threads(each.__getitem__, range(len(each)), f"reading {name}")) for each in (a, b))
    return UnpairedDataset(name, split, all_a, all_b, counts)


def _splits(source: Path, files: Sequence[File], letter: str) -> dict[Split, Sequence[File]]:
    """The pictures of one domain in each split, in the order of their own names."""
    folders: dict[str, Split] = {f"train{letter}": "train", f"test{letter}": "test"}
    given: dict[Split, list[File]] = {}
    for path, file in sorted((file.path.split("/")[::-1], file) for file in files):
        if 1 < len(path) <= _LEVELS and path[1] in folders:
            given.setdefault(folders[path[1]], []).append(file)
    if "train" not in given:
        raise DataError(
            f"{source}: holds no pictures in a folder train{letter}; two domains need {' and '.join(DOMAINS)}, "
            "pictures of one kind or of classes are for recipes that make pictures from noise"
        )
    return divide(f"{source}: train{letter}", given, 1, letter)
