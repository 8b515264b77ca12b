"""Pictures of two domains: every layout and every kind of picture they come in, and what is said of broken ones."""

import io
import tarfile
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.data.files import BLUE, RED, WRITERS, as_folder, as_tar, as_zip, encoded, plain
from training.config import CropConfig
from training.data import (
    DataError,
    DomainsInfo,
    UnpairedCrops,
    describe,
    load,
    load_unpaired,
    picture_set_at,
)

A, B = attrgetter("a"), attrgetter("b")
FILES = {
    "trainA/2.png": plain(RED, (22, 17)),
    "trainA/1.png": plain(RED, (24, 18)),
    "trainA/3.png": plain(RED),
    "trainB/1.png": plain(BLUE),
    "trainB/2.png": plain(BLUE),
    "testA/1.png": plain((250, 0, 0)),
    "testB/1.png": plain((0, 0, 250)),
}


def one_picture(folder: Path, content: bytes, name: str = "1.png", **options) -> torch.Tensor:
    as_folder(folder, {**{path: FILES[path] for path in FILES if path != "testA/1.png"}, f"testA/{name}": content})
    (picture,) = load_unpaired("own", "test", folder, **options).a
    return picture


def assert_is_complete(path: Path, name: str = "own") -> None:
    """A third of A and a half of B are held out; the others are in the order of their file names."""
    train, validation = (load_unpaired(name, split, path) for split in ("train", "validation"))
    assert [len(train.a), len(train.b), len(validation.a), len(validation.b)] == [2, 1, 1, 1]
    heights = [picture.shape[1] for picture in train.a]
    assert heights == sorted(heights, key=[18, 17, 16].index)
    assert sorted([*heights, validation.a[0].shape[1]]) == [16, 17, 18]
    for dataset in (train, validation):
        assert all(picture.dtype == torch.uint8 for picture in dataset.a)
        assert dataset.a[0][:, 0, 0].tolist() == list(RED)
        assert dataset.b[0][:, 0, 0].tolist() == list(BLUE)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("nested", ["", "summer2winter/", "./"])
def test_every_layout_is_found_by_name_and_by_its_own_path(tmp_path: Path, suffix: str, nested: str) -> None:
    path = WRITERS[suffix](tmp_path / f"own{suffix}", {f"{nested}{name}": content for name, content in FILES.items()})
    assert_is_complete(tmp_path)
    if suffix or not nested.strip("./"):
        assert_is_complete(path, "any")
        assert picture_set_at(path) == "own"
    (test,) = load_unpaired("own", "test", tmp_path).a
    assert test[0, 0, 0] == 250


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_zip(tmp_path / "own.zip", FILES)
    monkeypatch.setenv("GANTRY_DATA_DIR", str(tmp_path))
    assert len(load_unpaired("own", "train").a) == 2


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    as_folder(tmp_path / "disk", FILES)
    (tmp_path / "own").mkdir()
    for name in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "own" / name).symlink_to(tmp_path / "disk" / name)
    assert_is_complete(tmp_path)


