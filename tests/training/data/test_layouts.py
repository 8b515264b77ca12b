"""Layouts of public data sets: LSUN's exported pictures, CelebA, and the fingerprints of SOCOFing."""

import hashlib
from itertools import chain
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.data.files import WRITERS, as_folder, encoded
from training.data import DataError, ImageDataset, describe, load, picture_set_at
from training.data.folders import load_pictures

SPLITS = ("train", "validation", "test")
NAMES = ("5_o_Clock_Shadow", "Smiling", "Young")
FINGERS = [
    f"{side}_{finger}" for side in ("Left", "Right") for finger in ("thumb", "index", "middle", "ring", "little")
]


def grey(level: int, size: tuple[int, int] = (28, 28), format: str = "PNG") -> bytes:
    return encoded(Image.new("L", size, level), format)


def splits(path: Path, **options: int) -> list[ImageDataset]:
    return [load_pictures(path, "own", split, **options) for split in SPLITS]


def scattered(*folders: str, count: int = 12, first: int = 0) -> dict[str, bytes]:
    """Pictures below six folders that spell the beginning of their keys, as LSUN's script exports them."""
    keys = {key: hashlib.sha1(str(key).encode()).hexdigest() for key in range(len(folders) * count)}
    return {
        f"{folders[number // count]}/{'/'.join(key[:6])}/{key}.png": grey(first + number)
        for number, key in keys.items()
    }


# LSUN


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_class_for_each_of_lsuns_categories(tmp_path: Path, suffix: str) -> None:
    files = scattered("church_outdoor_train", "bedroom_train") | scattered(
        "church_outdoor_val", "bedroom_val", count=3, first=200
    )
    path = WRITERS[suffix](tmp_path / f"lsun{suffix}", files)
    assert picture_set_at(path) == "lsun"
    train, validation, test = splits(path)
    assert train.class_names == ("bedroom", "church_outdoor")
    assert validation.images[:, 0, 0, 0].sort().values.tolist() == [200, 201, 202, 203, 204, 205]
    assert [len(train), len(test)] == [22, 2]
    assert torch.equal(validation.labels, (validation.images[:, 0, 0, 0] < 203).long())


def test_pictures_of_one_category_have_no_classes(tmp_path: Path) -> None:
    flat = {f"bedroom_val/{number}.png": grey(200) for number in range(3)}
    train, validation, _ = splits(as_folder(tmp_path / "lsun", scattered("bedroom_train") | flat))
    assert (train.class_names, len(validation)) == ((), 3)


@pytest.mark.parametrize("folder", ["bedroom_train", "sets"])
def test_folders_that_spell_a_files_name_are_no_classes(tmp_path: Path, folder: str) -> None:
    """Also where each begins with another character."""
    path = as_folder(tmp_path / folder, {name.partition("/")[2]: file for name, file in scattered("").items()})
    assert picture_set_at(path) == folder
    assert splits(path)[0].class_names == ()


def test_folders_of_one_character_may_be_classes(tmp_path: Path) -> None:
    files = {f"{label}/{label}{number:02}.png": grey(number) for label in "79" for number in range(12)}
    assert splits(as_folder(tmp_path, files))[0].class_names == ("7", "9")


def test_categories_need_both_splits(tmp_path: Path) -> None:
    """Else they are the names of classes."""
    files = {f"{name}/{number}.png": grey(number) for name in ("steam_train", "flight_test") for number in range(12)}
    assert splits(as_folder(tmp_path, files))[0].class_names == ("flight_test", "steam_train")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("notes/1.png", "beside bedroom_train, bedroom_val lies notes, which is no split"),
        ("bedroom_val/a/b/1.png", "neither all in one folder nor all in a folder for each class: .*, .*a/b/1.png"),
        ("bedroom_train/2/1.png", "neither all in one folder nor all in a folder for each class: .*, .*2/1.png"),
    ],
)
def test_what_may_mean_two_things_is_refused(tmp_path: Path, more: str, reason: str) -> None:
    files = scattered("bedroom_train", "bedroom_val") | {more: grey(0)}
    with pytest.raises(DataError, match=reason):
        splits(as_folder(tmp_path, files))


