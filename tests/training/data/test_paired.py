"""Pairs of pictures: both layouts they come in, and what is said where a partner is missing or of another size."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.data.files import BLUE, RED, WRITERS, as_folder, as_zip, encoded, plain
from training.config import CropConfig
from training.data import DataError, PairedCrops, PairedDataset, describe, load, load_paired, picture_set_at


def number(name: int, letter: str) -> bytes:
    """A picture whose red says which pair it is of, and whose blue of which domain."""
    return plain((name, 0, 0 if letter == "A" else 255))


def both(name: int) -> bytes:
    """The same pair side by side, each 16×16."""
    picture = Image.new("RGB", (32, 16), (name, 0, 0))
    picture.paste((name, 0, 255), (16, 0, 32, 16))
    return encoded(picture)


def layouts(train: int = 5, test: int = 2) -> list[dict[str, bytes]]:
    """The same set in two folders for each split, and side by side."""
    splits = {"train": range(train), "test": range(100, 100 + test)}
    places = [(split, name) for split, names in splits.items() for name in names]
    apart = {f"{split}{letter}/{name}.png": number(name, letter) for split, name in places for letter in "AB"}
    return [apart, {f"{split}/{name}.png": both(name) for split, name in places}]


def numbers(dataset: PairedDataset) -> list[tuple[int, int]]:
    """Which pairs a split has; makes sure that the blue one is B."""
    assert all(picture[2].unique().tolist() == [0] for picture in dataset.a)
    assert all(picture[2].unique().tolist() == [255] for picture in dataset.b)
    return [(int(a[0, 0, 0]), int(b[0, 0, 0])) for a, b in zip(dataset.a, dataset.b, strict=True)]


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.gz"])
@pytest.mark.parametrize("nested", ["", "emoji/"])
def test_both_layouts_give_the_same_pairs(tmp_path: Path, layout: int, suffix: str, nested: str) -> None:
    assert set(WRITERS) >= {suffix}
    files = {f"{nested}{name}": content for name, content in layouts()[layout].items()}
    WRITERS[suffix](tmp_path / f"own{suffix}", files)
    train, validation, test = (load_paired("own", split, tmp_path) for split in ("train", "validation", "test"))
    assert numbers(test) == [(100, 100), (101, 101)]
    held = numbers(validation)
    assert len(held) == 1
    assert numbers(train) == [(name, name) for name in range(5) if (name, name) not in held]


def test_the_two_layouts_hold_out_the_same_pairs(tmp_path: Path) -> None:
    held = []
    for place, files in zip("ab", layouts(30), strict=True):
        held.append(numbers(load_paired("own", "validation", as_folder(tmp_path / place / "own", files).parent)))
    assert held[0] == held[1]
    assert len(held[0]) == 3


@pytest.mark.parametrize("layout", [0, 1])
def test_a_split_of_its_own_is_taken_for_validation(tmp_path: Path, layout: int) -> None:
    """As pix2pix's data sets have one, `val`; here it holds what would be tested with."""
    files = {name.replace("test", "val"): content for name, content in layouts(10)[layout].items()}
    as_folder(tmp_path / "own", files)
    assert numbers(load_paired("own", "validation", tmp_path)) == [(100, 100), (101, 101)]
    assert len(load_paired("own", "train", tmp_path).a) == 9
    assert len(load_paired("own", "test", tmp_path).a) == 1


def test_partners_may_have_different_suffixes(tmp_path: Path) -> None:
    jpeg = encoded(Image.new("RGB", (20, 16), BLUE), "JPEG")
    as_folder(tmp_path / "own", {**layouts()[0], "trainA/9.png": plain(RED), "trainB/9.jpg": jpeg})
    train, validation = (load_paired("own", split, tmp_path) for split in ("train", "validation"))
    assert len(train.a) + len(validation.a) == 6


def refusal(tmp_path: Path, files: Mapping[str, bytes]) -> str:
    as_zip(tmp_path / "own.zip", files)
    with pytest.raises(DataError) as caught:
        load_paired("own", "train", tmp_path)
    return str(caught.value).removeprefix(f"{tmp_path / 'own.zip'}: ")


