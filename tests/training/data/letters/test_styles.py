"""Style values: what is measured of a font beside what is usual of each letter."""

import numpy as np

from training.data.letters.styles import style_values


def test_a_style_is_that_of_all_its_letters_and_between_minus_one_and_one() -> None:
    letters, fonts = np.tile(np.arange(4), 5), np.repeat(np.arange(5), 4)
    # Each letter has a level of its own, and each font is a step above the one before.
    measures = np.array([10, 20, 30, 40])[letters, None] + fonts[:, None].astype(float)
    values = style_values(measures, letters, fonts, np.ones(5, dtype=bool))[:, 0]
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose([values[0], values[2], values[4]], [-1, 0, 1], atol=1e-9)


def test_a_font_that_lacks_letters_is_measured_by_the_others() -> None:
    letters, fonts = np.array([0, 1, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
    measures = np.array([[0.0], [100], [2], [102], [102]])
    values = style_values(measures, letters, fonts, np.array([True, True, False]))[:, 0]
    assert values[2] == values[1] > values[0]


def test_fonts_that_are_not_trained_on_have_no_say_in_the_scale() -> None:
    letters, fonts = np.zeros(4, dtype=int), np.arange(4)
    trained_on = np.array([True, True, False, False])
    near, far = (np.array([[1.0], [2], [last], [-last]]) for last in (5, 500))
    for values in (style_values(each, letters, fonts, trained_on)[:, 0] for each in (near, far)):
        np.testing.assert_allclose(values, [-1, 1, 1, -1])


def test_letters_without_a_measure_are_passed_over() -> None:
    letters, fonts = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    measures = np.array([[1.0], [np.nan], [3], [np.nan]])
    np.testing.assert_allclose(style_values(measures, letters, fonts, np.ones(2, dtype=bool))[:, 0], [-1, 1])
