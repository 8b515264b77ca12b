"""Where the demo's horses and zebras come from."""

import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from services.client import demo_pictures as module
from services.client.demo_pictures import SIDE, SheetColumn, captioned_sheet, demo_pictures, scene


def picture_file(shade: int) -> bytes:
    file = BytesIO()
    Image.new("L", (20, 10), shade).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["folder", "tar"])
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Six pictures of each domain; those of A are darker, and their order shows in their shade."""
    files = {
        f"horse2zebra/{folder}/{number}.png": picture_file(base + number)
        for folder, base in (("testA", 10), ("testB", 200), ("trainA", 100))
        for number in range(6)
    }
    if request.param == "tar":
        with tarfile.open(tmp_path / "horse2zebra.tar", "w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, BytesIO(content))
    else:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
    return tmp_path


def test_photographs_are_spread_over_the_test_split(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_DATA_DIR", str(data_dir))
    horses, zebras = demo_pictures(3)
    assert [picture.getpixel((0, 0)) for picture in horses] == [(10,) * 3, (12,) * 3, (14,) * 3]
    assert [picture.getpixel((0, 0)) for picture in zebras] == [(200,) * 3, (202,) * 3, (204,) * 3]


@pytest.mark.parametrize("value", [None, "", "/nonexistent"])
def test_without_data_they_are_scenes(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("GANTRY_DATA_DIR", raising=False)
    else:
        monkeypatch.setenv("GANTRY_DATA_DIR", value)
    horses, zebras = demo_pictures(20)
    assert [len(horses), len(zebras)] == [20, 20]
    assert all(picture.size == (SIDE, SIDE) and picture.mode == "RGB" for picture in horses + zebras)


def test_scenes_differ_from_each_other_and_zebras_from_horses() -> None:
    scenes = [scene(animal, number) for number in range(12) for animal in ("horse", "zebra")]
    assert len({picture.tobytes() for picture in scenes}) == 24
    assert scene("horse", 12).tobytes() == scenes[0].tobytes()


def test_cut_outs_stand_before_a_photograph_that_reaches_the_edges() -> None:
    horse, zebra = scene("horse", 0), scene("zebra", 0)
    assert horse.crop((0, 0, SIDE, 40)).tobytes() == zebra.crop((0, 0, SIDE, 40)).tobytes()
    # A drawn meadow has one colour a row.
    assert all(len(horse.crop((0, row, SIDE, row + 1)).getcolors() or ()) > 16 for row in range(SIDE))


def test_photographs_are_shown_whole_both_ways() -> None:
    looks_left, looks_right = scene("herd", 0), scene("herd", 2)
    assert ImageChops.difference(looks_left, looks_right.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).getbbox() is None


def test_licence_names_every_photograph() -> None:
    folder = Path(module.__file__).with_name("demo_animals")
    licence, photographs = (folder / "LICENCE").read_text(), sorted(folder.glob("*.webp"))
    assert photographs
    assert [file.stem for file in photographs if file.stem not in licence] == []


def test_sheet_shows_sent_above_came_above_caption() -> None:
    red, green, blue = (Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "lime", "blue"))
    page = captioned_sheet([SheetColumn(red, green, "first"), SheetColumn(green, blue, "")])
    left, right = SIDE // 2, SIDE + 2 + SIDE // 2
    above, below = SIDE // 2, SIDE + 2 + SIDE // 2
    assert [page.getpixel(at) for at in ((left, above), (left, below))] == [(255, 0, 0), (0, 255, 0)]
    assert [page.getpixel(at) for at in ((right, above), (right, below))] == [(0, 255, 0), (0, 0, 255)]
    foot = page.crop((0, 2 * (SIDE + 2), page.width, page.height))
    assert min(foot.crop((0, 0, SIDE, foot.height)).tobytes()) < 128
    assert min(foot.crop((SIDE + 2, 0, foot.width, foot.height)).tobytes()) == 255
