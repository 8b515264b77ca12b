"""Finds the fonts of a folder and reads what their tables say of family, style and licence."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fontTools.ttLib import TTFont

from training.data.dataset import DataError
from training.data.pictures import is_visible

SUFFIXES = (".otf", ".ttf", ".woff", ".woff2")

STYLES = 8
"""Fonts of a family that are taken at most, so that no family dominates."""

_FAMILY, _LICENCE, _LICENCE_URL, _TYPOGRAPHIC_FAMILY = 1, 13, 14, 16  # identifiers in the table `name`
_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "OFL.txt")
_ITALIC = 1  # of OS/2's fsSelection
_LICENCES = {
    "OFL-1.1": ("OFL", "SIL Open Font", "SIL OPEN FONT", "openfontlicense"),
    "Apache-2.0": ("Apache License", "apache.org"),
    "Ubuntu-font-1.0": ("UBUNTU FONT LICENCE", "Ubuntu Font Licence"),
}


@dataclass(frozen=True)
class Font:
    """One style of a family.

    Attributes:
        weight: As of OpenType, 1 to 1000; 400 is regular.
        licence: Its SPDX identifier or the like; "" if the font says nothing that is known.
        letters: Characters that it has a glyph for.
    """

    path: Path
    family: str
    weight: int
    italic: bool
    licence: str
    letters: frozenset[str]


def font_files(folder: Path) -> list[Path]:
    """The fonts of a folder and its sub-folders, in the order of their paths."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return sorted(file for file in files if all(map(is_visible, file.relative_to(folder).parts)))


def licence_file(font: Path) -> Path | None:
    """The licence that lies beside a font."""
    return next((file for name in _LICENCE_FILES if (file := font.with_name(name)).is_file()), None)


def read_font(path: Path, folder: Path) -> Font:
    """Reads a font's tables.

    In a sub-folder of `folder` it is of the family that the sub-folder is named for, else of the one that it names.

    Raises:
        DataError: If it is no font.
    """
    beside = licence_file(path)
    try:
        with TTFont(path, lazy=True) as tables:
            names = tables["name"]
            family = names.getDebugName(_TYPOGRAPHIC_FAMILY) or names.getDebugName(_FAMILY) or path.stem
            terms = " ".join(names.getDebugName(each) or "" for each in (_LICENCE, _LICENCE_URL))
            italic = bool(tables["OS/2"].fsSelection & _ITALIC) or tables["post"].italicAngle != 0
            weight, letters = tables["OS/2"].usWeightClass, frozenset(map(chr, tables.getBestCmap() or {}))
    except Exception as error:  # a broken font makes fontTools raise almost anything
        raise DataError(f"{path}: not a readable font: {error or type(error).__name__}") from error
    inner = path.relative_to(folder).parts[:-1]
    licence = _licence(beside.read_text(errors="replace") if beside else terms)
    return Font(path, inner[0] if inner else family, weight, italic, licence, letters)


def _licence(text: str) -> str:
    return next((name for name, words in _LICENCES.items() if any(word in text for word in words)), "")


def chosen_styles(fonts: Sequence[Font]) -> list[Font]:
    """At most `STYLES` fonts of each family, spread over its weights; up to half of them are italics."""
    families: Mapping[str, list[Font]] = defaultdict(list)
    for font in sorted(fonts, key=lambda font: (font.weight, font.path)):
        families[font.family].append(font)
    chosen = []
    for family in families.values():
        uprights, italics = ([font for font in family if font.italic == italic] for italic in (False, True))
        leaning = _spread(italics, max(STYLES // 2, STYLES - len(uprights)))
        chosen += [*_spread(uprights, STYLES - len(leaning)), *leaning]
    return chosen


def _spread(fonts: Sequence[Font], most: int) -> Sequence[Font]:
    """The first, the last, and evenly spaced ones between them."""
    if len(fonts) <= most:
        return fonts
    return [fonts[round(place * (len(fonts) - 1) / (most - 1))] for place in range(most)]
