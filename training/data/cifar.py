"""CIFAR-10 as its authors give it: batches of pickled arrays, read so that nothing in them can run.

A pickle names functions that its reader calls. This reader knows those that arrays and bytes need, calls harmless
stand-ins for them, and refuses a file that names any other.
"""

import io
import pickle
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from training.data.dataset import DataError, ImageDataset, Split, cache_dir

_NAME = "cifar-10"
_FOLDER, _ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
_BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_LICENCE = "CIFAR-10 (Krizhevsky, 2009), published without a licence"
_SHAPE = (3, 32, 32)


def load_cifar(split: Split, data_dir: Path | None) -> ImageDataset:
    """Loads the training or the test pictures.

    Sought are the folder cifar-10-batches-py and the archive cifar-10-python.tar.gz, in `data_dir`, in its folder
    cifar-10, and in the cache, into which the archive is downloaded at last.

    Args:
        split: "test", or any other for all that is not.
        data_dir: Where to look first.

    Raises:
        DataError: If it is nowhere and cannot be downloaded, or a batch cannot be used.
    """
    names = _BATCHES["test" if split == "test" else "train"]
    source = next(_sources(data_dir, names[0]), None) or _downloaded()
    if source is None:
        where = f"not in {data_dir} and " if data_dir else ""
        raise DataError(
            f"{_NAME}: {where}could not be downloaded; put {_ARCHIVE}, or the folder {_FOLDER} that is in it, in a "
            "folder and name it with --data-dir"
        )
    batches = [_read_batch(source / name, content) for name, content in _contents(source, names)]
    images, labels = (torch.from_numpy(np.concatenate(part)) for part in zip(*batches, strict=True))
    return ImageDataset(_NAME, split, images, labels, _CLASSES, _LICENCE)


def _sources(data_dir: Path | None, first: str) -> Iterator[Path]:
    """Where batches are: folders that have the first of them, and archives."""
    for folder in (*((data_dir, data_dir / _NAME) if data_dir else ()), cache_dir()):
        yield from (place for place in (folder, folder / _FOLDER) if (place / first).is_file())
        yield from (place for place in (folder, folder / _ARCHIVE) if place.is_file() and place.name == _ARCHIVE)


def _downloaded() -> Path | None:
    """The archive, after torchvision has fetched it into the cache, if it can."""
    import training.torchvision_cpu  # noqa: F401, I001  # must come before torchvision
    from torchvision.datasets import CIFAR10, utils

    # Only the archive: torchvision's own data set unpickles it.
    with suppress(OSError, RuntimeError):
        utils.download_url(CIFAR10.url, str(cache_dir()), _ARCHIVE, CIFAR10.tgz_md5)
        return cache_dir() / _ARCHIVE
    return None


def _contents(source: Path, names: Sequence[str]) -> list[tuple[str, bytes]]:
    """The bytes of some batches in a folder or an archive."""
    try:
        if source.is_dir():
            return [(name, (source / name).read_bytes()) for name in names]
        with tarfile.open(source) as archive:
            members = {PurePosixPath(member.name).name: member for member in archive if member.isfile()}
            return [(name, archive.extractfile(members[name]).read()) for name in names]  # type: ignore[union-attr]
    except Exception as error:  # a broken archive makes Python's readers raise almost anything
        raise DataError(f"{source}: expected {', '.join(names)}, each whole: {error}") from error


def _read_batch(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A batch's pictures, uint8 [N, 3, 32, 32], and their labels, int64 [N]."""
    try:
        batch = _Reader(io.BytesIO(content), encoding="latin1").load()  # Python 2 wrote them
        images, labels = batch["data"].pixels().reshape(-1, *_SHAPE), np.array(batch["labels"])
        if labels.shape != images.shape[:1] or labels.dtype.kind != "i" or not set(labels) <= set(range(len(_CLASSES))):
            raise ValueError("another number of labels, or other labels")
        return images, labels.astype(np.int64)
    except Exception as error:  # a broken pickle makes Python's reader raise almost anything
        reason = f": {error}" if isinstance(error, pickle.UnpicklingError) else ""
        raise DataError(
            f'{path}: not a batch of CIFAR-10; expected a pickled dict with "data", bytes of [N, 3072], and "labels", '
            f"N numbers below {len(_CLASSES)}{reason}"
        ) from error


class _Array:
    """Stands in for numpy's array, and keeps what one is restored from."""

    def __init__(self, *_: object) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def pixels(self) -> np.ndarray:
        """The array, if it is one of bytes."""
        _, shape, kind, by_columns, content = self._state
        if kind.code != "u1":
            raise ValueError("no array of bytes")
        given = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(bytearray(given), np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Type:
    """Stands in for numpy's type of an array's items."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """There is nothing in it that a type of bytes has not."""


def _encoded(text: str, *_: object) -> bytes:
    """Stands in for codecs.encode, as which pickles of before Python 3 hold bytes."""
    return text.encode("latin1")


_STAND_INS = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "_codecs.encode": _encoded,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What is called where a pickle names a function."""
        if stand_in := _STAND_INS.get(f"{module}.{name}"):
            return stand_in
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only what arrays need is read")
