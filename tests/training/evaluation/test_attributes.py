"""The measured attributes on drawn strokes, whose slant, width and size are known."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from training.evaluation.attributes import ATTRIBUTES, measured_attributes, names_of, rank_correlations


def stroke(lean: float = 0, width: int = 3, height: int = 20) -> torch.Tensor:
    """A stroke of 28x28 whose top lies `lean` pixels to the right of its foot."""
    picture = Image.new("L", (28, 28))
    top, foot = 14 - height / 2, 14 + height / 2
    ImageDraw.Draw(picture).line((14 - lean / 2, foot, 14 + lean / 2, top), 255, width)
    return torch.from_numpy(np.array(picture))[None]


def attribute(name: str, *strokes: torch.Tensor) -> list[float]:
    return measured_attributes(torch.stack(strokes))[:, ATTRIBUTES.index(name)].tolist()


def test_slant_is_the_shift_to_the_right_per_height():
    left, upright, right = attribute("slant", stroke(-10), stroke(0), stroke(10))
    assert upright == pytest.approx(0, abs=0.01)
    assert right == pytest.approx(0.5, abs=0.05)
    assert left == pytest.approx(-right, abs=0.05)


@pytest.mark.parametrize("width", [2, 4, 6])
def test_stroke_width_is_in_pixels(width):
    (found,) = attribute("stroke-width", stroke(0, width, height=24))
    assert found == pytest.approx(width, rel=0.25)


def test_size_grows_with_the_stroke_and_not_with_its_width():
    small, large = attribute("size", stroke(height=10), stroke(height=20))
    assert large == pytest.approx(2 * small, rel=0.15)
    thin, thick = attribute("size", stroke(width=2), stroke(width=4))
    assert thick == pytest.approx(thin, rel=0.1)


def test_an_image_without_ink_measures_nothing():
    assert measured_attributes(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)).tolist() == [[0, 0, 0]]


def test_correlations_are_means_over_sweeps():
    values = np.linspace(-1, 1, 5)
    rising, falling, still = values, -(values**3), np.zeros(5)
    attributes = np.stack([np.stack([rising, falling, still], 1), np.stack([rising, rising, still], 1)])
    np.testing.assert_allclose(rank_correlations(attributes), [1, 0, 0], atol=1e-12)


def test_the_strongest_correlation_names_first_and_no_attribute_names_two():
    correlations = np.array([[0.7, 0.6, 0.1], [-0.95, 0.2, 0.3], [0.4, 0.1, 0.2]])
    assert names_of(correlations) == ["stroke-width", "slant", ""]
    assert names_of(np.zeros((0, 3))) == []
