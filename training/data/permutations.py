"""The order in which the images of a data set are shown, as a function of the seed alone."""

from functools import lru_cache

import torch
from torch import Tensor

from training import seeds


def shuffled(size: int, seed: int, start: int, count: int, *names: str) -> Tensor:
    """A part of an endless stream of indices: one permutation of the data set after another, one an epoch.

    Args:
        size: Images in the data set, at least 1.
        seed: Decides the permutations, together with `names`.
        start: The part's first place, counted from 0.
        count: Its length; it may span several permutations, so that no image is left out.
        names: What the indices are of, where there is more than one stream.

    Returns:
        int64 [count], each in [0, size).
    """
    parts = []
    while count:
        epoch, offset = divmod(start, size)
        parts.append(_permutation(size, seed, *names, "epoch", epoch)[offset : offset + count])
        start, count = start + len(parts[-1]), count - len(parts[-1])
    return torch.cat(parts)


@lru_cache(maxsize=4)  # two domains, each with a batch that spans two epochs
def _permutation(size: int, seed: int, *names: str | int) -> Tensor:
    return torch.randperm(size, generator=seeds.random_source(seed, *names))
