"""Where sampled pictures are written."""

from pathlib import Path

import pytest

from services.client import Format, Origin, SampledGrid, SampledImage
from services.client.files import destination

ORIGIN = {"model": "m", "version": "1", "digest": "d", "label": 3, "label_name": "a/b", "truncation": 1.0}
IMAGE = SampledImage(data=b"i", width=1, height=1, channels=1, format="jpeg", seed=7, **ORIGIN)  # type: ignore[arg-type]
TILES = (Origin(seed=7, **ORIGIN),)  # type: ignore[arg-type]
GRID = SampledGrid(data=b"g", width=1, height=1, channels=1, format="png", seed=7, tiles=TILES)


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
