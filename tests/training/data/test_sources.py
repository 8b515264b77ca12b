"""Loading data sets by name: where files are looked for, and the real data where it is at hand."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import training.torchvision_cpu  # noqa: F401  # must come before torchvision, which the fixture patches
from training.data import DataError, describe, load


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(_: object) -> None:
        raise RuntimeError(
            "Error downloading train-images-idx3-ubyte.gz:\nTried https://nowhere, got:\n<urlopen error>"
        )

    monkeypatch.setattr("torchvision.datasets.MNIST.download", download)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_split(folder: Path, stem: str, count: int, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if suffix else bytes
    images = bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 28, 28) + bytes(count * 784)
    labels = bytes([0, 0, 8, 1]) + struct.pack(">I", count) + bytes(range(count))
    (folder / f"{stem}-images-idx3-ubyte{suffix}").write_bytes(pack(images))
    (folder / f"{stem}-labels-idx1-ubyte{suffix}").write_bytes(pack(labels))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("subfolder", ["", "{name}"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_finds_idx_files_in_the_folder_or_in_its_own_subfolder(
    tmp_path: Path, name: str, subfolder: str, suffix: str
) -> None:
    folder = tmp_path / subfolder.format(name=name)
    write_split(folder, "train", 3, suffix)
    write_split(folder, "t10k", 2, suffix)
    train, test = load(name, "train", tmp_path), load(name, "test", tmp_path)
    assert (len(train), len(test)) == (2, 2)
    held = load(name, "validation", tmp_path)
    assert sorted([*train.labels.tolist(), *held.labels.tolist()]) == [0, 1, 2]
    assert train.info.size == 28


def test_idx_files_that_disagree_in_number_are_refused(tmp_path: Path) -> None:
    write_split(tmp_path, "train", 3)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 20) + bytes(20))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: expected square .* found 3 of 28×28 and 20 labels"):
        load("mnist", "train", tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"\x00\x00\x0d\x03" + content[4:],
        lambda content: content[:-9],
        lambda content: content + b"more",
        lambda content: content[:9],
        lambda content: b"",
    ],
)
def test_a_broken_idx_file_is_named(tmp_path: Path, suffix: str, spoil: Callable[[bytes], bytes]) -> None:
    write_split(tmp_path, "train", 3, suffix)
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=f"^{path}: not a whole (gzipped )?IDX file of bytes in 3 dimension"):
        load("mnist", "train", tmp_path)


@pytest.mark.parametrize("label", [10, 255])
def test_labels_of_other_classes_are_refused(tmp_path: Path, label: int) -> None:
    write_split(tmp_path, "train", 3)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I3B", 3, 0, 1, label))
    with pytest.raises(DataError, match="for each a label below 10 in train-labels-idx1-ubyte"):
        load("mnist", "train", tmp_path)


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_split(tmp_path / "mnist", "train", 3)
    monkeypatch.setenv("GANTRY_DATA_DIR", str(tmp_path))
    assert len(load("mnist", "train")) == 2


def test_finds_an_earlier_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANTRY_DATA_DIR", raising=False)
    write_split(tmp_path / "cache/gantry/data/MNIST/raw", "train", 3)
    assert len(load("mnist", "train")) == 2


def test_a_failed_download_says_what_to_do_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load("mnist", "train", tmp_path)
    assert str(caught.value) == (
        f"mnist: not in {tmp_path} and could not be downloaded; put train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or .gz, in a folder and name it with --data-dir"
    )


def test_an_unknown_name_is_that_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANTRY_DATA_DIR", raising=False)
    known = "digits, mnist, fashion-mnist, cifar-10, letters"
    with pytest.raises(match=f"'cifar': --data must be one of {known}, or --data"):
        load("cifar", "train")
    with pytest.raises(match=f"cifar: {tmp_path} is no set of pictures and holds none of this name"):
        load("cifar", "train", tmp_path)
    with pytest.raises(match=f"cifar: {tmp_path}/gone does not exist"):
        load("cifar", "train", tmp_path / "gone")


def test_another_size_is_refused() -> None:
    assert load("digits", "test", size=16).info.size == 16
    with pytest.raises(DataError, match="--size 64: digits is 16×16; leave --size out"):
        load("digits", "train", size=64)


def test_digits_are_split_by_class_and_without_overlap() -> None:
    splits = [load("digits", split) for split in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [1298, 144, 355]
    counts = [split.labels.bincount() for split in splits]
    shares = counts[2] / sum(counts)
    assert shares.min() > 0.19
    assert shares.max() < 0.21
    assert splits[0].images.shape[1:] == (1, 16, 16)
    assert splits[0].images.max() > 240
    assert torch.equal(splits[0].images, load("digits", "train").images)
    # No two of the digits are equal, so neither are any of two splits.
    assert len(torch.cat([split.images for split in splits]).unique(dim=0)) == 1797
    assert describe(splits[0]) == (
        "digits: 1,298 of 1,797 pictures to train on (144 validation, 355 test), grey, 16×16, "
        "10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    )


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_data_have_their_known_sizes(name: str) -> None:
    try:
        train, test = load(name, "train"), load(name, "test")
    except DataError:
        pytest.skip(f"{name} is not on this machine (GANTRY_DATA_DIR is {os.environ.get('GANTRY_DATA_DIR')})")
    assert train.images.shape == (54_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert len(train.labels.unique()) == len(train.class_names) == 10
