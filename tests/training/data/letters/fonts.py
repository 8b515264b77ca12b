"""Makes tiny fonts, whose letters are stems and bars, for the tests that draw them."""

import string
from collections.abc import Collection
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from training.data.letters.source import split_of_family

CAP = 700  # units to the top of an H


def family_in(split: str, number: int = 0) -> str:
    """The name of a family of a split."""
    names = [name for place in range(400) if split_of_family(name := f"Family{place}") == split]
    return names[number]


def write_font(
    path: Path,
    *,
    family: str = "Family",
    weight: int = 400,
    stem: float = 80,
    bar: float = 70,
    lean: float = 0,
    across: float = 400,
    serif: float = 0,
    raised: float = 0,
    units: int = 1000,
    licence: str = "https://openfontlicense.org",
    small_caps: bool = False,
    empty: Collection[str] = (),
    missing: Collection[str] = (),
    deep: Collection[str] = (),
) -> Path:
    """Writes a font.

    `stem` and `bar` are the thickness of upright and level strokes, `lean` is a shift to the right per height, `across`
    the distance of two stems, `serif` how far a foot reaches out on each side, `raised` how far all stands above the
    font's baseline. `empty` letters have no ink, `missing` ones no glyph, `deep` ones a long tail. All lengths are in
    thousandths of an em, which has `units` units.
    """

    def glyph(letter: str):
        pen = TTGlyphPen(None)
        if letter in empty:
            return pen.glyph()
        lower, height = letter.islower() and not small_caps, CAP if letter.isupper() else 500
        stems = [0.0, across] if letter not in "FPTYijl" else [across / 2]
        bars = [0, height - bar] if lower else [(height - bar) / 2]
        boxes = [(x - stem / 2, 0, x + stem / 2, height) for x in stems]
        boxes += [(x - stem / 2 - serif, 0, x + stem / 2 + serif, 40) for x in stems if serif]
        boxes += [(0, y, across, y + bar) for y in bars]
        boxes += [(0, -900, stem, 0)] if letter in deep else []
        for left, foot, right, top in boxes:
            corners = [(left, foot), (left, top), (right, top), (right, foot)]
            places = [((x + lean * y) * units / 1000, (y + raised) * units / 1000) for x, y in corners]
            pen.moveTo(places[0])
            for place in places[1:]:
                pen.lineTo(place)
            pen.closePath()
        return pen.glyph()

    letters = [letter for letter in string.ascii_letters if letter not in missing]
    builder = FontBuilder(units, isTTF=True)
    builder.setupGlyphOrder([".notdef", *letters])
    builder.setupCharacterMap({ord(letter): letter for letter in letters})
    builder.setupGlyf({".notdef": glyph("H"), **{letter: glyph(letter) for letter in letters}})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *letters], (600 * units // 1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular", "licenseInfoURL": licence})
    builder.setupOS2(usWeightClass=weight, fsSelection=1 if lean else 64)
    builder.updateHead(macStyle=2 if lean else 0)
    builder.setupPost(italicAngle=-10 if lean else 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path
