"""Reads how an answer is to look, the same for every call: truncation, encoding, grid, and whether it all fits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import (
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_WEBP,
    GridOptions,
    ImageFormat,
    SampleRequest,
    TranslateRequest,
    TraverseRequest,
)
from services.gateway.planning.violations import Violations
from services.worker.imaging import FORMATS, LOSSY_FORMATS

DEFAULT_QUALITY = 90
DEFAULT_GAP = 2
MAX_GAP = 64
# What an encoded picture may take beyond its raw pixels: headers, text chunks, and the message around it.
OVERHEAD_BYTES = 2048
ONE_TOO_LARGE = "a single picture of this model is more than a message may have"
# The most pixels of a side that a format can hold.
_MAX_SIDES = {IMAGE_FORMAT_JPEG: 65500, IMAGE_FORMAT_WEBP: 16383}


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_images: The most images.
        max_response_bytes: The most bytes of one answer.
        max_image_bytes: The most bytes of a picture that a caller sends.
        max_image_pixels: The most pixels of a picture that a caller sends.
    """

    max_images: int
    max_response_bytes: int
    max_image_bytes: int
    max_image_pixels: int


@dataclass(frozen=True)
class Encoding:
    """How to encode a picture.

    Attributes:
        format: Never IMAGE_FORMAT_UNSPECIFIED.
        quality: 1 to 100, for the lossy formats.
    """

    format: "ImageFormat.ValueType"
    quality: int


@dataclass(frozen=True)
class GridPlan:
    """How to lay pictures out as one.

    Attributes:
        columns: Tiles per row.
        gap: Pixels between tiles.
        encoding: How to encode the grid.
    """

    columns: int
    gap: int
    encoding: Encoding


def read_truncation(request: SampleRequest | TraverseRequest, violations: Violations) -> float:
    """Read ψ, 0 to 1."""
    truncation = request.truncation if request.HasField("truncation") else 1.0
    if not 0.0 <= truncation <= 1.0:
        violations.add("truncation", f"must be 0 to 1, got {truncation:g}")
    return truncation


def read_encoding(request: SampleRequest | TraverseRequest | TranslateRequest, violations: Violations) -> Encoding:
    """Read how pictures are to be encoded."""
    encoding = Encoding(
        request.format or IMAGE_FORMAT_PNG, request.quality if request.HasField("quality") else DEFAULT_QUALITY
    )
    if encoding.format not in FORMATS:
        allowed = ", ".join(ImageFormat.Name(known).removeprefix("IMAGE_FORMAT_") for known in sorted(FORMATS))
        violations.add("format", f"{request.format} is not supported; allowed: {allowed}")
    if request.HasField("quality") and encoding.format not in LOSSY_FORMATS:
        violations.add("quality", "only JPEG and WEBP have a quality")
    elif not 1 <= encoding.quality <= 100:
        violations.add("quality", f"must be 1 to 100, got {encoding.quality}")
    return encoding


def read_grid(options: GridOptions, tiles: int, columns: int, encoding: Encoding, violations: Violations) -> GridPlan:
    """Read the layout of a grid.

    Args:
        options: What the caller sent.
        tiles: Number of tiles.
        columns: Tiles per row where the caller does not say.
        encoding: How to encode the grid.
        violations: Of the request.

    Returns:
        The layout.
    """
    if options.HasField("columns"):
        columns = options.columns
        if columns < 1:
            violations.add("grid.columns", f"must be at least 1, got {columns}")
    gap = options.gap if options.HasField("gap") else DEFAULT_GAP
    if gap > MAX_GAP:
        violations.add("grid.gap", f"must be 0 to {MAX_GAP}, got {gap}")
    return GridPlan(min(columns, tiles), gap, encoding)


def grid_size(grid: GridPlan, tiles: int, image: models_pb2.ImageSpec) -> tuple[int, int]:
    """Return width and height in pixels of a grid of pictures."""
    width = grid.columns * (image.width + grid.gap) - grid.gap
    height = math.ceil(tiles / grid.columns) * (image.height + grid.gap) - grid.gap
    return width, height


def check_sides(
    name: str, width: int, height: int, image_format: "ImageFormat.ValueType", violations: Violations
) -> None:
    """Check whether a format holds a picture of this size.

    Args:
        name: The field that the caller could change.
        width: In pixels.
        height: In pixels.
        image_format: The format.
        violations: Of the request.
    """
    most = _MAX_SIDES.get(image_format, math.inf)
    if max(width, height) > most:
        violations.add(name, f"{width}×{height} pixels are more than the format holds; at most {most} a side")


def check_answer(name: str, size: int, limits: Limits, remedy: str, violations: Violations) -> None:
    """Check whether an answer may be sent as one message.

    Args:
        name: The field that the caller could change.
        size: The most bytes that it can have.
        limits: What one answer may have.
        remedy: What to do instead, for the message.
        violations: Of the request.
    """
    if size > limits.max_response_bytes:
        violations.add(name, f"the answer could take {size} bytes, more than {limits.max_response_bytes}; {remedy}")


def facts_of(said: Mapping[str, object]) -> list[worker_pb2.Fact]:
    """Return what a PNG says of itself, in order; each key without its "gantry:"."""
    return [worker_pb2.Fact(key=f"gantry:{key}", value=str(value)) for key, value in said.items()]
