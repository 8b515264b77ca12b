"""The layout of letters: one cap height and baseline whatever the font, centred, and what is left out."""

from pathlib import Path

import numpy as np

from tests.training.data.letters.fonts import write_font
from training.data.letters.rendering import BASELINE, CAP_HEIGHT, LETTERS, SIZE, draw_letters


def test_letters_stand_on_one_line_and_capitals_are_of_one_height(tmp_path: Path) -> None:
    drawn = draw_letters(write_font(tmp_path / "a.ttf"))
    assert list(drawn) == list(LETTERS)
    for letter, picture in drawn.items():
        rows = np.flatnonzero(picture.max(1) > 127)
        assert picture.shape == (SIZE, SIZE)
        assert rows[-1] == BASELINE - 1
        if letter.isupper():
            assert rows[0] == BASELINE - CAP_HEIGHT


def test_ink_is_bright_and_in_the_middle(tmp_path: Path) -> None:
    picture = draw_letters(write_font(tmp_path / "a.ttf"))["H"]
    columns = np.flatnonzero(picture.max(0))
    assert picture.max() == 255
    assert (picture == 0).mean() > 0.5
    assert abs(columns[0] + columns[-1] - (SIZE - 1)) <= 1


def test_edges_are_antialiased(tmp_path: Path) -> None:
    picture = draw_letters(write_font(tmp_path / "a.ttf", lean=0.2))["H"]
    assert len(np.unique(picture)) > 10


def test_the_units_of_a_font_and_its_own_baseline_do_not_matter(tmp_path: Path) -> None:
    plain = draw_letters(write_font(tmp_path / "a.ttf"))
    for number, other in enumerate(({"units": 2000}, {"raised": 60}, {"raised": -60})):
        drawn = draw_letters(write_font(tmp_path / f"{number}.ttf", **other))
        for letter in "HTax":
            assert np.abs(drawn[letter].astype(int) - plain[letter]).mean() < 2


def test_what_is_empty_or_does_not_fit_is_left_out(tmp_path: Path) -> None:
    drawn = draw_letters(write_font(tmp_path / "a.ttf", empty="x", deep="Q"))
    assert set(LETTERS) - set(drawn) == {"x", "Q"}
    wide = draw_letters(write_font(tmp_path / "b.ttf", across=1500))
    assert not set(wide) & set("HMm")


def test_small_capitals_are_no_lower_case(tmp_path: Path) -> None:
    assert draw_letters(write_font(tmp_path / "a.ttf", small_caps=True)) == {}


def test_a_font_without_h_has_no_layout(tmp_path: Path) -> None:
    assert draw_letters(write_font(tmp_path / "a.ttf", empty="H")) == {}
