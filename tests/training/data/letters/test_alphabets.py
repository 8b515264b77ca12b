"""Which fonts' alphabets are kept, and that they are drawn once."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.data.letters.fonts import write_font
from training.data import DataError
from training.data.letters import alphabets
from training.data.letters.alphabets import alphabets_of


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_alphabets_are_drawn_once_and_anew_when_a_font_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fonts"
    write_font(folder / "A/a.ttf")
    first = alphabets_of(folder)
    with monkeypatch.context() as patched:
        patched.setattr(alphabets, "draw_letters", None)
        again = alphabets_of(folder)
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before, after)
    write_font(folder / "A/a.ttf", stem=120)
    assert not np.array_equal(alphabets_of(folder).images, first.images)
    write_font(folder / "B/b.ttf")
    assert alphabets_of(folder).families.tolist() == ["A", "B"]


def test_equal_styles_are_one_and_hairlines_and_torsos_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "fonts"
    write_font(folder / "A/a.ttf", weight=400)
    write_font(folder / "A/b.ttf", weight=500)
    write_font(folder / "A/c.ttf", weight=600, stem=120)
    write_font(folder / "Hairline/a.ttf", stem=12, bar=12)
    write_font(folder / "Torso/a.ttf", missing="abcdefgh")
    write_font(folder / "Gap/a.ttf", missing="ab", across=300)
    found = alphabets_of(folder)
    assert found.families.tolist() == ["A", "A", "Gap"]
    assert np.bincount(found.fonts).tolist() == [52, 52, 50]
    assert found.licences.tolist() == ["OFL-1.1"] * 3


def test_fonts_without_latin_letters_are_refused(tmp_path: Path) -> None:
    write_font(tmp_path / "fonts/a.ttf", missing="abcdefghijklmno")
    with pytest.raises(DataError, match="no font in it has the Latin letters; name another folder with --data-dir"):
        alphabets_of(tmp_path / "fonts")
