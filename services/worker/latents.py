"""Seeds to latents: one counter-based stream per image, always on the CPU.

A latent depends on nothing but its seeds, so a picture does not change with the batch it rode in, its place there, or
the device that runs the graph. Philox-4x64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) needs
no warm-up, so that a stream per image costs microseconds. Needs no torch: the gateway draws labels and codes with
it.
"""

import math
import threading

import numpy as np
from numpy.typing import NDArray

from gantry.v1 import worker_pb2

# Streams of one seed: what is drawn from one never moves what is drawn from another. From 2 on every second stream is
# that of a categorical code, and every second that of a continuous one; attributes begin above all of them.
_LATENT_STREAM = 0
_LABEL_STREAM = 1
_CATEGORY_STREAM = 2
_NUMBER_STREAM = 3
_ATTRIBUTE_STREAM = 1 << 32

# Below this sine the angle between two latents says nothing about the way between them.
_LEAST_SINE = 1e-6

_ZEROS = np.zeros(4, np.uint64)


class _Own(threading.local):
    """A thread's generator. It is set, not made anew: numpy asks the system for entropy even where it gets a key."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)
        self.generator = np.random.Generator(self.philox)


_own = _Own()


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


def draw_category(seed: int, code_number: int, values: int) -> int:
    """Draw the value of a categorical code that the caller did not set.

    Args:
        seed: 0 to 2^64 - 1.
        code_number: The code's place among the categorical codes of its model, from 0.
        values: Number of its values, at least 1.

    Returns:
        An index, uniformly from 0 to values - 1.
    """
    return int(_generator(seed, _CATEGORY_STREAM + 2 * code_number).integers(values))


def draw_number(seed: int, code_number: int, low: float, high: float) -> float:
    """Draw the value of a continuous code that the caller did not set.

    Args:
        seed: 0 to 2^64 - 1.
        code_number: The code's place among the continuous codes of its model, from 0.
        low: The least value.
        high: The greatest value.

    Returns:
        A number, uniformly from `low` to `high`, that float32 holds exactly.
    """
    return _draw_uniform(seed, _NUMBER_STREAM + 2 * code_number, low, high)


def draw_attribute(seed: int, attribute_number: int, low: float, high: float) -> float:
    """Draw the value of an attribute that the caller did not set.

    Args:
        seed: 0 to 2^64 - 1.
        attribute_number: The attribute's place among the attributes of its model, from 0.
        low: The least value.
        high: The greatest value.

    Returns:
        A number, uniformly from `low` to `high`, that float32 holds exactly.
    """
    return _draw_uniform(seed, _ATTRIBUTE_STREAM + attribute_number, low, high)


def find_latent_fault(work: worker_pb2.GenerateWork) -> str:
    """Say what is wrong with the latent of an item; empty where nothing is."""
    match work.WhichOneof("latent"):
        case "seed":
            return ""
        case "slerp":
            position = work.slerp.position
            return "" if 0.0 <= position <= 1.0 else f"slerp.position {position:g}: must be 0 to 1"
        case "sum":
            return _find_sum_fault(work.sum)
        case _:
            return "latent: must be a seed, slerp or sum"


def latent_of(work: worker_pb2.GenerateWork, size: int) -> NDArray[np.float32]:
    """Return the latent of an item, before truncation.

    Args:
        work: The item, without a fault.
        size: Number of values, at least 1.

    Returns:
        float32 [size].
    """
    match work.WhichOneof("latent"):
        case "slerp":
            ends = (draw_latent(work.slerp.from_seed, size), draw_latent(work.slerp.to_seed, size))
            return slerp(*ends, work.slerp.position)
        case "sum":
            return _sum(work.sum, size)
        case _:
            return draw_latent(work.seed, size)


def slerp(start: NDArray[np.float32], end: NDArray[np.float32], position: float) -> NDArray[np.float32]:
    """Interpolate between two latents along the arc between their directions (White, 2016, arXiv:1609.04468, §2.1).

    Where they point the same way or opposite ways there is no one arc; the way is then a straight line.

    Args:
        start: The latent at position 0, float32 [size].
        end: The latent at position 1, float32 [size].
        position: 0 to 1.

    Returns:
        float32 [size]; at 0 and 1 exactly the ends.
    """
    first, last = start.astype(np.float64), end.astype(np.float64)
    # Sums instead of a dot product, whose last digits depend on the library and its threads.
    lengths = math.sqrt((first * first).sum() * (last * last).sum())
    cosine = (first * last).sum() / lengths if lengths else 1.0
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    sine = math.sin(angle)
    if sine < _LEAST_SINE:
        weights = (1.0 - position, position)
    else:
        weights = (math.sin((1.0 - position) * angle) / sine, math.sin(position * angle) / sine)
    return (weights[0] * first + weights[1] * last).astype(np.float32)


def _find_sum_fault(latent_sum: worker_pb2.LatentSum) -> str:
    if not latent_sum.terms:
        return "sum.terms: must be at least one"
    for number, term in enumerate(latent_sum.terms):
        if not term.seeds:
            return f"sum.terms[{number}].seeds: must be at least one"
        if not math.isfinite(term.weight):
            return f"sum.terms[{number}].weight {term.weight:g}: must be finite"
    return ""


def _sum(latent_sum: worker_pb2.LatentSum, size: int) -> NDArray[np.float32]:
    total = np.zeros(size)
    for term in latent_sum.terms:
        total += term.weight * np.mean([draw_latent(seed, size) for seed in term.seeds], axis=0, dtype=np.float64)
    return total.astype(np.float32)


def _draw_uniform(seed: int, stream: int, low: float, high: float) -> float:
    drawn = _generator(seed, stream).uniform(low, high)
    # Rounding may lead over the bounds, which are float32 themselves.
    return float(np.float32(drawn).clip(np.float32(low), np.float32(high)))


def _generator(seed: int, stream: int) -> np.random.Generator:
    """Return this thread's generator, at the start of a stream; it holds until the next call."""
    # A key is 128 bits wide: the seed in the low half, the stream in the high half.
    _own.philox.state = {
        "bit_generator": "Philox",
        "state": {"counter": _ZEROS, "key": np.array([seed, stream], np.uint64)},
        "buffer": _ZEROS,
        "buffer_pos": len(_ZEROS),  # nothing is left of the buffer
        "has_uint32": 0,
        "uinteger": 0,
    }
    return _own.generator
