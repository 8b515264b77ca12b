"""Where the demo's horses and zebras come from."""

import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from services.client.demo_pictures import SIDE, demo_pictures, scene


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
    horses, zebras = demo_pictures(2)
    assert [len(horses), len(zebras)] == [2, 2]
    assert all(picture.size == (SIDE, SIDE) and picture.mode == "RGB" for picture in horses + zebras)


def test_scenes_differ_from_each_other_and_zebras_from_horses() -> None:
    scenes = [scene(animal, number) for number in range(3) for animal in ("horse", "zebra")]
    for index, first in enumerate(scenes):
        for second in scenes[index + 1 :]:
            assert ImageChops.difference(first, second).getbbox() is not None
