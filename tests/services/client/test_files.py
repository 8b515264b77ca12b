"""Where pictures are written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.client import Format, Frame, Origin, SampledGrid, SampledImage, Traversal
from services.client.files import destination, plan_outputs

MAKER: dict[str, Any] = {"model": "m", "version": "1", "digest": "d", "execution": "e"}
ORIGIN: dict[str, Any] = {
    **MAKER,
    "seed": 7,
    "label": 3,
    "label_name": "a/b",
    "codes": {},
    "attributes": {},
    "truncation": 1.0,
}
SIZE: dict[str, Any] = {"width": 1, "height": 1, "channels": 1}
IMAGE = SampledImage(data=b"i", format="jpeg", **SIZE, **ORIGIN)
GRID = SampledGrid(data=b"g", format="png", seed=7, tiles=(Origin(**ORIGIN),), **SIZE)
FRAME = Frame(data=b"f", format="png", index=3, frames=11, coordinates=(), seed=7, **SIZE, **MAKER)
TRAVERSAL = Traversal(data=b"t", format="webp", frames=(FRAME,), **SIZE)


@pytest.mark.parametrize(
    ("name", "given", "is_file", "image_format"),
    [
        ("a.png", None, True, "png"),
        ("a.JPG", None, True, "jpeg"),
        ("a.webp", "webp", True, "webp"),
        ("folder", None, False, "png"),
        ("folder", "raw", False, "raw"),
        ("folder-1.0", None, False, "png"),
    ],
)
def test_what_a_path_means(name: str, given: Format | None, is_file: bool, image_format: Format) -> None:
    target = destination(Path(name), given)
    assert (target.is_file, target.format) == (is_file, image_format)


def test_a_folder_may_be_named_like_a_picture(tmp_path: Path) -> None:
    folder = tmp_path / "a.png"
    folder.mkdir()
    assert not destination(folder, "jpeg").is_file


def test_an_ending_that_contradicts_the_format() -> None:
    with pytest.raises(ValueError, match=r"a\.png would not be jpeg"):
        destination(Path("a.png"), "jpeg")


def test_writes_into_a_folder_and_makes_it(tmp_path: Path) -> None:
    target = destination(tmp_path / "new" / "folder", None)
    assert target.write(IMAGE, "m") == tmp_path / "new" / "folder" / "m-label3-seed7.jpeg"
    assert target.write(GRID, "m") == tmp_path / "new" / "folder" / "m-grid-seed7.png"
    assert (tmp_path / "new" / "folder" / "m-grid-seed7.png").read_bytes() == b"g"


def test_writes_the_file_it_is_given(tmp_path: Path) -> None:
    assert destination(tmp_path / "x.png", None).write(GRID, "m") == tmp_path / "x.png"
    assert (tmp_path / "x.png").read_bytes() == b"g"


def test_names_tell_what_a_picture_shows(tmp_path: Path) -> None:
    target = destination(tmp_path, None)
    of_codes = replace(IMAGE, label=None, label_name=None, codes={"k1": 7, "c1": -0.5, "c2": 1 / 3})
    assert target.write(of_codes, "m").name == "m-k1=7-c1=-0.5-c2=0.333333-seed7.jpeg"
    of_attributes = replace(IMAGE, attributes={"smile": 0.5})
    assert target.write(of_attributes, "m").name == "m-smile=0.5-label3-seed7.jpeg"
    assert target.write(FRAME, "m").name == "m-frame03.png"
    assert target.write(TRAVERSAL, "m").name == "m-traversal-seed7.webp"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two pictures, one of them a folder deeper, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.JPG", "deep/a.webp", "notes.txt"):
        (folder / name).write_bytes(b"")
    return folder


def test_translated_pictures_keep_their_names_and_folders(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert plan_outputs([photos, tmp_path / "c.gif"], destination(out, None)) == {
        photos / "b.JPG": out / "b.png",
        photos / "deep" / "a.webp": out / "deep" / "a.png",
        tmp_path / "c.gif": out / "c.png",
    }


def test_an_ending_of_the_right_format_stays(photos: Path, tmp_path: Path) -> None:
    outputs = plan_outputs([photos], destination(tmp_path, "jpeg"))
    assert list(outputs.values()) == [tmp_path / "b.JPG", tmp_path / "deep" / "a.jpeg"]


def test_one_picture_may_become_the_file_that_is_named(tmp_path: Path) -> None:
    target = destination(tmp_path / "z.webp", None)
    assert plan_outputs([tmp_path / "a.png"], target) == {tmp_path / "a.png": tmp_path / "z.webp"}


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["photos"], "z.png", "is one file, for 2 pictures: name a folder"),
        (["photos/b.JPG", "photos/deep/../b.JPG"], "out", "two pictures would become"),
        (["x/a.jpg", "a.gif"], "out", "two pictures would become .*a.png: translate .*a.gif into another folder"),
        (["a.png"], ".", "a.png would replace an input: name another folder"),
        (["a.png"], "photos/../a.png", "a.png would replace an input"),
        (["empty"], "out", r"no pictures \(.bmp, .gif, .* in .*empty"),
    ],
)
def test_what_cannot_be_written_is_told_before(
    photos: Path, tmp_path: Path, inputs: list[str], out: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        plan_outputs([tmp_path / name for name in inputs], destination(tmp_path / out, None))
