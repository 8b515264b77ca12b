"""All letters of a folder of fonts, drawn and measured once and kept in the user's cache."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training import strokes
from training.data.dataset import DataError
from training.data.letters import fonts, measures, rendering
from training.data.letters.fonts import Font, chosen_styles, font_files, licence_file, read_font
from training.data.letters.measures import measured_letters
from training.data.letters.rendering import CAP_HEIGHT, LETTERS, SIZE, draw_letters
from training.data.pictures import in_threads
from training.strokes import Floats

_CODE = (fonts, rendering, measures, strokes, sys.modules[__name__])
_MOST_MISSING = 6  # letters; a font that lacks more is left out
_THINNEST = 1.3  # pixels; thinner strokes are grey lines


class Alphabets(NamedTuple):
    """The letters of all fonts.

    Attributes:
        images: uint8 [N, 64, 64].
        labels: Of each picture its letter, int64 [N], an index into `LETTERS`.
        fonts: Of each picture its font, int64 [N], in [0, F).
        measures: Of each picture, float64 [N, 5], as of `measured_letters`.
        families: Of each font its family's name, [F].
        licences: Of each font, [F].
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    fonts: NDArray[np.int64]
    measures: Floats
    families: NDArray[np.str_]
    licences: NDArray[np.str_]


def alphabets_of(folder: Path) -> Alphabets:
    """The letters of the fonts in a folder and its sub-folders, from the cache where they are.

    Raises:
        DataError: If one cannot be read, or none has the letters.
    """
    files = font_files(folder)
    cached = _cache() / f"{_digest(files, folder)}.npz"
    if not cached.is_file():
        found = list(in_threads(partial(read_font, folder=folder), files, "reading fonts"))
        _save(_drawn(chosen_styles(found), folder), cached)
    with np.load(cached) as arrays:
        return Alphabets(*(arrays[name] for name in Alphabets._fields))


class _Alphabet(NamedTuple):
    """The letters of one font."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    measures: Floats

    @property
    def usable(self) -> bool:
        """Whether enough letters are there, whose strokes are thick enough to be white."""
        enough = len(self.labels) >= len(LETTERS) - _MOST_MISSING
        return enough and float(np.median(self.measures[:, 0])) * CAP_HEIGHT >= _THINNEST


def _drawn(found: list[Font], folder: Path) -> Alphabets:
    # Two styles with the same pixels are one.
    drawn = {alphabet.images.tobytes(): (font, alphabet) for font, alphabet in _all(found) if alphabet.usable}
    if not drawn:
        raise DataError(f"{folder}: no font in it has the Latin letters; name another folder with --data-dir")
    used, alphabets = zip(*drawn.values(), strict=True)
    images, labels, measured = map(np.concatenate, zip(*alphabets, strict=True))
    of = np.repeat(np.arange(len(used)), [len(each.labels) for each in alphabets])
    families, licences = (np.array([getattr(font, what) for font in used]) for what in ("family", "licence"))
    return Alphabets(images, labels, of, measured, families, licences)


def _all(found: list[Font]) -> Iterator[tuple[Font, _Alphabet]]:
    return zip(found, in_threads(_alphabet, found, "drawing letters"), strict=True)


def _alphabet(font: Font) -> _Alphabet:
    try:
        drawn = draw_letters(font.path)
    except OSError as error:
        raise DataError(f"{font.path}: not a readable font: {error}") from error
    pictures = {letter: picture for letter, picture in drawn.items() if letter in font.letters}
    labels = np.array([LETTERS.index(letter) for letter in pictures], dtype=np.int64)
    images = np.array(list(pictures.values()), dtype=np.uint8).reshape(-1, SIZE, SIZE)
    return _Alphabet(images, labels, measured_letters(images, labels))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantry" / "letters"


def _digest(files: list[Path], folder: Path) -> str:
    """Of the fonts, their licences, and the code that draws and measures: of all that decides what is kept."""
    digest = hashlib.sha256()
    for module in _CODE:
        digest.update(Path(str(module.__file__)).read_bytes())
    for file in files:
        digest.update(str(file.relative_to(folder)).encode())
        for part in (file, licence_file(file)):
            digest.update(hashlib.sha256(part.read_bytes() if part else b"").digest())
    return digest.hexdigest()[:32]


def _save(alphabets: Alphabets, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        np.savez_compressed(file, **alphabets._asdict())
    os.replace(file.name, path)  # so that no half of a file is ever found
