"""Draws the letters of a font at 64×64, all fonts in one layout: one cap height, one baseline, centred by their ink.

Ink is bright on black, as in MNIST.
"""

import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

LETTERS = string.ascii_uppercase + string.ascii_lowercase
SIZE = 64
CAP_HEIGHT = 36
"""Pixels from the baseline to the top of an H."""
BASELINE = 46
"""Row below the feet of an H."""

_OVERSAMPLING = 4
_EDGE = np.ones((SIZE, SIZE), dtype=bool)  # pixels that have to be black
_EDGE[1:-1, 1:-1] = False
_PROBE = 400  # size at which a font's cap height is measured
_SIMILAR = "adegqr"  # letters whose two cases look different, unless one is scaled from the other
_SAME_SHAPE = 0.85  # overlap of two shapes from which they are the same


def draw_letters(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Draws those of a font's letters that have ink and fit.

    Returns:
        A picture, uint8 [64, 64], by its letter; none where the font's lower case is its upper case, made smaller.

    Raises:
        OSError: If FreeType cannot read the font.
    """
    probe = _inked(_font(path, _PROBE), "H")
    if probe is None:
        return {}
    # The feet of an H need not stand on the font's own baseline.
    scale = CAP_HEIGHT * _OVERSAMPLING / probe.height
    font, sunk = _font(path, _PROBE * scale), round(probe.bottom * scale)
    large = {letter: drawn for letter in LETTERS if (drawn := _drawn(font, letter, sunk)) is not None}
    pairs = [(large[each], large[each.upper()]) for each in _SIMILAR if each in large and each.upper() in large]
    if pairs and np.median([_overlap(*pair) for pair in pairs]) > _SAME_SHAPE:
        return {}
    small = {letter: np.asarray(drawn.reduce(_OVERSAMPLING)) for letter, drawn in large.items()}
    return {letter: picture for letter, picture in small.items() if not picture[_EDGE].any()}


class _Inked(NamedTuple):
    """A letter cut out along its ink, and how far that reaches below the font's baseline."""

    picture: Image.Image
    bottom: int

    @property
    def height(self) -> int:
        return self.picture.height


def _font(path: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _inked(font: ImageFont.FreeTypeFont, letter: str) -> _Inked | None:
    reach = round(2 * font.size)  # in each direction, more than any letter needs
    canvas = Image.new("L", (2 * reach, 2 * reach))
    ImageDraw.Draw(canvas).text((reach, reach), letter, 255, font, anchor="ls")
    box = canvas.getbbox()
    return _Inked(canvas.crop(box), box[3] - reach) if box else None


def _drawn(font: ImageFont.FreeTypeFont, letter: str, sunk: int) -> Image.Image | None:
    """A letter, larger than it will be; None if it has no ink or does not fit."""
    inked, side = _inked(font, letter), SIZE * _OVERSAMPLING
    if inked is None:
        return None
    left = (side - inked.picture.width) // 2
    top = BASELINE * _OVERSAMPLING + inked.bottom - sunk - inked.height
    if left < 0 or top < 0 or top + inked.height > side:
        return None
    picture = Image.new("L", (side, side))
    picture.paste(inked.picture, (left, top))
    return picture


def _overlap(first: Image.Image, second: Image.Image) -> float:
    """Intersection over union of two shapes, each scaled to the same box."""
    masks = [np.asarray(each.crop(each.getbbox()).resize((32, 32))) > 127 for each in (first, second)]
    return float((masks[0] & masks[1]).sum() / max(1, (masks[0] | masks[1]).sum()))