# CelebA


def celeba(count: int = 20, **changes: str) -> dict[str, bytes]:
    """Pictures whose levels are their numbers, and the lists; attribute n is 1 where bit n of the number is."""
    names = [f"{number:06}.jpg" for number in range(count)]
    signs = [" ".join(("1" if number >> bit & 1 else "-1").rjust(2) for bit in range(3)) for number in range(count)]
    rows = [f"{name} {sign}\n" for name, sign in zip(names, signs, strict=True)]
    lists = {"list_attr_celeba.txt": f"{count}\n{' '.join(NAMES)} \n{''.join(rows)}", **changes}
    pictures = {f"img_align_celeba/{name}": grey(8 * n, (178, 218), "JPEG") for n, name in enumerate(names)}
    return {**pictures, **{name: text.encode() for name, text in lists.items()}}


def partition(count: int = 20) -> str:
    """Of pictures 12 to train on, 3 to validate and 5 to test."""
    return "".join(f"{number:06}.jpg {'000000000000111222222'[number]}\n" for number in range(count))


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.gz"])
@pytest.mark.parametrize("around", ["", "celeba/"])
def test_celebas_attributes_are_read(tmp_path: Path, suffix: str, around: str) -> None:
    files = {f"{around}{name}": file for name, file in celeba().items()}
    path = WRITERS[suffix](tmp_path / f"celeba{suffix}", files)
    assert picture_set_at(path) == "celeba"
    train = load("celeba", "train", tmp_path)
    assert train.attributes.dtype == torch.float32
    assert [len(train), train.labels, train.info.size, train.resized] == [17, None, 64, True]
    numbers = (train.images[:, 0, 0, 0].float() / 8).round().long()
    bits = torch.stack([numbers >> bit & 1 for bit in range(3)], dim=1)
    assert torch.equal(train.attributes, bits * 2.0 - 1)
    assert tuple(train.attribute_meanings) == NAMES
    assert train.attribute_meanings["5_o_Clock_Shadow"] == "5 o Clock Shadow: 1 is yes, -1 is no"
    assert "research" in train.licence
    assert "no classes, 3 attributes: 5_o_Clock_Shadow, Smiling, Young" in describe(train)


def test_celebas_own_splits_are_kept_to(tmp_path: Path) -> None:
    path = as_folder(tmp_path, celeba(**{"list_eval_partition.txt": partition()}))
    datasets = splits(path)
    assert [len(each) for each in datasets] == [12, 3, 5]
    assert [(each.images[0, 0, 0, 0] / 8).round() for each in datasets] == [0, 12, 15]
    assert datasets[1].attributes.tolist() == [[-1, -1, 1], [1, -1, 1], [-1, 1, 1]]


def test_a_part_of_celebas_pictures_is_enough(tmp_path: Path) -> None:
    files = celeba(**{"list_eval_partition.txt": partition()})
    del files["img_align_celeba/000003.jpg"]
    assert len(load_pictures(as_folder(tmp_path, files), "own", "train")) == 11


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the number of pictures in line 1 and names of attributes in line 2"),
        ("Smiling Young\n1.jpg 1 1\n", "expected the number of pictures in line 1"),
        ("1\nSmiling Smiling\n1.jpg 1 1\n", "expected the number of pictures in line 1 and names of attributes"),
        ("1\nSmiling\n1.jpg 1\n2.jpg 0\n", "line 4: expected the name of a picture that no .* 1 values, each 1 or -1"),
        ("1\nSmiling\n1.jpg 1 1\n", "line 3: expected the name of a picture that no earlier line has and 1 values"),
        ("2\nSmiling\n1.jpg 1\n1.jpg 1\n", "line 4: expected the name of a picture that no earlier line has"),
        ("3\nSmiling\n1.jpg 1\n", "line 1: expected the number of pictures, says 3 and 1 follow"),
        ("1\nSmiling\n1.jpg 1\n", "expected a line for every picture, there is none for 000000.jpg"),
        ("\udcff", "not a readable file of UTF-8 text"),
    ],
)
def test_a_broken_list_of_attributes_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = as_folder(tmp_path, celeba())
    (path / "list_attr_celeba.txt").write_text(text, errors="surrogateescape")
    with pytest.raises(DataError, match=f"^{path}: list_attr_celeba.txt: {reason}"):
        load_pictures(path, "own", "train")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("000000.jpg 0\n000001.jpg 3\n", "line 2: expected the name of a picture and 0 .train., 1 .validation. or 2"),
        ("000000.jpg\n", "line 1: expected the name of a picture and 0"),
        (partition(19), "expected a line for every picture, there is none for 000019.jpg"),
    ],
)
def test_a_broken_list_of_splits_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = as_folder(tmp_path, celeba(**{"list_eval_partition.txt": text}))
    with pytest.raises(DataError, match=f"^{path}: list_eval_partition.txt: {reason}"):
        load_pictures(path, "own", "train")


