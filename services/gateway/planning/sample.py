"""What a SampleRequest means: checked against the model's card, it becomes one work item per image."""

import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_RAW
from services.gateway.errors import InvalidRequestError, Violation
from services.gateway.planning.conditions import (
    Shown,
    Values,
    input_values,
    input_violations,
    label_fault,
    label_id_of,
    seed_facts,
    show,
    value_text,
)
from services.gateway.planning.output import (
    OVERHEAD_BYTES,
    GridPlan,
    Limits,
    byte_violations,
    encoding_violations,
    grid_size,
    grid_violations,
    plan_encoding,
    plan_grid,
    side_violations,
    truncation_violations,
)
from services.gateway.planning.scales import input_list, number_text
from services.worker.inputs import CLASS, takes

_SEEDS = 1 << 64


@dataclass(frozen=True)
class SamplePlan:
    """The work that a request asks for.

    Attributes:
        items: One work item per image, in order.
        images: What is known of each image before it is made: seed, class, codes, attributes, truncation.
        seed: Seed of the first image.
        grid: The grid, where one was asked for; the items then bring raw pixels.
    """

    items: Sequence[worker_pb2.WorkItem]
    images: Sequence[generation_pb2.Image]
    seed: int
    grid: GridPlan | None

    def grid_facts(self) -> list[worker_pb2.Fact]:
        """Say what a grid tells of itself: the seed, what all tiles show in order, the truncation."""
        told = {"gantry:seed": str(self.seed)}
        if self.images[0].label_name:
            told["gantry:labels"] = ",".join(str(image.label_id) for image in self.images)
        for place, code in enumerate(self.images[0].codes):
            told[f"gantry:codes:{code.code}"] = ",".join(value_text(image.codes[place]) for image in self.images)
        for name in self.images[0].attributes:
            numbers = (number_text(image.attributes[name]) for image in self.images)
            told[f"gantry:attributes:{name}"] = ",".join(numbers)
        told["gantry:truncation"] = f"{self.images[0].truncation:g}"
        return [worker_pb2.Fact(key=key, value=value) for key, value in told.items()]


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
        card: The card of the model it names, which makes pictures from latents.
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
    truncation = request.truncation if request.HasField("truncation") else 1.0
    values = input_values(card, request)
    pictures = [
        (image_seed, show(card, image_seed, {**values, **label}))
        for image_seed, label in _seeds_and_labels(request, card, seed)
    ]
    grid = _plan_grid(request, card)
    encoding = plan_encoding(request)
    image_format = IMAGE_FORMAT_RAW if grid else encoding.format
    items = [
        worker_pb2.WorkItem(
            generate=worker_pb2.GenerateWork(seed=image_seed, condition=shown.vector, truncation=truncation),
            format=image_format,
            quality=encoding.quality,
            facts=seed_facts(image_seed, shown, truncation),
        )
        for image_seed, shown in pictures
    ]
    return SamplePlan(items, [_image(image_seed, shown, truncation) for image_seed, shown in pictures], seed, grid)


def image_count(request: generation_pb2.SampleRequest, card: models_pb2.ModelCard) -> int:
    """Return how many images a request asks for in all."""
    if request.each_class:
        return _count_or(request, 1) * len(card.classes)
    return _count_or(request, max(1, len(request.label_ids) + len(request.label_names)))


def _count_or(request: generation_pb2.SampleRequest, default: int) -> int:
    return request.count if request.HasField("count") else default


def _image(seed: int, shown: Shown, truncation: float) -> generation_pb2.Image:
    image = generation_pb2.Image(seed=seed, truncation=truncation, codes=shown.codes, attributes=shown.attributes)
    if shown.label is not None:
        image.label_id, image.label_name = shown.label.id, shown.label.name
    return image


def _violations(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, limits: Limits, *, streamed: bool
) -> Iterator[Violation]:
    yield from _count_violations(request, card, limits)
    yield from _label_violations(request, card)
    yield from input_violations(card, request)
    yield from truncation_violations(request)
    yield from encoding_violations(request)
    if request.HasField("grid") and streamed:
        yield Violation("grid", "not allowed in a stream; use Sample")
    yield from grid_violations(request.grid)


def _count_violations(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[Violation]:
    images = image_count(request, card)
    if request.HasField("count") and request.count == 0:
        yield Violation("count", f"must be 1 to {limits.max_images}, got 0")
    elif images > limits.max_images:
        asked = f"{request.count} for each of {len(card.classes)} classes" if request.each_class else str(images)
        yield Violation("count", f"a request may ask for at most {limits.max_images} images, got {asked}")


def _label_violations(request: generation_pb2.SampleRequest, card: models_pb2.ModelCard) -> Iterator[Violation]:
    given = [field for field in ("label_ids", "label_names", "each_class") if getattr(request, field)]
    for field in given[1:]:
        yield Violation(field, f"give at most one of label_ids, label_names and each_class; {given[0]} is given too")
    if request.each_class and not takes(card, CLASS):
        yield Violation("each_class", f"model {card.name} has no classes; its inputs: {input_list(card)}")
    for field, labels in (("label_ids", request.label_ids), ("label_names", request.label_names)):
        if fault := label_fault(card, labels):
            yield Violation(f"{field}[{fault[0]}]", fault[1])
    count = len(request.label_ids) or len(request.label_names)
    if count > 1 and request.HasField("count") and request.count != count:
        yield Violation("count", f"must be {count}, the number of labels, or absent; or give one label for all")


def _size_violations(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[Violation]:
    """Check the size of the whole answer to a request that is sound otherwise."""
    images, (width, height) = image_count(request, card), (card.image.width, card.image.height)
    pixels = images * width * height
    if grid := _plan_grid(request, card):
        width, height = grid_size(grid, images, card.image)
        pixels = width * height
    yield from side_violations("grid" if grid else "format", width, height, request.format)
    size = pixels * card.image.channels + images * OVERHEAD_BYTES
    yield from byte_violations("count", size, limits, "use SampleStream")


def _seeds_and_labels(
    request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, first_seed: int
) -> Iterator[tuple[int, Values]]:
    """Return each image's seed, and its class where that is not left open."""
    labels = list(request.label_ids) or [label_id_of(card, name) for name in request.label_names]
    count = image_count(request, card)
    for index in range(count):
        seed = (first_seed + index) % _SEEDS
        if request.each_class:
            yield seed, {CLASS: index * len(card.classes) // count}
        elif labels:
            yield seed, {CLASS: labels[index] if len(labels) > 1 else labels[0]}
        else:
            yield seed, {}


def _plan_grid(request: generation_pb2.SampleRequest, card: models_pb2.ModelCard) -> GridPlan | None:
    if not request.HasField("grid"):
        return None
    images = image_count(request, card)
    columns = _count_or(request, 1) if request.each_class else math.isqrt(images - 1) + 1
    return plan_grid(request.grid, images, columns, plan_encoding(request))
