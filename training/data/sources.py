"""Where each data set comes from: a table of those known by name, and one function that loads these and any other."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from training.data.dataset import (
    MEMORY_BUDGET,
    DataError,
    ImageDataset,
    MissingDataError,
    Split,
    environment_dir,
    hold_out,
)
from training.data.folders import find_set, load_pictures, picture_set_at
from training.data.idx import read_idx

_DEBIAN = Path("/usr/share/datasets")  # dataset-fashion-mnist
_DIGITS = tuple(str(digit) for digit in range(10))


def load(
    name: str,
    split: Split,
    data_dir: Path | None = None,
    *,
    size: int | None = None,
    download: bool = True,
    budget: int = MEMORY_BUDGET,
) -> ImageDataset:
    """Loads one split of a data set: one of `DATASETS`, or any folder, zip or tar of pictures.

    MNIST and Fashion-MNIST are sought as IDX files, plain or gzipped, in `data_dir` and in its folder of the
    data set's name, then where Debian installs them, then in the cache of earlier downloads; at last torchvision
    downloads them into that cache. Of these a tenth of the training split is held out for validation; of other
    pictures see `training.data.folders.load_pictures`.

    Args:
        name: One of `DATASETS`, or that of a set of pictures in `data_dir`, or any, if `data_dir` itself is one.
        split: "train", "validation" or "test".
        data_dir: Where to look first; the environment's GANTRY_DATA_DIR where None.
        size: Side to which a set of pictures is resized.
        download: Whether torchvision may download what is not found.
        budget: Bytes of pixels that are held in memory; a set of pictures that has more is streamed.

    Returns:
        The split.

    Raises:
        MissingDataError: If it is nowhere and cannot be downloaded.
        DataError: If it cannot be used, or not at this size.
    """
    data_dir = data_dir or environment_dir()
    if name not in DATASETS and data_dir is None:
        raise MissingDataError(
            f"unknown data set {name!r}: --data must be one of {', '.join(DATASETS)}, or --data-dir name a folder, "
            "zip or tar of pictures"
        )
    if name not in DATASETS or (data_dir and picture_set_at(data_dir) == name):
        return load_pictures(find_set(name, data_dir), name, split, size, budget)
    whole = DATASETS[name]("test" if split == "test" else "train", data_dir, download)
    own = whole.images.shape[2]
    if size not in (None, own):
        raise DataError(f"--size {size}: {name} is {own}×{own}; leave --size out")
    if split == "test" or whole.labels is None:
        return whole
    kept, held = hold_out(len(whole), "validation")
    chosen = kept if split == "train" else held
    counts = {**whole.counts, "train": len(kept), "validation": len(held)}
    return replace(whole, split=split, images=whole.images[chosen], labels=whole.labels[chosen], counts=counts)


def _digits(split: Split, _data_dir: Path | None, _download: bool) -> ImageDataset:
    """scikit-learn's 1,797 digits of 8x8, enlarged to 16x16; every fifth of a class is kept for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)  # its values are 0 to 16
    pixels = torch.nn.functional.interpolate(pixels, scale_factor=2, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(bunch.target).long()
    rank_in_class = torch.nn.functional.one_hot(labels).cumsum(0)[torch.arange(len(labels)), labels]
    chosen = (rank_in_class % 5 == 0) == (split == "test")
    return ImageDataset(
        name="digits",
        split=split,
        images=pixels[chosen].round().clamp(0, 255).to(torch.uint8),
        labels=labels[chosen],
        class_names=_DIGITS,
        licence="UCI Optical Recognition of Handwritten Digits (by way of scikit-learn), CC BY 4.0",
        counts={"test": int((rank_in_class % 5 == 0).sum())},
    )


def _idx(
    name: str,
    torchvision_name: str,
    class_names: tuple[str, ...],
    licence: str,
    split: Split,
    data_dir: Path | None,
    download: bool,
) -> ImageDataset:
    """A data set of four IDX files with MNIST's names."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantry" / "data"
    given = [data_dir / name, data_dir] if data_dir else []
    folders = [*given, _DEBIAN / name, cache / torchvision_name / "raw"]
    files = _find_pair(folders, split)
    problem = "downloads are switched off"
    if files is None and download:
        problem = _download(torchvision_name, cache)
        files = _find_pair(folders, split)
    if files is None:
        raise MissingDataError(
            f"{name}: no IDX files of the {split} split in {', '.join(map(str, folders))}; {problem}. Name their "
            "folder with --data-dir or GANTRY_DATA_DIR, or let torchvision download them."
        )
    images, labels = (read_idx(file, dimensions) for file, dimensions in zip(files, (3, 1), strict=True))
    return ImageDataset(name, split, images.unsqueeze(1), labels.long(), class_names, licence)


def _download(torchvision_name: str, cache: Path) -> str:
    """Has torchvision fetch a data set into the cache; returns why there is none, if so."""
    import training.torchvision_cpu  # noqa: F401, I001  # must come before torchvision
    from torchvision import datasets

    try:
        getattr(datasets, torchvision_name)(str(cache), download=True)
    except (OSError, RuntimeError) as error:
        return f"torchvision's download failed: {error}"
    return "torchvision's download brought none"


def _find_pair(folders: list[Path], split: Split) -> tuple[Path, Path] | None:
    """The files of images and labels, gzipped or plain, in the first folder that has them."""
    stem = "t10k" if split == "test" else "train"
    for folder in folders:
        for suffix in (".gz", ""):
            images = folder / f"{stem}-images-idx3-ubyte{suffix}"
            labels = folder / f"{stem}-labels-idx1-ubyte{suffix}"
            if images.is_file() and labels.is_file():
                return images, labels
    return None


_CLOTHES = "t-shirt trouser pullover dress coat sandal shirt sneaker bag ankle-boot"

DATASETS: dict[str, Callable[[Split, Path | None, bool], ImageDataset]] = {
    "digits": _digits,
    "mnist": partial(_idx, "mnist", "MNIST", _DIGITS, "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0"),
    "fashion-mnist": partial(
        _idx, "fashion-mnist", "FashionMNIST", tuple(_CLOTHES.split()), "Fashion-MNIST (Zalando SE), MIT"
    ),
}
"""Every data set known by name: a function of the split, the folder to look in, and whether to download."""
