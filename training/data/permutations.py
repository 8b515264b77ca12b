"""The order in which the images of a data set are shown, as a function of the seed alone."""

import torch
from torch import Tensor

from training import seeds


class Permutations:
    """An endless stream of indices: one permutation of the data set after another, one an epoch.

    A batch may span two of them, so that no image is left out.
    """

    def __init__(self, size: int, seed: int, *names: str) -> None:
        """Starts the stream.

        Args:
            size: Images in the data set, at least 1.
            seed: Decides the permutations, together with ...
            names: ... what they are of, where there is more than one stream.
        """
        self._size = size
        self._seed = seed
        self._names = names
        self._known: dict[int, Tensor] = {}

    def indices(self, start: int, count: int) -> Tensor:
        """A part of the stream.

        Args:
            start: Its first place, counted from 0.
            count: Its length.

        Returns:
            int64 [count], each in [0, size).
        """
        parts = []
        while count:
            epoch, offset = divmod(start, self._size)
            part = self._permutation(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._known:
            order = torch.randperm(self._size, generator=seeds.random_source(self._seed, *self._names, "epoch", epoch))
            # Only a batch that spans two epochs needs more than one.
            kept = {known: value for known, value in self._known.items() if known == epoch - 1}
            self._known = {**kept, epoch: order}
        return self._known[epoch]