def test_a_tars_links_are_followed_and_its_folders_are_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "own.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (
            ("trainA/folder.png", tarfile.DIRTYPE, ""),
            ("trainA/2.png", tarfile.REGTYPE, ""),
            ("trainA/1.png", tarfile.LNKTYPE, "trainA/2.png"),
            ("trainB/1.png", tarfile.SYMTYPE, "../trainA/1.png"),
            ("trainB/2.png", tarfile.SYMTYPE, "../trainA/2.png"),
            ("testA/1.png", tarfile.LNKTYPE, "trainA/2.png"),
            ("testB/1.png", tarfile.SYMTYPE, "1.again.png"),
            ("testB/1.again.png", tarfile.SYMTYPE, "../trainA/1.png"),
            ("README", tarfile.SYMTYPE, "nowhere"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            content = plain(RED) if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    dataset = load_unpaired("own", "train", path)
    assert [len(dataset.a), len(dataset.b)] == [1, 1]  # and as many for validation
    assert dataset.b[0][:, 0, 0].tolist() == list(RED)


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("trainA/1.png")
        member.type, member.linkname = tarfile.LNKTYPE, "trainA/gone.png"
        archive.addfile(member)
        for each in (f"train{letter}/{number}.png" for letter in "AB" for number in range(2, 5)):
            member = tarfile.TarInfo(each)
            member.size = len(plain(RED))
            archive.addfile(member, io.BytesIO(plain(RED)))
    with pytest.raises(DataError, match=r"own\.tar: trainA/1\.png: not a readable picture: .*trainA/gone\.png"):
        load_unpaired("own", "train", path)


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar"])
def test_what_is_no_picture_of_the_data_set_is_passed_over(tmp_path: Path, suffix: str) -> None:
    junk = {
        "__MACOSX/trainA/1.png": b"resource fork",
        "trainA/._1.png": b"resource fork",
        "trainA/.hidden.jpg": b"",
        ".trash/trainA/1.png": b"",
        "trainA/notes.txt": b"text",
        "trainA/thumbs/1.png": plain(BLUE),
        "older/backup/trainA/1.png": plain(BLUE),
        "other/1.png": plain(BLUE),
    }
    WRITERS[suffix](tmp_path / f"own{suffix}", {**FILES, **junk})
    assert_is_complete(tmp_path)


def test_hidden_folders_above_the_data_set_do_not_matter(tmp_path: Path) -> None:
    as_folder(tmp_path / ".cache" / "own", FILES)
    assert_is_complete(tmp_path / ".cache")


@pytest.mark.parametrize("name", ["a.PNG", "a.Png", "a.b.png"])
def test_suffixes_of_any_case_are_pictures(tmp_path: Path, name: str) -> None:
    assert one_picture(tmp_path, plain(RED), name).shape == (3, 16, 20)


@pytest.mark.parametrize(
    ("format", "name"),
    [("JPEG", "a.jpg"), ("JPEG", "a.jpeg"), ("WEBP", "a.webp"), ("GIF", "a.gif"), ("BMP", "a.bmp"), ("TIFF", "a.tif")],
)
def test_common_formats_are_read(tmp_path: Path, format: str, name: str) -> None:
    picture = one_picture(tmp_path, encoded(Image.new("RGB", (20, 16), RED), format), name)
    np.testing.assert_allclose(picture[:, 5, 5].tolist(), RED, atol=4)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (8, 8), 77), (77, 77, 77)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.fromarray(np.full((8, 8), 257 * 77, np.uint16)), (77, 77, 77)),
        (Image.new("RGBA", (8, 8), (*RED, 0)), (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (*RED, 255)), RED),
        (Image.new("RGBA", (8, 8), (*RED, 51)), (255, 204, 204)),
        (Image.new("LA", (8, 8), (0, 51)), (204, 204, 204)),
        (Image.new("RGB", (8, 8), BLUE).quantize(4), BLUE),
    ],
    ids=["grey", "1-bit", "16-bit", "transparent", "opaque", "translucent", "grey-alpha", "palette"],
)
def test_every_kind_of_pixels_becomes_rgb(tmp_path: Path, picture: Image.Image, expected: tuple[int, ...]) -> None:
    assert one_picture(tmp_path, encoded(picture))[:, 4, 4].tolist() == list(expected)


def test_a_palettes_transparency_is_over_white(tmp_path: Path) -> None:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([*RED, *BLUE])
    assert one_picture(tmp_path, encoded(picture, transparency=0))[:, 4, 4].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.new("RGB", (16, 16), (200, 100, 50)).convert("CMYK")
    red, green, blue = one_picture(tmp_path, encoded(picture, "JPEG"), "1.jpg")[:, 8, 8].tolist()
    np.testing.assert_allclose((red, green, blue), (200, 100, 50), atol=4)


