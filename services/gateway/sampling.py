"""What a SampleRequest means: checked against the model's card, it becomes one work item per image."""

import itertools
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from gantry.v1.generation_pb2 import (
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_RAW,
    IMAGE_FORMAT_UNSPECIFIED,
    IMAGE_FORMAT_WEBP,
    ImageFormat,
)
from services.gateway.errors import InvalidRequestError, Violation
from services.worker.imaging import FORMATS, LOSSY_FORMATS
from services.worker.latents import draw_label

DEFAULT_QUALITY = 90
DEFAULT_GAP = 2
MAX_GAP = 64
_SEEDS = 1 << 64
# What an encoded picture may take beyond its raw pixels: headers, text chunks, and the message around it.
_OVERHEAD_BYTES = 2048
# The most pixels of a side that a format can hold.
_MAX_SIDES = {IMAGE_FORMAT_JPEG: 65500, IMAGE_FORMAT_WEBP: 16383}
_CLASS_LIST_LENGTH = 400


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_images: The most images.
        max_response_bytes: The most bytes of one answer.
    """

    max_images: int
    max_response_bytes: int


@dataclass(frozen=True)
class GridPlan:
    """How to lay the images out as one.

    Attributes:
        columns: Tiles per row.
        gap: Pixels between tiles.
        format: How to encode the grid.
        quality: 1 to 100, for the lossy formats.
    """

    columns: int
    gap: int
    format: "ImageFormat.ValueType"
    quality: int


@dataclass(frozen=True)
class SamplePlan:
    """The work that a request asks for.

    Attributes:
        items: One work item per image, in order.
        seed: Seed of the first image.
        grid: The grid, where one was asked for; the items then bring raw pixels.
    """

    items: list[worker_pb2.WorkItem]
    seed: int
    grid: GridPlan | None


def plan_sample(
    request: generation_pb2.SampleRequest,
    card: models_pb2.ModelCard,
    limits: Limits,
    *,
    streamed: bool = False,
) -> SamplePlan:
    """Check a request and turn it into work.

    Args:
        request: What the caller sent.
        card: The card of the model it names.
        limits: What one request may ask for.
        streamed: Whether images are sent one by one: no grid then, and no limit on the whole answer.

    Returns:
        The work.

    Raises:
        InvalidRequestError: With one violation per field at fault.
    """
    prefix = "sample." if streamed else ""
    violations = list(_violations(request, card, limits, streamed=streamed))
    if not violations and not streamed:
        violations = list(_size_violations(request, card, limits))
    if violations:
        raise InvalidRequestError(*(Violation(prefix + field, description) for field, description in violations))
    seed = request.seed if request.HasField("seed") else secrets.randbits(32)
    image_format = request.format or IMAGE_FORMAT_PNG
    quality = request.quality if request.HasField("quality") else DEFAULT_QUALITY
    grid = _plan_grid(request, card, image_format, quality)
    items = [
        worker_pb2.WorkItem(
            seed=image_seed,
            label=label,
            truncation=request.truncation if request.HasField("truncation") else 1.0,
            format=IMAGE_FORMAT_RAW if grid else image_format,
            quality=quality,
        )
        for image_seed, label in _seeds_and_labels(request, card, seed)
    ]
    return SamplePlan(items, seed, grid)


def image_count(request: generation_pb2.SampleRequest, card: models_pb2.ModelCard) -> int:
    """Return how many images a request asks for in all."""
    if request.each_class:
        return _count_or(request, 1) * len(card.classes)
    return _count_or(request, max(1, len(request.label_ids) + len(request.label_names)))


def _count_or(request: generation_pb2.SampleRequest, default: int) -> int:
    return request.count if request.HasField("count") else default


def _violations(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, limits: Limits, *, streamed: bool
) -> Iterator[tuple[str, str]]:
    yield from _count_violations(request, card, limits)
    yield from _label_violations(request, card)
    if not 0.0 <= request.truncation <= 1.0:
        yield "truncation", f"must be 0 to 1, got {request.truncation:g}"
    yield from _format_violations(request)
    yield from _grid_violations(request, streamed=streamed)


def _count_violations(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[tuple[str, str]]:
    images = image_count(request, card)
    if request.HasField("count") and request.count == 0:
        yield "count", f"must be 1 to {limits.max_images}, got 0"
    elif images > limits.max_images:
        asked = f"{request.count} for each of {len(card.classes)} classes" if request.each_class else str(images)
        yield "count", f"a request may ask for at most {limits.max_images} images, got {asked}"


def _label_violations(request: generation_pb2.SampleRequest, card: models_pb2.ModelCard) -> Iterator[tuple[str, str]]:
    given = [field for field in ("label_ids", "label_names", "each_class") if getattr(request, field)]
    for field in given[1:]:
        yield field, f"give at most one of label_ids, label_names and each_class; {given[0]} is given too"
    # The first unknown class of a list stands for all: statuses travel in headers, which hold a few kilobytes.
    names = {known.name for known in card.classes}
    unknown_ids = ((index, str(label)) for index, label in enumerate(request.label_ids) if label >= len(names))
    unknown_names = ((index, repr(name[:80])) for index, name in enumerate(request.label_names) if name not in names)
    for field, unknown in (("label_ids", unknown_ids), ("label_names", unknown_names)):
        for index, label in itertools.islice(unknown, 1):
            yield f"{field}[{index}]", f"model {card.name} has no class {label}; its classes: {_class_list(card)}"
    labels = len(request.label_ids) or len(request.label_names)
    if labels > 1 and request.HasField("count") and request.count != labels:
        yield "count", f"must be {labels}, the number of labels, or absent; or give one label for all"


def _class_list(card: models_pb2.ModelCard) -> str:
    known = ", ".join(f"{known.id} {known.name!r}" for known in card.classes)
    return known if len(known) <= _CLASS_LIST_LENGTH else f"{known[:_CLASS_LIST_LENGTH]}… ({len(card.classes)} in all)"


def _format_violations(request: generation_pb2.SampleRequest) -> Iterator[tuple[str, str]]:
    if request.format not in FORMATS | {IMAGE_FORMAT_UNSPECIFIED}:
        allowed = ", ".join(ImageFormat.Name(known).removeprefix("IMAGE_FORMAT_") for known in sorted(FORMATS))
        yield "format", f"{request.format} is not supported; allowed: {allowed}"
    if not request.HasField("quality"):
        return
    if request.format not in LOSSY_FORMATS:
        yield "quality", "only JPEG and WEBP have a quality"
    elif not 1 <= request.quality <= 100:
        yield "quality", f"must be 1 to 100, got {request.quality}"


def _grid_violations(request: generation_pb2.SampleRequest, *, streamed: bool) -> Iterator[tuple[str, str]]:
    if not request.HasField("grid"):
        return
    if streamed:
        yield "grid", "not allowed in a stream; use Sample"
    if request.grid.HasField("columns") and request.grid.columns == 0:
        yield "grid.columns", "must be at least 1, got 0"
    if request.grid.gap > MAX_GAP:
        yield "grid.gap", f"must be 0 to {MAX_GAP}, got {request.grid.gap}"


def _size_violations(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[tuple[str, str]]:
    """Check the size of the whole answer to a request that is sound otherwise."""
    images, width, height = image_count(request, card), card.image.width, card.image.height
    pixels = images * width * height
    if grid := _plan_grid(request, card, request.format, quality=0):
        width = grid.columns * (width + grid.gap) - grid.gap
        height = math.ceil(images / grid.columns) * (height + grid.gap) - grid.gap
        pixels = width * height
    most = _MAX_SIDES.get(request.format, math.inf)
    if max(width, height) > most:
        field = "grid" if grid else "format"
        yield field, f"{width}×{height} pixels are more than the format holds; at most {most} a side"
    size = pixels * card.image.channels + images * _OVERHEAD_BYTES
    if size > limits.max_response_bytes:
        yield "count", f"the answer could take {size} bytes, more than {limits.max_response_bytes}; use SampleStream"


def _seeds_and_labels(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, first_seed: int
) -> Iterator[tuple[int, int]]:
    ids = {known.name: known.id for known in card.classes}
    labels = list(request.label_ids) or [ids[name] for name in request.label_names]
    count = image_count(request, card)
    for index in range(count):
        seed = (first_seed + index) % _SEEDS
        if request.each_class:
            yield seed, index * len(card.classes) // count
        elif labels:
            yield seed, labels[index] if len(labels) > 1 else labels[0]
        else:
            yield seed, draw_label(seed, len(card.classes))


def _plan_grid(
    request: generation_pb2.SampleRequest,
    card: models_pb2.ModelCard,
    image_format: "ImageFormat.ValueType",
    quality: int,
) -> GridPlan | None:
    if not request.HasField("grid"):
        return None
    images = image_count(request, card)
    natural = _count_or(request, 1) if request.each_class else math.isqrt(images - 1) + 1
    columns = request.grid.columns if request.grid.HasField("columns") else natural
    gap = request.grid.gap if request.grid.HasField("gap") else DEFAULT_GAP
    return GridPlan(min(columns, images), gap, image_format, quality)
