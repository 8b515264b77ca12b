"""The measures of letters on drawn shapes, whose weight, slant, width, contrast and serifs are known."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.data.letters.measures import FEET, MEASURES, measured_letters
from training.data.letters.rendering import BASELINE, CAP_HEIGHT, LETTERS, SIZE


def drawn(stem: float = 5, bar: float = 5, apart: float = 20, lean: float = 0, serif: float = 0) -> np.ndarray:
    """An H, antialiased: two stems, a bar, and feet that reach out by `serif` on each side."""
    scale, top = 8, BASELINE - CAP_HEIGHT
    picture = Image.new("L", (SIZE * scale, SIZE * scale))
    draw = ImageDraw.Draw(picture)

    def box(left: float, upper: float, right: float, lower: float) -> None:
        corners = [(left, lower), (left, upper), (right, upper), (right, lower)]
        draw.polygon([((x + lean * (BASELINE - y)) * scale, y * scale) for x, y in corners], 255)

    for middle in (32 - apart / 2, 32 + apart / 2):
        box(middle - stem / 2, top, middle + stem / 2, BASELINE)
        box(middle - stem / 2 - serif, BASELINE - 2, middle + stem / 2 + serif, BASELINE)
    box(32 - apart / 2, 27, 32 + apart / 2, 27 + bar)
    return np.array(picture.reduce(scale))


def measure(name: str, *pictures: np.ndarray, letter: str = "H") -> list[float]:
    labels = np.full(len(pictures), LETTERS.index(letter))
    return measured_letters(np.stack(pictures), labels)[:, list(MEASURES).index(name)].tolist()


def test_weight_is_the_thickness_of_the_stems() -> None:
    for stem in (2, 5, 9.5):
        for other in ({}, {"lean": 0.2}, {"bar": 2}, {"serif": 3}):
            (found,) = measure("weight", drawn(stem, **other))
            assert found * CAP_HEIGHT == pytest.approx(stem, rel=0.12)


def test_slant_is_the_shift_per_height() -> None:
    found = measure("slant", drawn(), drawn(lean=0.2), drawn(lean=-0.2))
    assert found == pytest.approx([0, 0.2, -0.2], abs=0.02)


def test_width_grows_with_the_letter_and_not_with_its_slant() -> None:
    narrow, wide, leaning = measure("width", drawn(apart=15), drawn(apart=30), drawn(apart=15, lean=0.25))
    assert wide > 1.6 * narrow
    assert leaning == pytest.approx(narrow, rel=0.03)


def test_contrast_is_thick_over_thin() -> None:
    even, some, much = measure("contrast", *(drawn(6, bar) for bar in (6, 3, 1.5)))
    assert even < some < much
    assert much == pytest.approx(np.log(4), abs=0.25)


def test_serifs_are_measured_at_the_feet_of_letters_that_have_some() -> None:
    sans, short, long = measure("serif", drawn(), drawn(serif=2), drawn(serif=4))
    assert sans == pytest.approx(0, abs=0.01)
    assert [short * CAP_HEIGHT, long * CAP_HEIGHT] == pytest.approx([4, 8], abs=0.3)
    (bold,) = measure("serif", drawn(stem=9, serif=2, lean=0.2))
    assert bold == pytest.approx(short, abs=0.02)
    assert np.isnan(measure("serif", drawn(serif=2), letter="o")).all()
    assert set(FEET) < set(LETTERS)


def test_faint_and_empty_pictures_have_finite_measures() -> None:
    pictures = [np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), 20, np.uint8), drawn(stem=0.3)]
    found = measured_letters(np.stack(pictures), np.full(3, LETTERS.index("H")))
    assert np.isfinite(found).all()


def test_a_picture_measures_the_same_among_others() -> None:
    pictures = np.stack([drawn(stem) for stem in np.linspace(2, 9, 7)])
    labels = np.full(7, LETTERS.index("H"))
    together = measured_letters(pictures, labels)
    apart = [measured_letters(pictures[[n]], labels[[n]])[0] for n in range(7)]
    np.testing.assert_allclose(together, apart, atol=1e-9)
    assert measured_letters(pictures[:0], labels[:0]).shape == (0, len(MEASURES))
