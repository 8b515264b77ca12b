"""What is read from fonts' tables, and which styles of a family are taken."""

from pathlib import Path

import pytest

from tests.training.data.letters.fonts import write_font
from training.data import DataError
from training.data.letters.fonts import STYLES, Font, chosen_styles, font_files, read_font


def test_fonts_are_found_in_sub_folders_but_not_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/x.ttf", "a.ttf", ".hidden/y.ttf"):
        write_font(tmp_path / name)
    (tmp_path / "README").write_text("no font")
    assert font_files(tmp_path) == [tmp_path / "a.ttf", tmp_path / "b/x.ttf"]


def test_a_sub_folder_is_a_family(tmp_path: Path) -> None:
    beside = read_font(write_font(tmp_path / "a.ttf", family="Own", weight=700), tmp_path)
    inner = read_font(write_font(tmp_path / "Given Name/b.ttf", family="Own", lean=0.2), tmp_path)
    assert (beside.family, beside.weight, beside.italic) == ("Own", 700, False)
    assert (inner.family, inner.weight, inner.italic) == ("Given Name", 400, True)
    assert beside.letters >= set("AZaz")


@pytest.mark.parametrize(
    ("words", "licence"),
    [
        ("http://scripts.sil.org/OFL", "OFL-1.1"),
        ("http://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
        ("Ubuntu Font Licence 1.0", "Ubuntu-font-1.0"),
        ("All rights reserved", ""),
    ],
)
def test_the_licence_is_in_a_font_or_beside_it(tmp_path: Path, words: str, licence: str) -> None:
    assert read_font(write_font(tmp_path / "a.ttf", licence=words), tmp_path).licence == licence
    font = write_font(tmp_path / "b/b.ttf", licence="https://openfontlicense.org")
    (tmp_path / "b/LICENSE").write_text(words)
    assert read_font(font, tmp_path).licence == licence


def test_a_broken_font_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.woff2").write_bytes(b"wOF2 and nothing more")
    with pytest.raises(DataError, match=r"a\.woff2: not a readable font: "):
        read_font(tmp_path / "a.woff2", tmp_path)


def styles(family: str, uprights: int, italics: int) -> list[Font]:
    slants = [False] * uprights + [True] * italics
    return [Font(Path(f"{n}"), family, 100 * (n % 9 + 1), slant, "", frozenset()) for n, slant in enumerate(slants)]


def test_styles_of_a_large_family_are_spread_over_weight_and_slant() -> None:
    chosen = chosen_styles(styles("A", 9, 9))
    assert len(chosen) == STYLES
    for italic in (False, True):
        weights = [font.weight for font in chosen if font.italic == italic]
        assert len(weights) == STYLES // 2
        assert (weights[0], weights[-1]) == (100, 900)


def test_a_small_family_is_taken_whole_and_none_takes_anothers_place() -> None:
    chosen = chosen_styles([*styles("A", 2, 9), *styles("B", 1, 0)])
    assert [sum(font.family == "A" and font.italic == italic for font in chosen) for italic in (False, True)] == [2, 6]
    assert sum(font.family == "B" for font in chosen) == 1
