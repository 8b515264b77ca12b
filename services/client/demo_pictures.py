"""The horses and zebras that the demo translates: the test split where it is there, else a few free photographs.

A net trained on photographs lays patterns of its own over the flat colours of a drawing. So the cut-out animals stand
on photographed meadows; two of the pictures are whole photographs.
"""

import os
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

Item = TypeVar("Item")

SIDE = 256
CAPTION_HEIGHT = 24
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_FOLDER = Path(__file__).with_name("demo_animals")
_UNSTRIPED = ("horse", "donkey", "herd", "donkey-eating", "black-horse")
_MEADOWS = ("meadow", "hillside")
_WIDTHS = (0.92, 0.84, 0.76)
_FOOT = 18
"""Pixels between the hooves and the lower edge."""
_SHADE = (20, 25, 10)


class SheetColumn(NamedTuple):
    """One column of a sheet.

    Attributes:
        sent: The picture that was sent.
        came: Its translation.
        caption: One short line in Latin letters.
    """

    sent: Image.Image
    came: Image.Image
    caption: str


def demo_pictures(count: int) -> tuple[list[Image.Image], list[Image.Image]]:
    """Find or make pictures of both domains.

    Args:
        count: Of each domain, at least 1.

    Returns:
        Horses and zebras: from horse2zebra or horse2zebra.tar in GANTRY_DATA_DIR, spread over testA and testB; where
        there is neither, scenes with horses and donkeys, and with a zebra.
    """
    data_dir = Path(os.environ.get("GANTRY_DATA_DIR") or os.devnull)
    for read, place in ((_from_folder, data_dir / "horse2zebra"), (_from_tar, data_dir / "horse2zebra.tar")):
        if place.exists():
            horses, zebras = (read(place, folder, count) for folder in ("testA", "testB"))
            if horses and zebras:
                return horses, zebras
    return [scene(_UNSTRIPED[i % len(_UNSTRIPED)], i) for i in range(count)], [scene("zebra", i) for i in range(count)]


def scene(animal: str, number: int) -> Image.Image:
    """Show an animal out of doors.

    Args:
        animal: Name of a file in `demo_animals`: a cut-out ("horse", "donkey", "donkey-eating", "zebra"), which is put
            on a meadow, or a whole photograph ("herd", "black-horse").
        number: At least 0. Decides which way the picture looks and, of a cut-out, the meadow and how large it is; the
            same again after twelve.

    Returns:
        RGB, `SIDE` by `SIDE` pixels.
    """
    photograph = (_FOLDER / f"{animal}.webp").exists()
    picture = _photograph(animal) if photograph else _on_meadow(animal, number)
    return ImageOps.mirror(picture) if number // 2 % 2 else picture


def captioned_sheet(columns: Sequence[SheetColumn]) -> Image.Image:
    """Lay translations out side by side: above what was sent, below what came, under both a caption.

    Args:
        columns: At least one, each of pictures of `SIDE` by `SIDE` pixels.

    Returns:
        RGB, 2 pixels of white between pictures.
    """
    page = Image.new("RGB", (len(columns) * (SIDE + 2) - 2, 2 * (SIDE + 2) + CAPTION_HEIGHT), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, column in enumerate(columns):
        left = number * (SIDE + 2)
        page.paste(column.sent, (left, 0))
        page.paste(column.came, (left, SIDE + 2))
        pen.text((left + SIDE / 2, page.height - CAPTION_HEIGHT / 2), column.caption, "black", font, anchor="mm")
    return page


def _photograph(name: str) -> Image.Image:
    with Image.open(_FOLDER / f"{name}.webp") as file:
        return file.convert("RGB")


def _on_meadow(animal: str, number: int) -> Image.Image:
    """Stands a cut-out on a meadow, with its shadow about its hooves."""
    with Image.open(_FOLDER / f"{animal}.png") as file:
        cut_out = file.convert("RGBA")
    width = round(SIDE * _WIDTHS[number % len(_WIDTHS)])
    height = round(cut_out.height * width / cut_out.width)
    cut_out = cut_out.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (SIDE - width) // 2, SIDE - _FOOT - height
    # The shadow of a high sun: the outline pressed flat, and soft.
    flat = cut_out.getchannel("A").resize((width, height // 5)).point([round(0.45 * alpha) for alpha in range(256)])
    shadow = Image.new("L", (SIDE, SIDE))
    shadow.paste(flat, (left, top + height - flat.height + 4))
    picture = _photograph(_MEADOWS[number % len(_MEADOWS)])
    picture.paste(_SHADE, (0, 0), shadow.filter(ImageFilter.GaussianBlur(4)))
    picture.paste(cut_out, (left, top), cut_out)
    return picture


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
