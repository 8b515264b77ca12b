"""The horses and zebras that the demo translates: photographs of the test split where there are any, else drawings."""

import os
import tarfile
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TypeVar

from PIL import Image, ImageDraw

Item = TypeVar("Item")

SIDE = 256
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_COATS = ("saddlebrown", "sienna", "peru", "rosybrown", "dimgray")


def demo_pictures(count: int) -> tuple[list[Image.Image], list[Image.Image]]:
    """Find or draw pictures of both domains.

    Args:
        count: Of each domain, at least 1.

    Returns:
        Horses and zebras: from horse2zebra or horse2zebra.tar in GANTRY_DATA_DIR, spread over testA and testB; drawn
        where there is neither.
    """
    data_dir = Path(os.environ.get("GANTRY_DATA_DIR") or os.devnull)
    for read, place in ((_from_folder, data_dir / "horse2zebra"), (_from_tar, data_dir / "horse2zebra.tar")):
        if place.exists():
            horses, zebras = (read(place, folder, count) for folder in ("testA", "testB"))
            if horses and zebras:
                return horses, zebras
    return [draw_animal(i, striped=False) for i in range(count)], [draw_animal(i, striped=True) for i in range(count)]


def draw_animal(number: int, *, striped: bool) -> Image.Image:
    """Draw a horse or a zebra on a meadow.

    Args:
        number: Decides where it stands and a horse's coat.
        striped: Whether it is a zebra.

    Returns:
        RGB, `SIDE` by `SIDE` pixels.
    """
    scene = Image.new("RGB", (SIDE, SIDE), "skyblue")
    pen = ImageDraw.Draw(scene)
    pen.rectangle((0, 120 + 8 * number, SIDE, SIDE), "olivedrab")
    shape = Image.new("L", scene.size)
    _draw_shape(ImageDraw.Draw(shape), left=30 + 9 * number, top=70 + 5 * number)
    scene.paste(_stripes() if striped else Image.new("RGB", scene.size, _COATS[number % len(_COATS)]), mask=shape)
    return scene if number % 2 else scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _draw_shape(pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
    pen.ellipse((left, top + 40, left + 120, top + 105), 255)  # body
    pen.polygon([(left + 85, top + 60), (left + 125, top - 5), (left + 145, top + 10), (left + 118, top + 85)], 255)
    pen.ellipse((left + 115, top - 15, left + 172, top + 18), 255)  # head
    pen.polygon([(left + 122, top - 8), (left + 128, top - 28), (left + 136, top - 10)], 255)  # ear
    for leg in (10, 28, 84, 102):
        pen.rectangle((left + leg, top + 80, left + leg + 11, top + 155), 255)
    pen.line((left + 6, top + 62, left - 14, top + 110), 255, 7)  # tail


def _stripes() -> Image.Image:
    stripes = Image.new("RGB", (SIDE, SIDE), "whitesmoke")
    pen = ImageDraw.Draw(stripes)
    for start in range(-SIDE, SIDE, 14):
        pen.line((start, SIDE, start + SIDE // 2, 0), (25, 25, 25), 6)
    return stripes


def _from_folder(place: Path, folder: str, count: int) -> list[Image.Image]:
    files = sorted(file for file in (place / folder).glob("*") if file.suffix.lower() in _SUFFIXES)
    return [Image.open(file).convert("RGB") for file in _spread(files, count)]


def _from_tar(place: Path, folder: str, count: int) -> list[Image.Image]:
    with tarfile.open(place) as archive:
        names = sorted(
            name
            for name in archive.getnames()
            if PurePosixPath(name).parent.name == folder and PurePosixPath(name).suffix.lower() in _SUFFIXES
        )
        files = [archive.extractfile(name) for name in _spread(names, count)]
        return [Image.open(BytesIO(file.read())).convert("RGB") for file in files if file]


def _spread(items: list[Item], count: int) -> list[Item]:
    """Up to `count` items, evenly spread."""
    step = max(1, len(items) // count)
    return items[::step][:count]
