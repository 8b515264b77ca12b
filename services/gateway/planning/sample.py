"""Reads a SampleRequest against the model's card: it becomes one work item per image, or a refusal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_RAW, Image, SampleRequest
from services.gateway.planning.conditions import (
    CompleteCondition,
    Values,
    complete,
    read_inputs,
    read_labels,
    read_seed,
    seed_facts,
    value_text,
)
from services.gateway.planning.output import (
    ONE_TOO_LARGE,
    OVERHEAD_BYTES,
    Encoding,
    GridPlan,
    Limits,
    check_answer,
    check_sides,
    facts_of,
    grid_size,
    read_encoding,
    read_grid,
    read_truncation,
)
from services.gateway.planning.scales import input_list, number_text
from services.gateway.planning.violations import Violations
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
    images: Sequence[Image]
    seed: int
    grid: GridPlan | None

    def grid_facts(self) -> list[worker_pb2.Fact]:
        """Return what a grid says of itself: the seed, what all tiles show in order, the truncation."""
        first = self.images[0]
        said: dict[str, object] = {"seed": self.seed}
        if first.label_name:
            said["labels"] = ",".join(str(image.label_id) for image in self.images)
        for place, code in enumerate(first.codes):
            said[f"codes:{code.code}"] = ",".join(value_text(image.codes[place]) for image in self.images)
        for name in first.attributes:
            said[f"attributes:{name}"] = ",".join(number_text(image.attributes[name]) for image in self.images)
        return facts_of({**said, "truncation": f"{first.truncation:g}"})


def plan_sample(
    request: SampleRequest, card: models_pb2.ModelCard, limits: Limits, *, streamed: bool = False
) -> SamplePlan:
    """Read a request.

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
    violations = Violations("sample." if streamed else "")
    count = _read_count(request, card, limits, violations)
    labels = _read_labels(request, card, count, limits, violations)
    values = read_inputs(card, request, violations)
    truncation = read_truncation(request, violations)
    encoding = read_encoding(request, violations)
    if streamed and request.HasField("grid"):
        violations.add("grid", "not allowed in a stream; use Sample")
    grid = _read_grid(request, count, len(labels), encoding, violations)
    violations.raise_if_any()
    remedy = ONE_TOO_LARGE if streamed else "use SampleStream"
    _check_size(1 if streamed else len(labels), grid, encoding, card, limits, remedy, violations)
    violations.raise_if_any()
    seed = read_seed(request)
    made = replace(encoding, format=IMAGE_FORMAT_RAW) if grid else encoding
    items, images = [], []
    for index, label in enumerate(labels):
        image_seed = (seed + index) % _SEEDS
        shown = complete(card, image_seed, {**values, **label})
        items.append(_item(image_seed, shown, truncation, made))
        images.append(_image(image_seed, shown, truncation))
    return SamplePlan(items, images, seed, grid)


def _read_count(request: SampleRequest, card: models_pb2.ModelCard, limits: Limits, violations: Violations) -> int:
    """Read the number of images, of every class with each_class; 1 where it is wrong."""
    labels = len(request.label_ids) + len(request.label_names)
    default = 1 if request.each_class else max(1, labels)
    count = request.count if request.HasField("count") else default
    images = count * len(card.classes) if request.each_class else count
    if count < 1:
        violations.add("count", f"must be 1 to {limits.max_images}, got {count}")
    elif images > limits.max_images:
        given = f"{request.count} for each of {len(card.classes)} classes" if request.each_class else str(images)
        violations.add("count", f"a request may ask for at most {limits.max_images} images, got {given}")
    else:
        return count
    return 1


def _read_labels(
    request: SampleRequest, card: models_pb2.ModelCard, count: int, limits: Limits, violations: Violations
) -> Sequence[Values]:
    """Read the class of every image; none where it is drawn from the image's seed."""
    given = [name for name in ("label_ids", "label_names", "each_class") if getattr(request, name)]
    for name in given[1:]:
        violations.add(name, f"give at most one of label_ids, label_names and each_class; {given[0]} is given too")
    if request.each_class and not takes(card, CLASS):
        violations.add("each_class", f"model {card.name} has no classes; its inputs: {input_list(card)}")
    size = len(request.label_ids) or len(request.label_names)
    if size > 1 and request.HasField("count") and request.count != size:
        violations.add("count", f"must be {size}, the number of labels, or absent; or give one label for all")
    if max(len(request.label_ids), len(request.label_names)) > limits.max_images:
        return [{}]  # Refused already, and millions of labels take seconds and gigabytes to read.
    labels: list[int] = []
    for name in (name for name in given if name != "each_class"):
        fields = ((f"{name}[{place}]", label) for place, label in enumerate(getattr(request, name)))
        labels += read_labels(card, fields, violations)
    if request.each_class:
        return [{CLASS: info.id} for info in card.classes for _ in range(count)]
    values: list[Values] = [{CLASS: label} for label in labels]
    return values if size > 1 else (values or [{}]) * count


def _read_grid(
    request: SampleRequest, count: int, tiles: int, encoding: Encoding, violations: Violations
) -> GridPlan | None:
    if not request.HasField("grid"):
        return None
    columns = count if request.each_class else math.ceil(math.sqrt(tiles))
    return read_grid(request.grid, tiles, columns, encoding, violations)


def _check_size(
    images: int,
    grid: GridPlan | None,
    encoding: Encoding,
    card: models_pb2.ModelCard,
    limits: Limits,
    remedy: str,
    violations: Violations,
) -> None:
    """Check the size of the answer, or of one of a stream, to a request that is sound otherwise."""
    name, width, height, pictures = "format", card.image.width, card.image.height, images
    if grid:
        name, (width, height), pictures = "grid", grid_size(grid, images, card.image), 1
    check_sides(name, width, height, encoding.format, violations)
    size = pictures * width * height * card.image.channels + images * OVERHEAD_BYTES
    check_answer("count", size, limits, remedy, violations)


def _item(seed: int, shown: CompleteCondition, truncation: float, encoding: Encoding) -> worker_pb2.WorkItem:
    return worker_pb2.WorkItem(
        generate=worker_pb2.GenerateWork(seed=seed, condition=shown.vector, truncation=truncation),
        format=encoding.format,
        quality=encoding.quality,
        facts=seed_facts(seed, shown, truncation),
    )


def _image(seed: int, shown: CompleteCondition, truncation: float) -> Image:
    image = Image(seed=seed, truncation=truncation, codes=shown.codes, attributes=shown.attributes)
    if shown.label is not None:
        image.label_id, image.label_name = shown.label.id, shown.label.name
    return image
