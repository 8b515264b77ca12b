"""Measures by eye's terms how a stroke is drawn: slant, stroke width and size, from the pixels alone."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

ATTRIBUTES = ("slant", "stroke-width", "size")
"""The names of the columns that `measured_attributes` gives."""


def measured_attributes(images: Tensor) -> NDArray[np.float64]:
    """Measures light strokes on dark ground.

    Slant is the horizontal shift per height of the ink's axis, from its second moments. Stroke width is twice the ink
    over its outline, in pixels: a stroke of width w and length l has ink wl and an outline of about 2l. Size is the
    ink's radius of gyration, in pixels.

    Args:
        images: uint8 [N, C, H, W]; colours are averaged.

    Returns:
        float64 [N, 3], one column for each of `ATTRIBUTES`; all zeros for an image without ink.
    """
    ink = images.double().mean(1) / 255
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in ink.shape[1:])
    mass = ink.sum((1, 2))
    some = mass.clamp_min(1e-9)
    down = rows[:, None] - ((ink * rows[:, None]).sum((1, 2)) / some)[:, None, None]
    across = columns - ((ink * columns).sum((1, 2)) / some)[:, None, None]
    spread_down, spread_across, together = (
        (ink * moment).sum((1, 2)) / some for moment in (down * down, across * across, down * across)
    )
    outline = ink.diff(dim=1).abs().sum((1, 2)) + ink.diff(dim=2).abs().sum((1, 2))
    slant = 0 - together / spread_down.clamp_min(1e-9)  # rows count downwards; to the right at the top is positive
    width = 2 * mass / outline.clamp_min(1e-9)
    return torch.stack([slant, width, (spread_down + spread_across).sqrt()], dim=1).numpy()


def rank_correlations(values: NDArray[np.float64], attributes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's ρ between what was swept and each measured attribute, the mean over the sweeps.

    Args:
        values: float64 [K], the stops of a sweep.
        attributes: float64 [sweeps, K, attributes], measured at them.

    Returns:
        float64 [attributes], each in [-1, 1]; one that does not move in a sweep counts as 0 there.
    """
    correlations = np.array(
        [[stats.spearmanr(values, sweep[:, column]).statistic if np.ptp(sweep[:, column]) else 0.0
          for column in range(attributes.shape[2])] for sweep in attributes]
    )  # fmt: skip
    mean: NDArray[np.float64] = correlations.mean(axis=0)
    return mean


def names_of(correlations: NDArray[np.float64], least: float = 0.5) -> list[str]:
    """Names each number by the attribute that it moves most, none twice.

    Args:
        correlations: float64 [numbers, attributes].
        least: |ρ| below which a number is not named.

    Returns:
        One name for each number; empty where nothing is left for it.
    """
    strength = np.abs(correlations)
    names = [""] * len(strength)
    while strength.size and strength.max() >= least:
        number, attribute = np.unravel_index(strength.argmax(), strength.shape)
        names[number] = ATTRIBUTES[attribute]
        strength[number, :] = strength[:, attribute] = 0
    return names