def test_pictures_are_turned_as_exif_says(tmp_path: Path) -> None:
    picture, exif = Image.new("RGB", (20, 16), RED), Image.Exif()
    picture.paste(BLUE, (0, 0, 20, 8))  # the upper half
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = one_picture(tmp_path, encoded(picture, exif=exif))
    assert turned.shape == (3, 20, 16)
    assert turned[:, 10, 1].tolist() == list(RED)
    assert turned[:, 10, 14].tolist() == list(BLUE)


@pytest.mark.parametrize(("size", "expected"), [((80, 60), (24, 32)), ((60, 80), (32, 24)), ((20, 16), (16, 20))])
def test_large_pictures_are_made_smaller_to_save_memory(tmp_path: Path, size, expected: tuple[int, int]) -> None:
    assert one_picture(tmp_path, plain(RED, size), max_side=24).shape[1:] == expected


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar"])
@pytest.mark.parametrize("content", [b"no picture", b"", encoded(Image.effect_noise((64, 64), 90))[:-500]])
def test_a_broken_picture_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = WRITERS[suffix](tmp_path / f"own{suffix}", {**FILES, "trainB/broken.png": content})
    refused = {split: refusal(tmp_path, split) for split in ("train", "validation", "test")}
    found = [message for message in refused.values() if message]
    assert all(message.startswith(f"{path}: trainB/broken.png: not a readable picture") for message in found)
    # What is cut short shows when it is decoded, in its own split; what is no picture, in any.
    assert len(found) == (1 if len(content) > 100 else 3)


def refusal(path: Path, split: str) -> str | None:
    try:
        load_unpaired("own", split, path)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("missing", ["A", "B"])
def test_an_empty_domain_is_named(tmp_path: Path, missing: str) -> None:
    files = {name: content for name, content in FILES.items() if f"train{missing}" not in name}
    as_zip(tmp_path / "own.zip", files)
    with pytest.raises(
        DataError, match=rf"own\.zip: holds no pictures in a folder train{missing}; two domains need trainA and trainB"
    ):
        load_unpaired("own", "train", tmp_path)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def overwrite_the_middle(path: Path) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[: middle - 40] + b"\xff" * 80 + content[middle + 40 :])


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("spoil", [cut_short, overwrite_the_middle, lambda path: path.write_bytes(b"nothing")])
def test_a_broken_archive_is_named(tmp_path: Path, suffix: str, spoil: Callable[[Path], None]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)
    noise = {f"trainA/noise-{number}.png": encoded(Image.fromarray(each)) for number, each in enumerate(pixels)}
    path = WRITERS[suffix](tmp_path / f"own{suffix}", {**FILES, **noise})
    spoil(path)
    with pytest.raises(DataError, match=f"{path}: "):
        load_unpaired("own", "train", tmp_path)


def test_damage_that_only_the_checksum_tells_of_is_found(tmp_path: Path) -> None:
    path = as_tar(tmp_path / "own.tar.gz", FILES)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # RFC 1952: the last eight bytes are the checksum and the length
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: not a readable folder, zip or tar: it is damaged"):
        load_unpaired("own", "train", tmp_path)


