"""Moments and thickness of drawn strokes."""

import numpy as np
import pytest

from training.strokes import moments, slants, thickness


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    ink = np.zeros((1, 40, 40))
    ink[0, top : top + height, left : left + width] = 1
    return ink


def test_moments_of_a_box_are_those_of_its_sides() -> None:
    found = moments(box(5, 10, 20, 6))
    assert found.mass == 120
    np.testing.assert_allclose([found.down[0], found.across[0], found.both[0]], [399 / 12, 35 / 12, 0], atol=1e-9)


def test_a_picture_without_ink_has_no_moments() -> None:
    found = moments(np.zeros((2, 8, 9)))
    assert all((part == 0).all() for part in found)
    assert (slants(found) == 0).all()


@pytest.mark.parametrize("width", [2, 5])
@pytest.mark.parametrize("turned", [False, True])
def test_a_stroke_is_as_thick_as_it_is_wide_whichever_way_it_runs(width: int, turned: bool) -> None:
    ink = box(4, 10, 32, width)
    found = thickness(ink.swapaxes(1, 2) if turned else ink)
    assert np.median(found[found > 0]) == pytest.approx(width, rel=0.03)


def test_a_diagonal_stroke_is_measured_across_and_not_along_its_rows() -> None:
    rows, columns = np.arange(40)[:, None], np.arange(40)
    ink = np.clip(4.5 - np.abs(rows - columns), 0, 1)[None].astype(float)
    middle = thickness(ink)[0, 20, 20]
    assert middle == pytest.approx(8 / np.sqrt(2), rel=0.05)


def test_antialiased_edges_count_by_their_ink_and_runs_do_not_join_across_rows() -> None:
    ink = np.zeros((1, 40, 40))
    ink[0, :, :2] = ink[0, :, -2:] = 1
    ink[0, :, 2] = 0.5
    found = thickness(ink)
    assert found[0, 20, 0] == pytest.approx(2.5, rel=0.01)
    assert found[0, 20, -1] == pytest.approx(2, rel=0.01)
    assert found[0, 20, 20] == 0