# SOCOFing


def fingerprints(people: int = 20, folder: str = "SOCOFing/Real/") -> dict[str, bytes]:
    """Ten fingers of each person, whose level is the person's number."""
    return {
        f"{folder}{person}__{'MF'[person % 2]}_{finger}_finger.BMP": encoded(
            Image.new("RGB", (96, 103), (10 * person,) * 3), "BMP"
        )
        for person in range(1, people + 1)
        for finger in FINGERS
    }


ALTERED = {"SOCOFing/Altered/Altered-Easy/1__M_Left_index_finger_CR.BMP": b"", "SOCOFing/notes.txt": b""}


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_no_persons_fingers_are_in_two_splits(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"socofing{suffix}", fingerprints() | ALTERED)
    datasets = splits(path)
    assert [len(each) for each in datasets] == [170, 10, 20]
    people = [set((each.images[:, 0, 0, 0] / 10).round().int().tolist()) for each in datasets]
    assert sorted(chain(*people)) == list(range(1, 21))
    train = datasets[0]
    assert train.class_names[:2] == ("left-index", "left-little")
    assert train.labels.bincount().tolist() == [17] * 10
    assert "research" in train.licence
    assert describe(train).startswith(
        "own: 170 of 200 pictures to train on (10 validation, 20 test), grey, cropped and resized to 80×80, 10 classes"
    )
    assert train.labels.tolist() != sorted(train.labels.tolist())
    assert load_pictures(path, "own", "train", 96).info.size == 96


def test_the_fingers_are_those_of_the_names(tmp_path: Path) -> None:
    path = as_folder(tmp_path, fingerprints(12))
    as_folder(path, {"SOCOFing/Real/1__M_Right_ring_finger.BMP": encoded(Image.new("L", (96, 103), 255), "BMP")})
    shown = [(each, place) for each in splits(path) for place in (each.images[:, 0, 0, 0] == 255).nonzero()]
    assert [each.class_names[each.labels[place]] for each, place in shown] == ["right-ring"]
    assert picture_set_at(path / "SOCOFing") == "SOCOFing"


def test_the_folder_of_real_ones_is_enough_and_a_second_copy_is_passed_over(tmp_path: Path) -> None:
    twice = fingerprints(folder="Real/") | fingerprints(folder="again/Real/")
    assert sum(map(len, splits(as_folder(tmp_path / "twice", twice)))) == 200
    assert sum(map(len, splits(as_folder(tmp_path / "Real", fingerprints(folder=""))))) == 200


def test_a_fingerprint_of_another_name_and_too_few_people_are_refused(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "few", fingerprints(9) | ALTERED)
    with pytest.raises(DataError, match=f"{path}: at least 10 people are needed to train on, found 9"):
        load_pictures(path, "own", "train")
    as_folder(path, {"SOCOFing/Real/thumb.BMP": b""})
    with pytest.raises(DataError, match=r"SOCOFing/Real/thumb\.BMP: expected a name .* 1__M_Left_index_finger\.BMP"):
        load_pictures(path, "own", "train")
