"""Measures by eye's terms how a stroke is drawn: slant, stroke width and size, from the pixels alone."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

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
    ink = images.double().mean(1) / 255
    mass = ink.sum((1, 2))

    def mean(what: Tensor) -> Tensor:
        return (ink * what).sum((1, 2)) / mass.clamp_min(1e-9)

    rows, columns = (torch.arange(side, dtype=torch.float64) for side in ink.shape[1:])
    down = rows[:, None] - mean(rows[:, None])[:, None, None]
    across = columns - mean(columns)[:, None, None]
    spread_down, spread_across = mean(down * down), mean(across * across)
    outline = ink.diff(dim=1).abs().sum((1, 2)) + ink.diff(dim=2).abs().sum((1, 2))
    # Rows count downwards; to the right at the top is positive.
    slant = 0 - mean(down * across) / spread_down.clamp_min(1e-9)
    width = 2 * mass / outline.clamp_min(1e-9)
    return torch.stack([slant, width, (spread_down + spread_across).sqrt()], dim=1).numpy()


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
