"""Pictures of two domains without pairs, in the layout that CycleGAN's users know: trainA, trainB, testA, testB.

The folders may lie in a folder, a zip or a tar, at its top or below one other folder.
"""

from collections.abc import Sequence
from pathlib import Path

from training.data.dataset import DataError, Split, environment_dir
from training.data.domains import LEVELS, DomainsDataset, held_in_memory
from training.data.folders import DOMAINS, find_set
from training.data.pictures import File, in_threads, picture_files, read_header
from training.data.splits import divide
from training.data.streams import Pictures


class UnpairedDataset(DomainsDataset):
    """One split of two domains whose pictures have nothing to do with each other."""


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
    domains = Pictures(in_a[split], max_side), Pictures(in_b[split], max_side)
    counts = [{part: len(files) for part, files in domain.items()} for domain in (in_a, in_b)]
    return UnpairedDataset(name, split, *held_in_memory(name, domains, [size for size, _ in headers], max_side), counts)


def _splits(source: Path, files: Sequence[File], letter: str) -> dict[Split, Sequence[File]]:
    """The pictures of one domain in each split, in the order of their own names."""
    folders: dict[str, Split] = {f"train{letter}": "train", f"test{letter}": "test"}
    given: dict[Split, list[File]] = {}
    for path, file in sorted((file.path.split("/")[::-1], file) for file in files):
        if 1 < len(path) <= LEVELS and path[1] in folders:
            given.setdefault(folders[path[1]], []).append(file)
    if "train" not in given:
        raise DataError(
            f"{source}: holds no pictures in a folder train{letter}; two domains need {' and '.join(DOMAINS)}, "
            "pictures of one kind or of classes are for recipes that make pictures from noise"
        )
    return divide(f"{source}: train{letter}", given, 1, letter)
