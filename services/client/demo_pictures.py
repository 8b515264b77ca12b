"""The horses and zebras that the demo translates: the test split where it is there, else a few cut-out photographs."""

import os
import tarfile
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TypeVar

from PIL import Image, ImageDraw

Item = TypeVar("Item")

SIDE = 256
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_ANIMALS = Path(__file__).with_name("demo_animals")
_UNSTRIPED = ("horse", "donkey", "donkey-eating")


def demo_pictures(count: int) -> tuple[list[Image.Image], list[Image.Image]]:
    """Find or make pictures of both domains.

    Args:
        count: Of each domain, at least 1.

    Returns:
        Horses and zebras: from horse2zebra or horse2zebra.tar in GANTRY_DATA_DIR, spread over testA and testB; where
        there is neither, scenes with a horse and donkeys, and with a zebra.
    """
    data_dir = Path(os.environ.get("GANTRY_DATA_DIR") or os.devnull)
    for read, place in ((_from_folder, data_dir / "horse2zebra"), (_from_tar, data_dir / "horse2zebra.tar")):
        if place.exists():
            horses, zebras = (read(place, folder, count) for folder in ("testA", "testB"))
            if horses and zebras:
                return horses, zebras
    return [scene(_UNSTRIPED[i % len(_UNSTRIPED)], i) for i in range(count)], [scene("zebra", i) for i in range(count)]


def scene(animal: str, number: int) -> Image.Image:
    """Put a cut-out animal on a drawn meadow.

    Args:
        animal: Name of a file in `demo_animals`, for example "horse".
        number: Decides how large it is and which way it looks.

    Returns:
        RGB, `SIDE` by `SIDE` pixels.
    """
    with Image.open(_ANIMALS / f"{animal}.png") as file:
        cut_out = file.convert("RGBA")
    width = round(SIDE * (0.92 - 0.06 * number))
    cut_out = cut_out.resize((width, round(cut_out.height * width / cut_out.width)), Image.Resampling.LANCZOS)
    meadow = _meadow()
    meadow.alpha_composite(cut_out, ((SIDE - cut_out.width) // 2, SIDE - cut_out.height - 24))
    return (meadow.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else meadow).convert("RGB")


def _meadow() -> Image.Image:
    """Grass that darkens towards the foot, below a sky that is paler towards the horizon."""
    horizon = SIDE // 2
    picture = Image.new("RGBA", (SIDE, SIDE))
    pen = ImageDraw.Draw(picture)
    for row in range(SIDE):
        share = row / horizon if row < horizon else (row - horizon) / horizon
        sky, grass = (170 + 25 * share, 200 + 12 * share, 235), (120 - 25 * share, 150 - 30 * share, 80 - 15 * share)
        pen.line((0, row, SIDE, row), tuple(map(round, sky if row < horizon else grass)))
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
