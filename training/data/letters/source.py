"""The data set `letters`: its splits, which hold out whole families of fonts, and its attributes."""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from training.data.dataset import DataError, ImageDataset, Split
from training.data.letters.alphabets import alphabets_of
from training.data.letters.fonts import SUFFIXES, font_files
from training.data.letters.measures import MEASURES
from training.data.letters.rendering import LETTERS
from training.data.letters.styles import style_values

_SPLITS: dict[Split, int] = {"train": 80, "validation": 10, "test": 10}  # in percent
_FETCH = "python -m training.data.letters.fetch FOLDER"


def letters(split: Split, data_dir: Path | None) -> ImageDataset:
    """Letters of the fonts in `data_dir/letters`, else in `data_dir`, 64×64, bright on black.

    Raises:
        DataError: If there are no fonts, or one cannot be read, or they are of too few families for three splits.
    """
    if data_dir is None:
        raise DataError(f"letters: name a folder of fonts with --data-dir or GANTRY_DATA_DIR; {_FETCH} fetches some")
    inner = data_dir / "letters"
    folder = inner if inner.is_dir() else data_dir
    if not font_files(folder):
        raise DataError(
            f"letters: no fonts ({', '.join(SUFFIXES)}) in {folder}, which --data-dir names; {_FETCH} fetches some"
        )
    alphabets = alphabets_of(folder)
    split_of = np.array([split_of_family(family) for family in alphabets.families])
    counts: dict[Split, int] = {each: int((split_of[alphabets.fonts] == each).sum()) for each in _SPLITS}
    if not all(counts.values()):
        raise DataError(f"letters: {folder} has no families for {min(counts, key=counts.__getitem__)}; add families")
    values = style_values(alphabets.measures, alphabets.labels, alphabets.fonts, split_of == "train")
    chosen = split_of[alphabets.fonts] == split
    return ImageDataset(
        "letters",
        split,
        torch.from_numpy(alphabets.images[chosen]).unsqueeze(1),
        torch.from_numpy(alphabets.labels[chosen]),
        tuple(LETTERS),
        _licence(dict(zip(alphabets.families.tolist(), alphabets.licences.tolist(), strict=True))),
        counts,
        attributes=torch.from_numpy(values[alphabets.fonts[chosen]]).float(),
        attribute_meanings=MEASURES,
    )


def split_of_family(family: str) -> Split:
    """The split of a family, a function of its name's first word: Roboto Condensed is where Roboto is."""
    word = family.split()[0].lower()
    place = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) % 100
    if place < _SPLITS["train"]:
        return "train"
    return "validation" if place < _SPLITS["train"] + _SPLITS["validation"] else "test"


def _licence(licences: dict[str, str]) -> str:
    """One line that names every family and its licence."""
    groups = defaultdict(list)
    for family, licence in sorted(licences.items()):
        groups[licence or "of a licence that the font does not state"].append(family)
    listed = "; ".join(f"{licence}: {', '.join(families)}" for licence, families in sorted(groups.items()))
    return f"Letters drawn from {len(licences)} font families. {listed}"
