"""CIFAR-10: where its batches are looked for, and that nothing in them runs."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import training.torchvision_cpu  # noqa: F401  # must come before torchvision, which the fixture patches
from tests.training.data.files import WRITERS, as_folder
from training.data import DataError, describe, load

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object) -> None:
        raise RuntimeError("<urlopen error>")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def batch(first: int, count: int = 4, *, protocol: int = 2, **changes: Any) -> bytes:
    """A batch whose pictures have, but for one pixel, the levels 3 n, 3 n + 1 and 3 n + 2 in their channels."""
    levels = np.arange(3 * first, 3 * (first + count), dtype=np.uint8)
    data = np.repeat(levels, 1024).reshape(count, 3072)
    data[:, 1] = 255  # the second pixel of the first row
    labels = [each % 10 for each in range(first, first + count)]
    names = [f"{each}.png" for each in range(first, first + count)]
    content = {"batch_label": "a batch", "labels": labels, "data": data, "filenames": names}
    return pickle.dumps({**content, **changes}, protocol)


def batches(**options: Any) -> dict[str, bytes]:
    named = {f"data_batch_{number}": batch(4 * number, **options) for number in range(1, 6)}
    return {**named, "test_batch": batch(0, **options), "batches.meta": b""}


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


@pytest.mark.parametrize("place", ["", "cifar-10/", "cache/gantry/data/"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_finds_the_folder_and_the_archive(tmp_path: Path, place: str, packed: bool, protocol: int) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    files = below(FOLDER, batches(protocol=protocol))
    WRITERS[".tar.gz"](tmp_path / place / ARCHIVE, files) if packed else as_folder(tmp_path / place, files)
    train, validation, test = (load("cifar-10", split, tmp_path) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (18, 2, 4)
    assert test.images.shape == (4, 3, 32, 32)
    assert test.images[1, :, 5, 5].tolist() == [3, 4, 5]
    assert test.images[1, :, 0, 1].tolist() == [255, 4, 5], "the second pixel of the first row, in the first channel"
    assert [test.class_names[label] for label in test.labels] == ["airplane", "automobile", "bird", "cat"]
    for part in (train, validation):
        assert torch.equal(part.labels, part.images[:, 0, 5, 5].long() // 3 % 10)
    assert describe(train).startswith(
        "cifar-10: 18 of 20 pictures to train on (2 validation), RGB, 32×32, 10 classes: airplane, automobile, "
    )


@pytest.mark.parametrize("packed", [False, True])
def test_the_path_may_be_its_own(tmp_path: Path, packed: bool) -> None:
    as_folder(tmp_path / FOLDER, batches())
    WRITERS[".tar.gz"](tmp_path / ARCHIVE, below(FOLDER, batches()))
    assert len(load("cifar-10", "test", tmp_path / (ARCHIVE if packed else FOLDER))) == 4


def test_the_archive_is_downloaded_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(_url: str, root: str, name: str, _md5: str) -> None:
        Path(root).mkdir(parents=True)
        WRITERS[".tar.gz"](Path(root, name), below(FOLDER, batches()))

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    assert len(load("cifar-10", "test", tmp_path)) == 4
    assert (tmp_path / "cache/gantry/data" / ARCHIVE).exists()


def test_a_failed_download_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load("cifar-10", "train", tmp_path)
    assert str(caught.value) == (
        f"cifar-10: not in {tmp_path} and could not be downloaded; put cifar-10-python.tar.gz, or the folder "
        "cifar-10-batches-py that is in it, in a folder and name it with --data-dir"
    )


class Attack:
    """Leaves a trace when it is unpickled."""

    def __init__(self, act: Callable[..., Any], *given: Any) -> None:
        self.act, self.given = act, given

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.act, self.given


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_batch_is_named_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "attacked"
    content = batch(0, protocol=protocol, filenames=Attack(os.mkdir, str(trace)))
    as_folder(tmp_path / FOLDER, {"test_batch": content})
    with pytest.raises(DataError, match=r"test_batch: not a batch of CIFAR-10; .*: it names posix\.mkdir, and only"):
        load("cifar-10", "test", tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("act", [eval, getattr, np.load, np.frombuffer, pickle.loads])
def test_only_what_arrays_need_is_known(tmp_path: Path, act: Callable[..., Any]) -> None:
    as_folder(tmp_path / FOLDER, {"test_batch": batch(0, filenames=Attack(act, "1"))})
    with pytest.raises(DataError, match=r"test_batch: not a batch of CIFAR-10; .*: it names "):
        load("cifar-10", "test", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        batch(0)[:-2000],
        pickle.dumps([1, 2]),
        pickle.dumps({"data": None, "labels": []}),
        batch(0, labels=[0, 1]),
        batch(0, labels=[0, 1, 2, 10]),
        batch(0, labels=[0, 1, 2, 0.5]),
        batch(0, data=np.zeros((4, 3072), np.float32)),
        batch(0, data=np.zeros((4, 3071), np.uint8)),
        batch(0, data=np.array([None] * 4)),
    ],
)
def test_a_broken_batch_is_named(tmp_path: Path, content: bytes) -> None:
    path = as_folder(tmp_path / FOLDER, {"test_batch": content}) / "test_batch"
    with pytest.raises(DataError, match=rf'{path}: not a batch of CIFAR-10; expected a pickled dict with "data"'):
        load("cifar-10", "test", tmp_path)


def test_a_missing_batch_and_a_torn_archive_are_named(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / FOLDER, {"data_batch_1": batch(0)})
    with pytest.raises(DataError, match=rf"{folder}: expected data_batch_1, .*, data_batch_5, each whole: .*batch_2"):
        load("cifar-10", "train", tmp_path)
    archive = WRITERS[".tar.gz"](tmp_path / ARCHIVE, below(FOLDER, batches()))
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"{archive}: expected test_batch, each whole: "):
        load("cifar-10", "test", archive)


def test_another_size_is_refused(tmp_path: Path) -> None:
    as_folder(tmp_path / FOLDER, batches())
    with pytest.raises(DataError, match="--size 64: cifar-10 is 32×32; leave --size out"):
        load("cifar-10", "train", tmp_path, size=64)
