"""Pictures that do not fit in memory: decoded when they are asked for, and batches of them made ahead."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar, overload

import torch
from torch import Tensor

from training.data.dataset import fingerprint
from training.data.pictures import File, Mode, Source, in_threads, read_picture, read_square

Plan = TypeVar("Plan")
Made = TypeVar("Made")

_AHEAD = 3
"""Batches that are made while one is trained on."""


class Squares:
    """Pictures of one size, indexed like a tensor uint8 [N, C, S, S]."""

    def __init__(self, source: Source, files: Sequence[File], mode: Mode, size: int) -> None:
        """Decodes nothing yet.

        Args:
            source: Where the files are.
            files: The pictures.
            mode: "L" for grey, "RGB" for colour.
            size: Side in pixels.
        """
        self.shape = torch.Size((len(files), len(mode), size, size))
        self.dtype = torch.uint8
        self._files = files
        self._read = partial(read_square, source, mode=mode, size=size)

    @property
    def fingerprint(self) -> str:
        """Digest of the files' paths, sizes and checksums."""
        return fingerprint(self.shape, *(file[:3] for file in self._files))

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """The pictures of some indices, uint8 [B, C, S, S].

        Raises:
            DataError: If one cannot be read.
        """
        chosen = self._files[index] if isinstance(index, slice) else [self._files[each] for each in index.tolist()]
        return self._decoded(chosen)

    def resident(self, title: str) -> Tensor:
        """All pictures, uint8 [N, C, S, S]; progress is shown under the title.

        Raises:
            DataError: If one cannot be read.
        """
        return self._decoded(self._files, title)

    def _decoded(self, files: Sequence[File], title: str | None = None) -> Tensor:
        images = torch.empty(len(files), *self.shape[1:], dtype=self.dtype)
        pixels = images.numpy()  # torch's threads would fight over many small copies
        for place, image in enumerate(in_threads(self._read, files, title)):
            pixels[place] = image.numpy()
        return images


class Pictures(Sequence[Tensor]):
    """Pictures of their own sizes, each uint8 [3, H, W]."""

    def __init__(self, source: Source, files: Sequence[File], max_side: int | None) -> None:
        """Decodes nothing yet.

        Args:
            source: Where the files are.
            files: The pictures.
            max_side: Those whose shorter side is longer are made smaller.
        """
        self._source = source
        self._files = files
        self._max_side = max_side

    @property
    def fingerprint(self) -> str:
        """Digest of the files' paths, sizes and checksums."""
        return fingerprint(self._max_side, *(file[:3] for file in self._files))

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return Pictures(self._source, self._files[index], self._max_side)
        return read_picture(self._source, self._files[index], self._max_side)


class Ahead(Generic[Plan, Made]):
    """Makes what the next steps need in a thread, in order, while the present one is trained on."""

    def __init__(self, plan: Callable[[int], Plan], make: Callable[[Plan], Made]) -> None:
        """Starts nothing yet.

        Args:
            plan: From a step to what decides its batch; called by whoever asks for a batch.
            make: From there to the batch; called in the thread.
        """
        self._plan = plan
        self._make = make
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._pending: dict[int, Future[Made]] = {}

    def get(self, step: int) -> Made:
        """What a step needs, made now or before.

        Raises:
            DataError: If a picture of it cannot be read.
        """
        wanted = range(step, step + 1 + _AHEAD)
        for stale in self._pending.keys() - set(wanted):
            self._pending.pop(stale).cancel()
        for each in wanted:
            if each not in self._pending:
                self._pending[each] = self._pool.submit(self._make, self._plan(each))
        return self._pending.pop(step).result()
