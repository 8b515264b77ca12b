"""Where each data set comes from: one table of names, and one function that loads any of them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.data.dataset import ImageDataset, MissingDataError, Split
from training.data.idx import read_labelled_images

_DIGITS = tuple(str(digit) for digit in range(10))


def load(name: str, split: Split, data_dir: Path | None = None, *, download: bool = True) -> ImageDataset:
    """Loads one split of a data set by name.

    MNIST and Fashion-MNIST are sought as IDX files, plain or gzipped, in `data_dir` and in its folder of the
    data set's name, then where Debian installs them, then in the cache of earlier downloads; at last torchvision
    downloads them into that cache.

    Args:
        name: One of `DATASETS`.
        split: "train" or "test".
        data_dir: Where to look first; the environment's GANTRY_DATA_DIR where None.
        download: Whether torchvision may download what is not found.

    Returns:
        The split, in memory.

    Raises:
        ValueError: If there is no data set of this name.
        MissingDataError: If its files are nowhere and cannot be downloaded.
        IdxError: If a file of it is broken.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: --data must be one of {', '.join(DATASETS)}")
    if data_dir is None and "GANTRY_DATA_DIR" in os.environ:
        data_dir = Path(os.environ["GANTRY_DATA_DIR"])
    return DATASETS[name](split, data_dir, download)


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
    )


@dataclass(frozen=True)
class _IdxSource:
    """A data set of four IDX files with MNIST's names."""

    name: str
    class_names: tuple[str, ...]
    licence: str
    torchvision_name: str
    debian_package: str | None = None
    debian_dir: Path | None = None

    def __call__(self, split: Split, data_dir: Path | None, download: bool) -> ImageDataset:
        images, labels = self._read(split, data_dir, download)
        return ImageDataset(self.name, split, images, labels, self.class_names, self.licence)

    def _read(self, split: Split, data_dir: Path | None, download: bool) -> tuple[Tensor, Tensor]:
        folders = self._folders(data_dir)
        files = _find_pair(folders, split)
        problem = "downloads are switched off"
        if files is None and download:
            problem = self._download()
            files = _find_pair(folders, split)
        if files is None:
            looked = ", ".join(map(str, folders))
            debian = f"install Debian's {self.debian_package}, " if self.debian_package else ""
            raise MissingDataError(
                f"{self.name}: no IDX files of the {split} split in {looked}; {problem}. "
                f"Name their folder with --data-dir or GANTRY_DATA_DIR, {debian}or let torchvision download them."
            )
        return read_labelled_images(*files)

    def _folders(self, data_dir: Path | None) -> list[Path]:
        given = [data_dir / self.name, data_dir] if data_dir else []
        debian = [self.debian_dir] if self.debian_dir else []
        return [*given, *debian, _cache_dir() / self.torchvision_name / "raw"]

    def _download(self) -> str:
        """Has torchvision fetch the files into the cache; returns why it could not, if so."""
        import training.torchvision_cpu  # noqa: F401, I001  # must come before torchvision
        from torchvision import datasets

        classes = {"MNIST": datasets.MNIST, "FashionMNIST": datasets.FashionMNIST}
        try:
            classes[self.torchvision_name](str(_cache_dir()), download=True)
        except (OSError, RuntimeError) as error:
            return f"torchvision's download failed: {error}"
        return "torchvision's download brought none"


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantry" / "data"


def _find_pair(folders: list[Path], split: Split) -> tuple[Path, Path] | None:
    """The first folder's files of images and labels, gzipped or plain."""
    stem = {"train": "train", "test": "t10k"}[split]
    for folder in folders:
        for suffix in (".gz", ""):
            images = folder / f"{stem}-images-idx3-ubyte{suffix}"
            labels = folder / f"{stem}-labels-idx1-ubyte{suffix}"
            if images.is_file() and labels.is_file():
                return images, labels
    return None


_MNIST = _IdxSource(
    name="mnist",
    class_names=_DIGITS,
    licence="MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0",
    torchvision_name="MNIST",
)

_FASHION_MNIST = _IdxSource(
    name="fashion-mnist",
    class_names=(
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle-boot",
    ),
    licence="Fashion-MNIST (Zalando SE), MIT",
    torchvision_name="FashionMNIST",
    debian_package="dataset-fashion-mnist",
    debian_dir=Path("/usr/share/datasets/fashion-mnist"),
)

DATASETS: dict[str, Callable[[Split, Path | None, bool], ImageDataset]] = {
    "digits": _digits,
    "mnist": _MNIST,
    "fashion-mnist": _FASHION_MNIST,
}
"""Every data set by name: a function of the split, the folder to look in, and whether to download."""
