"""Where each data set comes from: a table of those known by name, and one function that loads these and any other."""

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.cifar import load_cifar
from training.data.dataset import DataError, ImageDataset, Split, cache_dir, environment_dir
from training.data.folders import find_set, load_pictures, picture_set_at
from training.data.splits import divide

_DEBIAN = Path("/usr/share/datasets")  # dataset-fashion-mnist
_PARTS = ("images-idx3", "labels-idx1")
_DIGITS = tuple("0123456789")
_CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")


Source = Callable[[Split, Path | None], ImageDataset]
"""Gives a split of a data set known by name, of the folder to look in."""


def load(name: str, split: Split, data_dir: Path | None = None, *, size: int | None = None) -> ImageDataset:
    """Loads one split of a data set: one of `DATASETS`, or any folder, zip or tar of pictures.

    MNIST and Fashion-MNIST are sought as IDX files, plain or gzipped, in `data_dir` and in its folder of the
    data set's name, then where Debian installs them, then in the cache of earlier downloads; at last torchvision
    downloads them into that cache. For CIFAR-10 see `load_cifar`.

    Args:
        name: One of `DATASETS`, or that of a set of pictures in `data_dir`, or any, if `data_dir` itself is one.
        split: See `divide` for those that have no files of their own.
        data_dir: Where to look first; the environment's GANTRY_DATA_DIR where None.
        size: Side to which a set of pictures is resized.

    Raises:
        DataError: If it is nowhere and cannot be downloaded, or cannot be used, or not at this size.
    """
    data_dir = data_dir or environment_dir()
    if name not in DATASETS and data_dir is None:
        allowed = f"--data must be one of {', '.join(DATASETS)}, or --data-dir name a folder, zip or tar of pictures"
        raise DataError(f"unknown data set {name!r}: {allowed}")
    if name not in DATASETS or (data_dir and picture_set_at(data_dir) == name):
        return load_pictures(find_set(name, data_dir), name, split, size)
    loaded = DATASETS[name](split, data_dir)
    own = loaded.images.shape[2]
    if size not in (None, own):
        raise DataError(f"--size {size}: {name} is {own}×{own}; leave --size out")
    return loaded


def _validated(source: Source, split: Split, data_dir: Path | None) -> ImageDataset:
    """A data set of two splits, of whose training split a part is held out for validation."""
    whole = source("test" if split == "test" else "train", data_dir)
    if split == "test" or whole.labels is None:
        return whole
    parts = divide(whole.name, {"train": range(len(whole)), "test": ()}, 2)
    chosen = torch.tensor(parts[split])
    counts = {**whole.counts, "train": len(parts["train"]), "validation": len(parts["validation"])}
    labels, attributes = (None if known is None else known[chosen] for known in (whole.labels, whole.attributes))
    images = whole.images[chosen]
    return replace(whole, split=split, images=images, labels=labels, attributes=attributes, counts=counts)


def _letters(split: Split, data_dir: Path | None) -> ImageDataset:
    from training.data.letters import letters  # fontTools, which a machine that trains on other data need not have

    return letters(split, data_dir)


def _digits(split: Split, _: Path | None) -> ImageDataset:
    """scikit-learn's 1,797 digits of 8x8, enlarged to 16x16; every fifth of a class is kept for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)  # its values are 0 to 16
    pixels = torch.nn.functional.interpolate(pixels, scale_factor=2, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(bunch.target).long()
    rank_in_class = torch.nn.functional.one_hot(labels).cumsum(0)[torch.arange(len(labels)), labels]
    is_test = rank_in_class % 5 == 0
    chosen = is_test == (split == "test")
    images = pixels[chosen].round().clamp(0, 255).to(torch.uint8)
    licence = "UCI Optical Recognition of Handwritten Digits (by way of scikit-learn), CC BY 4.0"
    return ImageDataset("digits", split, images, labels[chosen], _DIGITS, licence, {"test": int(is_test.sum())})


def _idx(
    name: str, torchvision_name: str, class_names: tuple[str, ...], licence: str, split: Split, data_dir: Path | None
) -> ImageDataset:
    """A data set of four IDX files with MNIST's names."""
    cache = cache_dir()
    given = [data_dir / name, data_dir] if data_dir else []
    folders = [*given, _DEBIAN / name, cache / torchvision_name / "raw"]
    stem = "t10k" if split == "test" else "train"
    files = _find_pair(folders, stem) or _find_pair([_downloaded(torchvision_name, cache)], stem)
    if files is None:
        where = f"not in {data_dir} and " if data_dir else ""
        *others, last = (f"{each}-{part}-ubyte" for each in ("train", "t10k") for part in _PARTS)
        needed = f"{', '.join(others)} and {last}, each plain or .gz,"
        raise DataError(f"{name}: {where}could not be downloaded; put {needed} in a folder and name it with --data-dir")
    images, labels = _read_idx(files[0], 3), _read_idx(files[1], 1)
    _, height, width = images.shape
    if height != width or not 0 < len(images) == len(labels) or labels.max() >= len(class_names):
        raise DataError(
            f"{files[0]}: expected square images and for each a label below {len(class_names)} in {files[1].name}, "
            f"found {len(images)} of {height}×{width} and {len(labels)} labels"
        )
    return ImageDataset(name, split, images.unsqueeze(1), labels.long(), class_names, licence)


def _find_pair(folders: list[Path], stem: str) -> list[Path] | None:
    """The files of images and labels, gzipped or plain, in the first folder that has them."""
    names = [[f"{stem}-{part}-ubyte{suffix}" for part in _PARTS] for suffix in (".gz", "")]
    pairs = ([folder / name for name in pair] for folder in folders for pair in names)
    return next((pair for pair in pairs if all(file.is_file() for file in pair)), None)


def _downloaded(torchvision_name: str, cache: Path) -> Path:
    """The folder in the cache that torchvision fetches a data set into, if it can."""
    import training.torchvision_cpu  # noqa: F401, I001  # must come before torchvision
    from torchvision import datasets

    with suppress(OSError, RuntimeError):
        getattr(datasets, torchvision_name)(str(cache), download=True)
    return cache / torchvision_name / "raw"


def _read_idx(path: Path, dimensions: int) -> Tensor:
    """Reads MNIST's format: two zero bytes, 8 for unsigned bytes, the number of dimensions, their sizes, the bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("another magic number")
        shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
        return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy())
    except (OSError, EOFError, zlib.error, ValueError) as error:
        packed = "gzipped " if path.suffix == ".gz" else ""
        raise DataError(f"{path}: not a whole {packed}IDX file of bytes in {dimensions} dimension(s)") from error


_MNIST = partial(_idx, "mnist", "MNIST", _DIGITS, "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0")
_FASHION = partial(_idx, "fashion-mnist", "FashionMNIST", _CLOTHES, "Fashion-MNIST (Zalando SE), MIT")

DATASETS: dict[str, Source] = {
    "digits": partial(_validated, _digits),
    "mnist": partial(_validated, _MNIST),
    "fashion-mnist": partial(_validated, _FASHION),
    "cifar-10": partial(_validated, load_cifar),
    "letters": _letters,
}
"""Every data set known by name."""
