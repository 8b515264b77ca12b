"""Measures by eye's terms how a stroke is drawn: slant, stroke width and size, from the pixels alone."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from training.strokes import moments, slants

ATTRIBUTES = ("slant", "stroke-width", "size")
"""The names of the columns that `measured_attributes` gives."""

_LEAST = 0.5  # |ρ| below which a number is not named


def measured_attributes(images: Tensor) -> NDArray[np.float64]:
    """Measures light strokes on dark ground, uint8 [N, C, H, W], whose colours are averaged.

    Slant is the horizontal shift per height of the ink's axis, from its second moments. Stroke width is twice the ink
    over its outline, in pixels: a stroke of width w and length l has ink wl and an outline of about 2l. Size is the
    ink's radius of gyration, in pixels.

    Returns:
        float64 [N, 3], one column for each of `ATTRIBUTES`; all zeros for an image without ink.
    """
    ink = images.double().mean(1).numpy() / 255
    of = moments(ink)
    outline = np.abs(np.diff(ink, axis=1)).sum((1, 2)) + np.abs(np.diff(ink, axis=2)).sum((1, 2))
    width = 2 * of.mass / np.maximum(outline, 1e-9)
    return np.stack([slants(of), width, np.sqrt(of.down + of.across)], axis=1)


def rank_correlations(attributes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's ρ between stops in rising order and attributes measured at them, float64 [sweeps, stops, attributes].

    Returns:
        The mean over the sweeps, float64 [attributes], in [-1, 1]; what does not move in a sweep counts as 0 there.
    """
    stops = np.arange(attributes.shape[1])

    def correlation(measured: NDArray[np.float64]) -> float:
        return float(stats.spearmanr(stops, measured).statistic) if np.ptp(measured) else 0.0

    mean: NDArray[np.float64] = np.apply_along_axis(correlation, 1, attributes).mean(axis=0)
    return mean


def names_of(correlations: NDArray[np.float64]) -> list[str]:
    """Names each number by the attribute that it moves most, none twice, by ρ of [numbers, attributes]; "" if none."""
    strength = np.abs(correlations)
    names = [""] * len(strength)
    while strength.size and strength.max() >= _LEAST:
        number, attribute = np.unravel_index(strength.argmax(), strength.shape)
        names[number] = ATTRIBUTES[attribute]
        strength[number, :] = strength[:, attribute] = 0
    return names
