"""What each font is like in numbers: its letters' measures, beside what is usual of each letter, between -1 and 1."""

import numpy as np
from numpy.typing import NDArray

from training.strokes import Floats

_RANGE = (2, 98)  # percentiles of the training fonts that become -1 and 1


def style_values(
    measures: Floats, labels: NDArray[np.int64], fonts: NDArray[np.int64], trained_on: NDArray[np.bool_]
) -> Floats:
    """The style of each font: one set of numbers for its whole alphabet.

    Args:
        measures: Of each picture, [N, M]; NaN where a letter has none.
        labels: The letter of each picture.
        fonts: The font of each picture, in [0, F).
        trained_on: Which fonts, [F], say what is usual and what is extreme.

    Returns:
        float64 [F, M], each in [-1, 1].
    """
    chosen = trained_on[fonts]
    usual = np.full((labels.max() + 1, measures.shape[1]), np.nan)
    for letter in np.unique(labels[chosen]):
        of_letter = measures[chosen & (labels == letter)]
        usual[letter] = np.where(np.isnan(of_letter).any(0), np.nan, of_letter.mean(0))
    apart = measures - usual[labels]
    raw = np.stack([np.nanmedian(apart[fonts == font], axis=0) for font in range(len(trained_on))])
    low, high = np.percentile(raw[trained_on], _RANGE, axis=0)
    middle, reach = (low + high) / 2, np.maximum((high - low) / 2, 1e-9)
    scaled: Floats = np.clip((raw - middle) / reach, -1, 1)
    return scaled