def test_missing_data_say_where_they_were_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=rf"own: {tmp_path} is no set of pictures and holds none of this"):
        load_unpaired("own", "train", tmp_path)
    monkeypatch.delenv("GANTRY_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="own: say where it is with --data-dir or GANTRY_DATA_DIR"):
        load_unpaired("own", "train")


def test_a_path_that_is_no_data_set_has_no_name(tmp_path: Path) -> None:
    assert picture_set_at(tmp_path) is None
    assert picture_set_at(tmp_path / "nowhere") is None


def test_what_a_model_remembers_of_its_data(tmp_path: Path) -> None:
    as_folder(tmp_path / "own", FILES)
    info = load_unpaired("own", "train", tmp_path).info
    assert info == DomainsInfo(
        "own", licence="not known to Gantry; ask whoever gave the pictures", images=3, fingerprint=info.fingerprint
    )
    as_zip(tmp_path / "horse2zebra.zip", FILES)
    horses = load_unpaired("horse2zebra", "train", tmp_path).info
    assert "research use only" in horses.licence
    assert horses.fingerprint == info.fingerprint
    as_folder(tmp_path / "own", {name: plain(BLUE) for name in FILES if "trainA" in name})
    assert load_unpaired("own", "train", tmp_path).info.fingerprint != info.fingerprint


def test_without_test_pictures_some_are_held_out(tmp_path: Path) -> None:
    as_folder(
        tmp_path / "own", {f"train{letter}/{each}.png": plain((each, 0, 0)) for letter in "AB" for each in range(30)}
    )
    splits = [load_unpaired("own", split, tmp_path) for split in ("train", "validation", "test")]
    assert [(len(each.a), len(each.b)) for each in splits] == [(25, 25), (2, 2), (3, 3)]
    shown = [sorted(int(picture[0, 0, 0]) for each in splits for picture in domain(each)) for domain in (A, B)]
    assert shown == [list(range(30))] * 2
    held = [{int(picture[0, 0, 0]) for picture in domain(splits[2])} for domain in (A, B)]
    assert held[0] != held[1]
    assert describe(splits[0]) == (
        "own: A: 25 of 30 pictures to train on (2 validation, 3 test); B: 25 of 30 pictures to train on "
        "(2 validation, 3 test); RGB, each of its own size; too small to evaluate, which takes at least 4 test "
        "pictures of each domain"
    )


def test_a_domain_of_one_picture_is_too_few(tmp_path: Path) -> None:
    as_folder(tmp_path / "own", {"trainA/1.png": plain(RED), "trainB/1.png": plain(BLUE)})
    with pytest.raises(DataError, match="own: trainA: at least 3 pictures are needed to train on, found 1"):
        load_unpaired("own", "train", tmp_path)


def test_one_kind_of_set_is_not_taken_for_the_other(tmp_path: Path) -> None:
    two = as_folder(tmp_path / "two", FILES)
    assert picture_set_at(two) == "two"
    with pytest.raises(DataError, match=r"two: is a set of two domains \(trainA and trainB\), for cyclegan"):
        load("two", "train", two)
    one = as_folder(tmp_path / "one", {f"{each}.png": plain(RED) for each in range(12)})
    with pytest.raises(
        DataError, match="one: holds no pictures in a folder trainA; two domains need trainA and trainB"
    ):
        load_unpaired("one", "train", one)


def test_a_set_of_two_domains_keeps_its_name_in_a_folder_around_it(tmp_path: Path) -> None:
    as_folder(tmp_path / "horse2zebra", FILES)
    assert picture_set_at(tmp_path) == "horse2zebra"
    assert len(load_unpaired("horse2zebra", "train", tmp_path).a) == 2


def test_streamed_crops_equal_resident_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = {
        f"train{letter}/{each}.png": encoded(Image.effect_noise((40, 50), 90)) for letter in "AB" for each in range(9)
    }
    path = as_zip(tmp_path / "own.zip", noise)
    resident = load_unpaired("own", "train", path)
    monkeypatch.setattr("training.data.domains.MEMORY_BUDGET", 100)
    streamed = load_unpaired("own", "train", path)
    assert isinstance(resident.a, list)
    assert not isinstance(streamed.a, list)
    assert describe(streamed).endswith("\ntoo many to be held in memory: decoded while they are trained on")
    crop = CropConfig(size=32, min_side=32, max_side=48)
    wanted, given = (UnpairedCrops(each, 3, crop, 0, torch.device("cpu")) for each in (resident, streamed))
    for step in (0, 1, 2, 7, 3):
        assert all(map(torch.equal, given.batch(step), wanted.batch(step)))


def test_the_real_data_have_their_known_sizes() -> None:
    try:
        dataset = load_unpaired("horse2zebra", "test")
    except DataError as error:
        pytest.skip(str(error))
    assert (len(dataset.a), len(dataset.b)) == (120, 140)
    assert {picture.shape for picture in (*dataset.a, *dataset.b)} == {(3, 256, 256)}