def test_a_missing_partner_is_named(tmp_path: Path) -> None:
    apart = layouts()[0]
    without = {name: content for name, content in apart.items() if name != "trainB/3.png"}
    assert refusal(tmp_path, without) == "trainA/3.png has no partner trainB/3.*"
    others = {"testB/x.png": plain(RED), "testB/y.png": plain(RED)}
    assert refusal(tmp_path, {**apart, **others}) == "testB/x.png has no partner testA/x.*; nor have 1 others"


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, {**layouts()[0], "trainA/3.bmp": encoded(Image.new("RGB", (20, 16)), "BMP")})
    assert said == "trainA/3.bmp and trainA/3.png have one name, by which pairs are found"


def test_partners_of_two_sizes_are_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, {**layouts()[0], "testB/101.png": plain(RED, (22, 17))})
    assert said == "testA/101.png has 20×16 and testB/101.png has 22×17; the pictures of a pair must have one size"


def test_a_picture_that_is_no_pair_side_by_side_is_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, {**layouts()[1], "train/3.png": plain(RED, (32, 20))})
    assert said == "train/3.png has 32×20; a pair side by side is twice as wide as high"


def test_what_holds_no_pairs_says_what_is_expected(tmp_path: Path) -> None:
    said = refusal(tmp_path, {f"{name}.png": both(name) for name in range(5)})
    assert said.startswith("holds no pairs; put their pictures in trainA and trainB under the same names, or both of a")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, {**layouts()[1], "test/100.png": b"no picture"})
    assert said.startswith("test/100.png: not a readable picture")


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, layouts(1)[0]) == "pairs in train: at least 2 pictures are needed to train on, found 1"


def test_what_is_printed_counts_pairs(tmp_path: Path) -> None:
    as_folder(tmp_path / "own", layouts(20, 4)[0])
    assert describe(load_paired("own", "train", tmp_path)) == (
        "own: 18 of 24 pairs to train on (2 validation, 4 test); RGB, each of its own size"
    )


def test_a_set_side_by_side_has_the_name_of_its_folder(tmp_path: Path) -> None:
    assert picture_set_at(as_folder(tmp_path / "facades", layouts()[1])) == "facades"


def test_pairs_are_not_taken_for_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"own: is a set of two domains .*for cyclegan and pix2pix"):
        load("own", "train", as_folder(tmp_path / "own", layouts()[0]))


@pytest.mark.parametrize("name", ["emoji", "mine"])
def test_the_licence_of_emoji_is_known(tmp_path: Path, name: str) -> None:
    info = load_paired(name, "train", as_folder(tmp_path / name, layouts()[0])).info
    assert ("Apache-2.0" in info.licence and "CC BY 4.0" in info.licence) is (name == "emoji")
    assert info.images == 8


def test_other_partners_are_other_data(tmp_path: Path) -> None:
    files = layouts()[0]
    swapped = {**files, "trainB/1.png": files["trainB/2.png"], "trainB/2.png": files["trainB/1.png"]}
    places = [as_folder(tmp_path / place / "own", each) for place, each in (("a", files), ("b", swapped))]
    infos = [load_paired("own", "train", place).info for place in places]
    assert infos[0].fingerprint != infos[1].fingerprint


@pytest.mark.parametrize("layout", [0, 1])
def test_streamed_crops_equal_resident_ones(tmp_path: Path, layout: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_zip(tmp_path / "own.zip", layouts()[layout])
    resident = load_paired("own", "train", path)
    monkeypatch.setattr("training.data.domains.MEMORY_BUDGET", 100)
    streamed = load_paired("own", "train", path)
    assert not isinstance(streamed.a, list)
    prints = {part.fingerprint for part in (streamed.a, streamed.b)}  # type: ignore[attr-defined]
    assert len(prints) == 2
    crop = CropConfig(size=32, min_side=32, max_side=48)
    wanted, given = (PairedCrops(each, 3, crop, 0, torch.device("cpu")) for each in (resident, streamed))
    for step in (0, 1, 2, 7, 3):
        assert all(map(torch.equal, given.batch(step), wanted.batch(step)))


def test_large_pairs_are_made_smaller_to_save_memory(tmp_path: Path) -> None:
    wide = encoded(Image.new("RGB", (160, 80), RED))
    as_folder(tmp_path / "own", {f"train/{name}.png": wide for name in range(3)})
    dataset = load_paired("own", "train", tmp_path, max_side=24)
    assert dataset.a[0].shape == dataset.b[0].shape == (3, 24, 24)
