"""Seeds to latents: one counter-based generator per image, always on the CPU.

A latent depends on nothing but its seed, so a picture does not change with the batch it rode in, its place there, or
the device that runs the graph. Philox-4x64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) needs
no warm-up, so that a generator per image costs microseconds. Needs no torch: the gateway draws labels with it.
"""

import numpy as np
from numpy.typing import NDArray

# Streams of one seed: what is drawn from one never moves what is drawn from another.
_LATENT_STREAM = 0
_LABEL_STREAM = 1


def draw_latent(seed: int, size: int) -> NDArray[np.float32]:
    """Draw the latent of a seed.

    Args:
        seed: 0 to 2^64 - 1.
        size: Number of values, at least 1.

    Returns:
        float32 [size], independent standard normal values.
    """
    return _generator(seed, _LATENT_STREAM).standard_normal(size, dtype=np.float32)


def draw_label(seed: int, classes: int) -> int:
    """Draw the label of a seed whose caller named none, uniformly from 0 to classes - 1."""
    return int(_generator(seed, _LABEL_STREAM).integers(classes))


def _generator(seed: int, stream: int) -> np.random.Generator:
    # A key is 128 bits wide: the seed in the low half, the stream in the high half.
    return np.random.Generator(np.random.Philox(key=(stream << 64) | seed))
