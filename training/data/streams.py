"""What batches are made of: an order, pictures decoded when they are asked for, and threads that work ahead."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from training import seeds
from training.data.dataset import fingerprint
from training.data.pictures import File, Mode, in_threads, read_picture, read_square

Made = TypeVar("Made")

_AHEAD = 3  # batches that are made while one is trained on


class Pictures(Sequence[Tensor]):
    """Pictures of their own sizes, each uint8 [3, H, W], by `read_picture`; what cannot be read raises a DataError."""

    def __init__(self, files: Sequence[File], max_side: int | None) -> None:
        """Decodes nothing yet."""
        self._files = files
        self._max_side = max_side

    @property
    def fingerprint(self) -> str:
        """Digest of the files' paths, sizes and checksums."""
        return fingerprint(self._max_side, *(file[:3] for file in self._files))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Any) -> Any:  # one index; slices are not asked for
        return read_picture(self._files[index], self._max_side)


class Squares:
    """Pictures of one size, indexed like a tensor uint8 [N, C, S, S]; what cannot be read raises a DataError."""

    def __init__(self, files: Sequence[File], mode: Mode, size: int) -> None:
        """Decodes nothing yet."""
        self.shape = torch.Size((len(files), len(mode), size, size))
        self._files = files
        self._read = partial(read_square, mode=mode, size=size)

    @property
    def fingerprint(self) -> str:
        """Digest of the files' paths, sizes and checksums."""
        return fingerprint(self.shape, *(file[:3] for file in self._files))

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """The pictures of some indices, uint8 [B, C, S, S]; of a slice, progress is shown."""
        title = f"reading {self._files[0].source.name}" if isinstance(index, slice) else None
        files = [self._files[each] for each in torch.arange(len(self._files))[index].tolist()]
        images = torch.empty(len(files), *self.shape[1:], dtype=torch.uint8)
        pixels = images.numpy()  # torch's threads would fight over many small copies
        for place, image in enumerate(in_threads(self._read, files, title)):
            pixels[place] = image.numpy()
        return images


def ahead(make: Callable[[int], Made]) -> Callable[[int], Made]:
    """Gives what `make` makes of a step, while a thread makes what the next steps need, in order."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    pending: dict[int, Future[Made]] = {}

    def get(step: int) -> Made:
        for each in range(step, step + 1 + _AHEAD):
            if each not in pending:
                pending[each] = pool.submit(make, each)
        return pending.pop(step).result()

    return get


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
