"""Pixels to image files, the same bytes for the same pixels. Needs no torch: the gateway encodes grids with it."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import (
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_RAW,
    IMAGE_FORMAT_WEBP,
    EncodedImage,
    ImageFormat,
)

Pixels = NDArray[np.uint8]

# Formats in which a quality means something.
LOSSY_FORMATS = frozenset({IMAGE_FORMAT_JPEG, IMAGE_FORMAT_WEBP})
FORMATS = frozenset({IMAGE_FORMAT_PNG, IMAGE_FORMAT_RAW}) | LOSSY_FORMATS


def encode(
    pixels: Pixels, image_format: "ImageFormat.ValueType", quality: int, text: Mapping[str, str]
) -> EncodedImage:
    """Encode one picture.

    Args:
        pixels: uint8 [height, width, channels] with 1 or 3 channels.
        image_format: One of `FORMATS`.
        quality: 1 to 100, for the lossy formats; WEBP at 100 is lossless.
        text: Written into the text chunks of a PNG, in this order; other formats leave it out.

    Returns:
        The encoded picture with its size.

    Raises:
        ValueError: The format is not one of `FORMATS`.
    """
    height, width, channels = pixels.shape
    return EncodedImage(
        data=_encode_bytes(pixels, image_format, quality, text),
        width=width,
        height=height,
        channels=channels,
        format=image_format,
    )


def to_pixels(values: NDArray[np.float32], image: models_pb2.ImageSpec) -> Pixels:
    """Turn what a graph gives into bytes.

    Args:
        values: float32, finite.
        image: The range: `value_min` becomes 0, `value_max` 255, and what lies outside is clipped.

    Returns:
        uint8 of the same shape.
    """
    low, high = image.value_min, image.value_max
    pixels: Pixels = np.rint((values - low) * (255.0 / (high - low))).clip(0, 255).astype(np.uint8)
    return pixels


def to_values(pixels: Pixels, image: models_pb2.ImageSpec) -> NDArray[np.float32]:
    """Turn bytes into what a graph takes: float32 of the same shape; the inverse of `to_pixels`."""
    scale = np.float32((image.value_max - image.value_min) / 255.0)
    return pixels * scale + np.float32(image.value_min)


def picture_facts(
    card: models_pb2.ModelCard, digest: str, execution: str, facts: Iterable[worker_pb2.Fact]
) -> dict[str, str]:
    """Return what a PNG tells of itself: enough to make it again.

    Args:
        card: The card of the model that made it.
        digest: The archive's digest.
        execution: Name of the execution plan.
        facts: What the item brought besides, in order.

    Returns:
        Key → value, in the order of the file.
    """
    return {
        "gantry:model": card.name,
        "gantry:version": card.version,
        "gantry:digest": digest,
        "gantry:execution": execution,
    } | {fact.key: fact.value for fact in facts}


def tile(tiles: Sequence[Pixels], columns: int, gap: int) -> Pixels:
    """Lay pictures of one size out as a grid on white, row by row.

    Args:
        tiles: At least one uint8 [height, width, channels], all of one shape.
        columns: Tiles per row, at least 1.
        gap: Pixels between tiles, at least 0.

    Returns:
        uint8 [rows × (height + gap) - gap, columns × (width + gap) - gap, channels].
    """
    height, width, channels = tiles[0].shape
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for index, pixels in enumerate(tiles):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = pixels
    return sheet


def _encode_bytes(
    pixels: Pixels, image_format: "ImageFormat.ValueType", quality: int, text: Mapping[str, str]
) -> bytes:
    if image_format == IMAGE_FORMAT_RAW:
        return pixels.tobytes()
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    match image_format:
        case ImageFormat.IMAGE_FORMAT_PNG:
            image.save(buffer, "PNG", pnginfo=_png_info(text))
        case ImageFormat.IMAGE_FORMAT_JPEG:
            image.save(buffer, "JPEG", quality=quality)
        case ImageFormat.IMAGE_FORMAT_WEBP:
            image.save(buffer, "WEBP", quality=quality, lossless=quality == 100)
        case _:
            raise ValueError(f"cannot encode {ImageFormat.Name(image_format)}")
    return buffer.getvalue()


def _png_info(text: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    for key, value in text.items():
        if value.isascii():
            info.add_text(key, value)
        else:
            info.add_itxt(key, value)
    return info
