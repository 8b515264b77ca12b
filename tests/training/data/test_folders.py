"""Any folder, zip or tar of pictures as a data set: its layouts, its splits, and what is said of those of no use."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.data.files import BLUE, RED, WRITERS, as_folder, encoded, plain
from training.data import DataError, ImageDataset, describe, load, picture_set_at
from training.data.folders import load_pictures

SPLITS = ("train", "validation", "test")


def numbered(*folders: str, count: int = 12, first: int = 0) -> dict[str, bytes]:
    """Grey pictures of 28 pixels, each of its own level, in each of some folders."""
    paths = [f"{folder}{number:02}.png" for folder in folders for number in range(count)]
    return {path: encoded(Image.new("L", (28, 28), first + place)) for place, path in enumerate(paths)}


def splits(path: Path, **options) -> list[ImageDataset]:
    return [load_pictures(path, "own", split, **options) for split in SPLITS]


def levels(datasets: Iterable[ImageDataset]) -> list[list[int]]:
    return [dataset.images[:, 0, 0, 0].tolist() for dataset in datasets]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("around", ["", "shapes/", "images/"])
def test_a_folder_for_each_class(tmp_path: Path, suffix: str, around: str) -> None:
    files = {
        **numbered(f"{around}9/", f"{around}10/", f"{around}a b/"),
        f"{around}labels.csv": b"",
        ".gantry/1.png": b"",
    }
    path = WRITERS[suffix](tmp_path / f"own{suffix}", files)
    assert picture_set_at(path) == "own"
    train, validation, test = splits(path)
    assert train.class_names == ("9", "10", "a b")
    assert [len(each) for each in (train, validation, test)] == [30, 3, 3]
    for dataset in (train, validation, test):
        assert torch.equal(dataset.labels, dataset.images[:, 0, 0, 0].long() // 12)
    assert sorted(chain(*levels((train, validation, test)))) == list(range(36))
    assert describe(train) == (
        "own: 30 of 36 pictures to train on (3 validation, 3 test), grey, cropped and resized to 28×28, "
        "3 classes: 9, 10, a b; too small to evaluate, which takes at least 10 validation and 10 test pictures"
    )


def test_what_is_held_out_is_the_same_wherever_the_pictures_lie(tmp_path: Path) -> None:
    files = numbered("a/", "b/", count=20)
    paths = [WRITERS[suffix](tmp_path / f"own{suffix}", files) for suffix in WRITERS]
    everywhere = [splits(path) for path in paths]
    assert all(levels(datasets) == levels(everywhere[0]) for datasets in everywhere)
    assert len({train.info.fingerprint for train, _, _ in everywhere}) == 1


@pytest.mark.parametrize(
    ("count", "expected"), [(39, [33, 3, 3]), (40, [20, 10, 10]), (111, [90, 10, 11]), (200, [162, 18, 20])]
)
def test_of_40_pictures_enough_are_held_out_to_evaluate(tmp_path: Path, count: int, expected: list[int]) -> None:
    datasets = splits(as_folder(tmp_path, numbered("", count=count)))
    assert [len(each) for each in datasets] == expected
    assert sorted(chain(*levels(datasets))) == list(range(count))
    assert ("too small to evaluate" in describe(datasets[0])) == (count < 40)


def test_each_class_has_its_share_in_what_is_held_out(tmp_path: Path) -> None:
    files = numbered("a/", count=10) | numbered("b/", count=30, first=50) | numbered("c/", count=60, first=100)
    datasets = splits(as_folder(tmp_path, files))
    assert [each.labels.bincount().tolist() for each in datasets] == [[8, 24, 48], [1, 3, 6], [1, 3, 6]]
    assert levels(splits(tmp_path)) == levels(datasets)


@pytest.mark.parametrize("around", ["", "own/photos/"])
def test_a_flat_folder_has_no_classes(tmp_path: Path, around: str) -> None:
    path = as_folder(tmp_path / "set", numbered(around))
    assert picture_set_at(path) == "set"
    train, validation, test = splits(path)
    assert (train.labels, train.class_names) == (None, ())
    assert [len(each) for each in (train, validation, test)] == [10, 1, 1]
    assert "no classes" in describe(train)


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing")])
@pytest.mark.parametrize("classes", [("",), ("a/", "b/")])
def test_a_test_part_of_its_own_is_the_test_split(tmp_path: Path, names: tuple[str, str], classes) -> None:
    train_files = numbered(*(f"{names[0]}/{each}" for each in classes), count=20)
    test_files = numbered(*(f"{names[1]}/{each}" for each in classes), count=3, first=200)
    path = as_folder(tmp_path / "own", {**train_files, **test_files})
    assert picture_set_at(path) == "own"
    train, validation, test = splits(path)
    assert levels([test])[0] == [200 + each for each in range(3 * len(classes))]
    assert sorted(chain(*levels([train, validation]))) == list(range(20 * len(classes)))
    assert len(validation) == (10 if len(classes) == 2 else 2)  # of 40 pictures what an evaluation needs
    assert train.class_names == (("a", "b") if len(classes) == 2 else ())


def test_a_validation_part_of_its_own_is_the_validation_split(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "own", {**numbered("train/", count=20), **numbered("val/", count=3, first=200)})
    train, validation, test = splits(path)
    assert levels([validation]) == [[200, 201, 202]]
    assert [len(train), len(test)] == [18, 2]


def test_classes_may_be_called_train(tmp_path: Path) -> None:
    assert splits(as_folder(tmp_path, numbered("car/", "train/")))[0].class_names == ("car", "train")


def test_names_that_batch_sample_made_safe_are_read_back(tmp_path: Path) -> None:
    names = splits(as_folder(tmp_path / "one", numbered("images/T-shirt%2Ftop/", "images/Größe 1/", "images/50%/")))
    assert names[0].class_names == ("50%", "Größe 1", "T-shirt/top")


def test_a_set_is_grey_only_if_every_picture_is(tmp_path: Path) -> None:
    path = as_folder(tmp_path, numbered(""))
    assert splits(path)[0].info.channels == 1
    as_folder(path, {"99.png": plain(RED)})
    assert [each.info.channels for each in splits(path)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("sides", "expected"), [((1,), 28), ((28,), 28), ((63,), 32), ((64,), 64), ((500,), 64), ((28, 64, 64), 64)]
)
def test_the_size_follows_the_pictures_if_none_is_given(tmp_path: Path, sides: tuple[int, ...], expected: int) -> None:
    files = {f"{each}.png": plain(BLUE, (sides[each % len(sides)],) * 2) for each in range(12)}
    assert splits(as_folder(tmp_path, files))[0].info.size == expected


@pytest.mark.parametrize("size", [28, 32, 64, 80, 96, 128])
def test_a_size_is_kept_to(tmp_path: Path, size: int) -> None:
    assert splits(as_folder(tmp_path, numbered("")), size=size)[0].images.shape == (10, 1, size, size)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, r"holds no pictures \(\.bmp, \.gif, .*\.webp\)"),
        ({"notes.txt": b""}, "holds no pictures"),
        (numbered("", count=1), "at least 10 pictures are needed to train on, found 1$"),
        (
            numbered("a/", "b/") | numbered("c/", count=3),
            "at least 10 pictures of each class are needed to train on, found 3 of 'c'",
        ),
        (
            numbered("train/a/", "train/b/", "test/c/"),
            "at least 10 pictures of each class are needed to train on, found 0 of 'c'",
        ),
        (numbered("", "a/"), "neither all in one folder nor all in a folder for each class: 00.png, a/00.png"),
        (numbered("a/", "b/c/"), "neither all in one folder nor all in a folder for each class: a/00.png, b/c/00.png"),
        (numbered("a/1/", "b/1/"), "name a data set in it with --data"),
        (numbered("train/", "test/", "more/"), "beside test, train lies more, which is no split"),
        (numbered("test/", "val/"), "at least 10 pictures are needed to train on, found 0"),
        (numbered("") | {"05.png": b"no picture"}, "05.png: not a readable picture: its bytes are of no known format"),
    ],
)
def test_what_is_of_no_use_is_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    path = as_folder(tmp_path / "own", files)
    path.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=rf"{path}: .*{reason}"):
        load_pictures(path, "own", "train")


def test_hundreds_of_classes(tmp_path: Path) -> None:
    picture = plain(RED, (1, 1))
    files = {f"c{each}/{number}.png": picture for each in range(1, 301) for number in range(10)}
    train = load_pictures(WRITERS[".tar"](tmp_path / "own.tar", files), "own", "train")
    assert train.class_names == tuple(f"c{each}" for each in range(1, 301))
    assert describe(train).endswith("300 classes: c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, …")


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ((), None),
        (("a/",), "sets"),
        (("shapes/a/", "animals/b/"), None),
        (("shapes/train/a/", "faces/"), "sets"),
        (("train/a/", "test/a/"), "sets"),
        (("horse2zebra/trainA/", "horse2zebra/trainB/", "shapes/a/"), None),
        ((".hidden/", "__MACOSX/"), None),
    ],
)
def test_a_folder_that_only_holds_data_sets_is_none(tmp_path: Path, folders, expected: str | None) -> None:
    path = as_folder(tmp_path / "sets", numbered(*folders, count=1))
    as_folder(path, {"mnist/train-images-idx3-ubyte": b"", "more.tar": b""})
    assert picture_set_at(path) == expected


def test_sets_are_found_by_name_and_by_their_own_path(tmp_path: Path) -> None:
    as_folder(tmp_path / "cats", numbered("cats/", "dogs/"))
    as_folder(tmp_path / "mnist", numbered("0/", "1/"))
    assert load("cats", "train", tmp_path).class_names == ("cats", "dogs")
    assert load("cats", "train", tmp_path / "cats").class_names == ("cats", "dogs")
    assert load("renamed", "train", tmp_path / "cats").class_names == ("cats", "dogs")
    # A folder of pictures that has the name of a data set known by name is not ignored either.
    assert load("mnist", "train", tmp_path / "mnist").class_names == ("0", "1")
