"""Pictures of two domains without pairs, in the layout that CycleGAN's users know: trainA, trainB, testA, testB.

The folders may lie in a folder, a zip or a tar, at its top or below one other folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

from torch import Tensor

from training.data.dataset import MEMORY_BUDGET, DataError, Split, divide, environment_dir, fingerprint
from training.data.folders import DOMAINS, UNKNOWN_LICENCE, find_set
from training.data.pictures import File, Source, in_threads, open_source, read_header, shrunk
from training.data.streams import Pictures

_LEVELS = 3  # of a picture's path at most: a folder, trainA, the picture
_LICENCES = {"horse2zebra": "pictures from ImageNet, for research use only; so are weights trained on them"}


@dataclass(frozen=True)
class UnpairedInfo:
    """What a trained model must remember of its data.

    Attributes:
        name: The name the data set is loaded by.
        licence: One line on where the data comes from and under what terms.
        images: Pictures of both domains in the split it was trained on.
        fingerprint: Digest of that split: other pictures have another.
    """

    name: str
    licence: str
    images: int
    fingerprint: str = ""


@dataclass(frozen=True)
class UnpairedDataset:
    """One split of two domains.

    Attributes:
        name: The name it is loaded by, e.g. "horse2zebra".
        split: "train", "validation" or "test".
        a: The pictures of domain A in the order of their file names, each uint8 [3, H, W] of its own size; a list in
            memory, or a sequence that decodes what is asked for.
        b: Those of domain B.
        counts: Pictures of both domains in each split.
    """

    name: str
    split: Split
    a: Sequence[Tensor]
    b: Sequence[Tensor]
    counts: Mapping[Split, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def info(self) -> UnpairedInfo:
        """What a trained model must remember of this data set."""
        domains = [each.fingerprint if isinstance(each, Pictures) else fingerprint(*each) for each in (self.a, self.b)]
        licence = _LICENCES.get(self.name, UNKNOWN_LICENCE)
        return UnpairedInfo(self.name, licence, len(self.a) + len(self.b), fingerprint(*domains))


def load_unpaired(
    name: str,
    split: Split,
    data_dir: Path | None = None,
    *,
    max_side: int | None = None,
    budget: int = MEMORY_BUDGET,
) -> UnpairedDataset:
    """Loads one split of a data set of two domains.

    Args:
        name: The data set's name; it is sought as a folder or an archive of this name in `data_dir`, unless `data_dir`
            itself is the set.
        split: "train", "validation" or "test"; see `divide` for those that have no folders of their own.
        data_dir: Where to look; the environment's GANTRY_DATA_DIR where None.
        max_side: Pictures whose shorter side is longer are made smaller, to save memory.
        budget: Bytes of pixels that are held in memory; a larger split is decoded when it is asked for.

    Returns:
        The split: greyscale as RGB, transparency over white, turned as EXIF says.

    Raises:
        MissingDataError: If the data set is nowhere.
        DataError: If it is no set of two domains, a domain has too few pictures, or a picture cannot be read.
    """
    source = open_source(find_set(name, data_dir or environment_dir()))
    domains = [_splits(source, letter) for letter in "AB"]
    files = [domain[split] for domain in domains]
    every = [file for domain in domains for part in domain.values() for file in part]
    # Of all splits, so that what is no picture is found before training rather than at its evaluation.
    headers = dict(zip(every, in_threads(partial(read_header, source), every, f"looking at {name}"), strict=True))
    sizes = [shrunk(headers[file].width, headers[file].height, max_side) for file in chain(*files)]
    a, b = (Pictures(source, domain, max_side) for domain in files)
    counts = {part: (len(domains[0][part]), len(domains[1][part])) for part in domains[0]}
    if sum(3 * width * height for width, height in sizes) > budget:
        return UnpairedDataset(name, split, a, b, counts)
    all_a, all_b = (list(in_threads(each.__getitem__, range(len(each)), f"reading {name}")) for each in (a, b))
    return UnpairedDataset(name, split, all_a, all_b, counts)


def _splits(source: Source, letter: str) -> dict[Split, Sequence[File]]:
    """The pictures of one domain in each split."""
    given: dict[Split, list[File]] = {}
    for split in ("train", "test"):
        if found := _in_folder(source, f"{split}{letter}"):
            given[split] = found
    if "train" not in given:
        raise DataError(
            f"{source.path}: holds no pictures in a folder train{letter}; cyclegan needs {' and '.join(DOMAINS)}, "
            "pictures of one kind or of classes are for recipes that make pictures of noise"
        )
    return divide(f"{source.path}: train{letter}", given, 1, letter)


def _in_folder(source: Source, folder: str) -> list[File]:
    """The pictures that lie directly in folders of a name, in the order of their own names."""
    paths = [(file.path.split("/"), file) for file in source.files]
    found = [(path[-1], file) for path, file in paths if 1 < len(path) <= _LEVELS and path[-2] == folder]
    return [file for _, file in sorted(found)]
