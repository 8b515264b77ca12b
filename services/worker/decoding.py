"""Image files that callers send, to pixels. Needs no torch: the gateway refuses with it what no worker should see.

What is not an image of an allowed format and size is refused before a pixel is decoded, and whatever the decoder makes
of a file that was damaged, on purpose or not, becomes one kind of error.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from services.worker.imaging import Pixels

LEAST_SIDE = 16
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

# What brings a picture upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)

# A JPEG may hold scan after scan of the whole picture, a few bytes each: encoders write about ten.
_MAX_JPEG_SCANS = 100
_JPEG_START_OF_SCAN = 0xDA
_JPEG_END = 0xD9
# The markers that stand within the data of a scan, and those that no length follows.
_JPEG_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_BARE_MARKERS = (0x01, *range(0xD0, 0xD9))


class ImageError(ValueError):
    """The caller's picture is at fault; the message says in one line what is wrong with it."""


class ImageTooLargeError(ImageError):
    """The picture has more pixels than are allowed."""


@dataclass(frozen=True)
class ImageFacts:
    """What the header of an image file tells.

    Attributes:
        format: One of `FORMATS`.
        width: In pixels, with the picture upright.
        height: In pixels, with the picture upright.
    """

    format: str
    width: int
    height: int


def inspect(data: bytes, max_pixels: int) -> ImageFacts:
    """Check an image file by its header; no pixel is decoded.

    Args:
        data: The file.
        max_pixels: The most pixels that it may have.

    Returns:
        What the header tells.

    Raises:
        ImageTooLargeError: It has more pixels.
        ImageError: It is not an image of an allowed format, or too small.
    """
    with _refusing_damage():
        image = _open(data, max_pixels)
        width, height = image.size
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return ImageFacts(_format(image), width, height)


def decode(data: bytes, max_pixels: int) -> Pixels:
    """Decode an image file: upright, of an animation the first frame, transparency laid over white.

    Args:
        data: The file.
        max_pixels: The most pixels that it may have.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        ImageTooLargeError: It has more pixels.
        ImageError: It is not an image of an allowed format, too small, damaged or cut off.
    """
    with _refusing_damage():
        image = _open(data, max_pixels)
        # Asked before the pixels are there: a file may tell of another orientation behind them.
        orientation = _orientation(image)
        image.load()
        upright = _to_rgb(image)
        if orientation in _UPRIGHT:
            upright = upright.transpose(_UPRIGHT[orientation])
        return np.array(upright)


@contextmanager
def _refusing_damage() -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError: SyntaxError, struct.error, zlib.error and many more."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError("the picture has far more pixels than are allowed") from error
    except Exception as error:
        raise ImageError("the picture is damaged or cut off") from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise ImageError("the picture is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        formats = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ImageError(f"the picture is not a {formats} file, or its beginning is damaged") from error
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the picture has {width}×{height} = {width * height} pixels; at most {max_pixels} are allowed"
        )
    if min(width, height) < LEAST_SIDE:
        raise ImageError(f"the picture has {width}×{height} pixels; both sides must be at least {LEAST_SIDE}")
    if _format(image) == "JPEG" and _count_jpeg_scans(data) > _MAX_JPEG_SCANS:
        raise ImageError(f"the picture has more than {_MAX_JPEG_SCANS} scans")
    return image


def _format(image: Image.Image) -> str:
    # A JPEG with further pictures behind it, as phones write them, is of a format of its own in Pillow.
    return "JPEG" if image.format == "MPO" else str(image.format)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that stands before the pixels; 1, upright, where there is none that can be read."""
    try:
        # The method of a PNG would decode it first, to look behind the pixels.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16 bits of grey; Pillow's own conversion would cut off all that is brighter than 255.
        grey = np.asarray(image).astype(np.float32) * np.float32(255 / 65535)
        image = Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _count_jpeg_scans(data: bytes) -> int:
    """Count the scans of a JPEG up to one more than are allowed, by its markers alone."""
    scans, position = 0, 2
    while scans <= _MAX_JPEG_SCANS and (found := _JPEG_NEXT_MARKER.search(data, position)):
        marker, position = data[found.end() - 1], found.end()
        if marker == _JPEG_END:
            break
        scans += marker == _JPEG_START_OF_SCAN
        if marker not in _JPEG_BARE_MARKERS:
            position += int.from_bytes(data[position : position + 2])
    return scans
