"""Sheets for people: many pictures as one, enlarged where they are small, with labels at rows and tiles.

A grid that the gateway makes has neither, so that programs can cut it; these are put together here from single
pictures.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from services.client.paths import Path, Sweep
from services.client.pictures import Coordinate, Format, Frame, Picture, SampledGrid, SampledImage, Traversal

# A picture is enlarged by the largest whole factor that keeps its longer side within this.
TILE_PIXELS = 96
GAP = 4
DEFAULT_QUALITY = 90
_FONT_PIXELS = 14


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where pictures go on a sheet, and what is written beside them.

    Attributes:
        columns: Tiles in a row, at least 1.
        captions: Above each tile; empty for none. A row without any takes no room for them.
        rows: Left of each row; empty for none.
        corner: Left of the first row's captions.
    """

    columns: int
    captions: Sequence[str] = ()
    rows: Sequence[str] = ()
    corner: str = ""


def sample_sheet(
    images: Iterable[SampledImage],
    *,
    by_class: bool = False,
    columns: int | None = None,
    format: Format = "png",
    quality: int | None = None,
) -> SampledGrid:
    """Lay samples out: one row a class with its name, or each below its class, else its seed.

    Args:
        images: PNGs, at least one.
        by_class: Whether they are as many of each class, ordered by class.
        columns: Tiles in a row. Default: the pictures of a class `by_class`, else about as many as rows.
        format: How the sheet is encoded.
        quality: Of "jpeg" and "webp", 1 to 100. Default: 90.

    Returns:
        The sheet and the origin of each tile.
    """
    tiles = tuple(images)
    first = tiles[0]
    names = list(dict.fromkeys(tile.label_name or "" for tile in tiles))
    natural = len(tiles) // len(names) if by_class else math.isqrt(len(tiles) - 1) + 1
    if by_class and columns in (None, natural):
        layout = Layout(columns=natural, rows=names)
    else:
        layout = Layout(columns=columns or natural, captions=[tile.label_name or str(tile.seed) for tile in tiles])
    sheet = draw_sheet([tile.image for tile in tiles], layout)
    picture = _encode(sheet, format, quality, _facts(tiles, first.seed))
    return SampledGrid(**picture, seed=first.seed, tiles=tiles)


def traversal_sheet(
    frames: Iterable[Frame],
    path: Path,
    *,
    columns: int | None = None,
    format: Format = "png",
    quality: int | None = None,
) -> Traversal:
    """Lay the frames of a traversal out, with the stops of its axes.

    Args:
        frames: All frames, in order; PNGs.
        path: The way they went.
        columns: Tiles in a row. Default: the stops of x for a sweep of two, else all frames.
        format: How the sheet is encoded.
        quality: Of "jpeg" and "webp", 1 to 100. Default: 90.

    Returns:
        The sheet, and the frames themselves.
    """
    tiles = tuple(frames)
    sheet = draw_sheet([tile.image for tile in tiles], _layout_of(tiles, path, columns))
    picture = _encode(sheet, format, quality, _facts(tiles, tiles[0].seed))
    return Traversal(**picture, frames=tiles)


def _layout_of(frames: Sequence[Frame], path: Path, columns: int | None) -> Layout:
    if not isinstance(path, Sweep):
        return Layout(columns=columns or len(frames), captions=[_stop(frame.coordinates[0]) for frame in frames])
    if path.y is None:
        captions = [_stop(frame.coordinates[0]) for frame in frames]
        return Layout(columns=columns or len(frames), captions=captions, corner=path.x.code)
    natural = sum(frame.coordinates[1] == frames[0].coordinates[1] for frame in frames)
    if columns not in (None, natural):
        return Layout(columns=columns, captions=[" ".join(map(_stop, reversed(frame.coordinates))) for frame in frames])
    return Layout(
        columns=natural,
        captions=[_stop(frame.coordinates[0]) for frame in frames[:natural]],
        rows=[_stop(frame.coordinates[1]) for frame in frames[::natural]],
        corner=f"{path.y.code} / {path.x.code}",
    )


def _stop(coordinate: Coordinate) -> str:
    return coordinate.name or f"{coordinate.value:.3g}"


def draw_sheet(pictures: Sequence[Image.Image], layout: Layout) -> Image.Image:
    """Lay pictures out row by row on white.

    Args:
        pictures: At least one; small ones are enlarged, each pixel becoming a square.
        layout: Where they go, and what is written beside them.

    Returns:
        The sheet, in mode L where all pictures are, else RGB.
    """
    tiles = [_enlarged(picture) for picture in pictures]
    font = ImageFont.load_default(_FONT_PIXELS)
    starts = range(0, len(tiles), layout.columns)
    captions = [layout.captions[start : start + layout.columns] for start in starts]
    side = max(max(tile.width for tile in tiles), *(_width(font, text) for text in (*layout.captions, "")))
    margin = max(_width(font, text) for text in (*layout.rows, layout.corner, ""))
    left = GAP + (margin + 2 * GAP if margin else 0)
    line = _FONT_PIXELS + GAP
    tall = max(tile.height for tile in tiles)
    heights = [GAP + tall + (line if any(row) else 0) for row in captions]
    across = min(layout.columns, len(tiles))
    mode = "L" if all(tile.mode == "L" for tile in tiles) else "RGB"
    sheet = Image.new(mode, (left + across * (side + GAP), sum(heights) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), layout.corner, "black", font)
    top = 0
    for number, (start, height) in enumerate(zip(starts, heights, strict=True)):
        tile_top = top + height - tall
        for place, tile in enumerate(tiles[start : start + layout.columns]):
            centre = left + place * (side + GAP) + side // 2
            sheet.paste(tile, (centre - tile.width // 2, tile_top))
            if start + place < len(layout.captions):
                pen.text((centre, tile_top - GAP // 2), layout.captions[start + place], "black", font, anchor="md")
        if number < len(layout.rows):
            pen.text((left - 2 * GAP, tile_top + tall // 2), layout.rows[number], "black", font, anchor="rm")
        top += height
    return sheet


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = max(1, TILE_PIXELS // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _width(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> int:
    return math.ceil(font.getlength(text))


def _facts(tiles: Sequence[Picture], seed: int) -> dict[str, str]:
    """Return what the PNGs of all tiles tell alike, and the seed of the first."""
    told = [{str(key): str(value) for key, value in tile.image.info.items()} for tile in tiles]
    alike = set.intersection(*(set(one.items()) for one in told))
    return {key: value for key, value in alike if key.startswith("gantry:")} | {"gantry:seed": str(seed)}


def _encode(sheet: Image.Image, format: Format, quality: int | None, facts: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a `Picture`; a PNG carries the facts, as those of the gateway do."""
    return {
        "data": _file(sheet, format, quality, facts),
        "width": sheet.width,
        "height": sheet.height,
        "channels": len(sheet.getbands()),
        "format": format,
    }


def _file(sheet: Image.Image, format: Format, quality: int | None, facts: dict[str, str]) -> bytes:
    if format == "raw":
        return sheet.tobytes()
    buffer = BytesIO()
    if format == "png":
        text = PngInfo()
        for key, value in sorted(facts.items()):
            text.add_text(key, value)
        sheet.save(buffer, "PNG", pnginfo=text)
    else:
        sheet.save(buffer, format.upper(), quality=quality or DEFAULT_QUALITY)
    return buffer.getvalue()
