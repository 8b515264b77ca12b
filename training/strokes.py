"""Moments and thickness of the ink of pictures, on which the measures of digits and of letters rest."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_INK = 0.2  # from which a pixel is part of a stroke


class Moments(NamedTuple):
    """The ink of each picture, and its second moments about its centre, in pixels; each float64 [N].

    Attributes:
        mass: Sum of the ink.
        down: Variance of the rows.
        across: Variance of the columns.
        both: Covariance of rows and columns.
    """

    mass: Floats
    down: Floats
    across: Floats
    both: Floats


def moments(ink: Floats) -> Moments:
    """The moments of ink, [N, H, W] in [0, 1]; all zeros for a picture without ink."""
    mass = ink.sum((1, 2))
    filled = np.maximum(mass, 1e-9)
    in_rows, in_columns = ink.sum(2) / filled[:, None], ink.sum(1) / filled[:, None]
    rows, columns = np.arange(ink.shape[1]), np.arange(ink.shape[2])
    row, column = in_rows @ rows, in_columns @ columns
    both = np.einsum("nhw,h,w->n", ink, rows, columns, optimize=True) / filled - row * column
    empty = mass == 0
    parts = (in_rows @ rows**2 - row**2, in_columns @ columns**2 - column**2, both)
    return Moments(mass, *(np.where(empty, 0, part) for part in parts))


def slants(of: Moments) -> Floats:
    """The shift to the right per height of the ink's axis, float64 [N]."""
    # Rows count downwards; to the right at the top is positive.
    slant: Floats = 0 - of.both / np.maximum(of.down, 1e-9)
    return slant


def thickness(ink: Floats) -> Floats:
    """The thickness of the stroke that each pixel is part of, in pixels; 0 where there is no ink.

    A straight stroke of thickness t whose normal is (x, y) has horizontal chords of length h = t / |x| and vertical
    ones of v = t / |y|, so 1 / t² = 1 / h² + 1 / v². A chord is the sum of its ink, so that antialiasing counts.

    Args:
        ink: [N, H, W] in [0, 1].

    Returns:
        float64 [N, H, W].
    """
    across, down = _chords(ink), _chords(ink.swapaxes(1, 2)).swapaxes(1, 2)
    found = np.zeros_like(ink)
    inked = across > 0
    across, down = across[inked], down[inked]
    found[inked] = across * down / np.hypot(across, down)
    return found


def _chords(ink: Floats) -> Floats:
    """For each pixel the ink of the horizontal run that it is in; 0 outside of runs."""
    padded = np.pad(ink, ((0, 0), (0, 0), (0, 1)))  # so that no run goes on in the next row
    chords, flat = np.zeros(padded.size), padded.ravel()
    (places,) = np.nonzero(flat > _INK)
    run = np.cumsum(np.diff(places, prepend=-1) > 1)
    chords[places] = np.bincount(run, flat[places])[run]
    return chords.reshape(padded.shape)[:, :, :-1]
