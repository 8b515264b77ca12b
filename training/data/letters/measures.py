"""Measures how a letter is drawn, from its pixels alone: weight, slant, width, contrast and serifs."""

import numpy as np
from numpy.typing import NDArray

from training.data.letters.rendering import BASELINE, CAP_HEIGHT, LETTERS
from training.strokes import Floats, moments, slants, thickness

MEASURES = {
    "weight": "thickness of the stems",
    "slant": "lean to the right",
    "width": "width of the letters",
    "contrast": "thick strokes over thin ones",
    "serif": "length of the serifs",
}
"""What each column that `measured_letters` gives says."""

FEET = {"F": 1, "H": 2, "K": 2, "M": 2, "P": 1, "T": 1, "Y": 1}
"""Letters that stand on straight stems, and how many: where serifs are measured. Those of italics have feet too."""

_BULK, _THIN = 0.5, 0.15  # quantiles of thickness, by ink and by length of stroke
_SERIF_ROWS = slice(BASELINE - 2, BASELINE)
_STEM_ROWS = slice(BASELINE - 11, BASELINE - 8)
_BATCH = 256  # pictures, whose arrays stay in the processor's cache


def measured_letters(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Floats:
    """Measures letters in the layout of `rendering`, uint8 [N, 64, 64], each label an index into `LETTERS`.

    Weight is the thickness of the stroke that the median of the ink is in, as a share of the cap height. Slant is the
    horizontal shift per height of the ink's axis, from second moments. Width is the ink's standard deviation across,
    once it is sheared upright, as a share of the cap height. Contrast is the logarithm of the weight over the
    thickness that 15 % of the strokes' length is thinner than. Serif is how much longer a stem's foot is than the
    stem is thick, as a share of the cap height, at least 0: of `FEET`, NaN for others.

    Returns:
        float64 [N, 5], one column for each of `MEASURES`.
    """
    stems = np.array([FEET.get(letter, np.nan) for letter in LETTERS])[labels]
    starts = range(0, len(images), _BATCH)
    parts = [_measured(images[start : start + _BATCH] / 255, stems[start : start + _BATCH]) for start in starts]
    return np.concatenate([np.empty((0, len(MEASURES))), *parts])


def _measured(ink: Floats, stems: Floats) -> Floats:
    about = moments(ink)
    upright = np.maximum(about.across - about.both**2 / np.maximum(about.down, 1e-9), 0)
    thick = thickness(ink)
    length = np.divide(ink, thick, out=np.zeros_like(ink), where=thick > 0)
    bulk = _quantiles(thick, ink, _BULK)
    thin = _quantiles(thick, length, _THIN)
    feet = ink[:, _SERIF_ROWS].sum(2).mean(1) - ink[:, _STEM_ROWS].sum(2).mean(1)
    serif = np.maximum(feet, 0) / stems / CAP_HEIGHT
    contrast = np.log(np.maximum(bulk, 1e-3) / np.maximum(thin, 1e-3))
    return np.stack([bulk / CAP_HEIGHT, slants(about), np.sqrt(upright) / CAP_HEIGHT, contrast, serif], axis=1)


def _quantiles(thick: Floats, weights: Floats, share: float) -> Floats:
    """A weighted quantile of each picture's values above 0, float64 [N]; 0 where there are none."""
    picture, *_ = inked = np.nonzero(thick)
    values, weights = thick[inked], weights[inked]
    order = np.argsort(picture * 1e3 + values)  # by picture, then by value, which is below a thousand pixels
    values, sums = values[order], np.append(0, np.cumsum(weights[order]))
    ends = np.searchsorted(picture, np.arange(len(thick)), side="right")
    begins = np.append(0, ends[:-1])
    wanted = sums[begins] + share * (sums[ends] - sums[begins])
    place = np.clip(np.searchsorted(sums, wanted) - 1, begins, np.maximum(begins, ends - 1))
    filled = np.append(values, 0)
    return np.where(ends > begins, filled[np.minimum(place, len(values))], 0)
