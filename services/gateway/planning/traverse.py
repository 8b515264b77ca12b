"""What a TraverseRequest means: checked against the model's card, it becomes one work item per frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_RAW, IMAGE_FORMAT_WEBP
from services.gateway.errors import InvalidRequestError, Violation
from services.gateway.planning.axes import axis_violations, plan_axis
from services.gateway.planning.conditions import attribute_path, find_code, input_violations, label_fault
from services.gateway.planning.output import (
    OVERHEAD_BYTES,
    Encoding,
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
from services.gateway.planning.walks import Walk, plan_walk, steps_of
from services.worker.inputs import CLASS

DEFAULT_FRAME_MILLISECONDS = 100
_MILLISECONDS = range(10, 10_001)


@dataclass(frozen=True)
class AnimationPlan:
    """How to lay frames out in time.

    Attributes:
        frame_milliseconds: How long each stands.
        back_and_forth: Whether to go back to the first frame the way it came.
    """

    frame_milliseconds: int
    back_and_forth: bool


@dataclass(frozen=True)
class TraversePlan:
    """The work that a walk asks for.

    Attributes:
        items: One work item per frame, in order; they bring raw pixels where the frames are to be assembled.
        frames: What is known of each frame before it is made: index, number of frames, coordinates, seed.
        encoding: How the frames are encoded.
        assembly: How to assemble them, where that was asked for.
        facts: What an assembled PNG tells of itself.
    """

    items: Sequence[worker_pb2.WorkItem]
    frames: Sequence[generation_pb2.Frame]
    encoding: Encoding
    assembly: GridPlan | AnimationPlan | None
    facts: Sequence[worker_pb2.Fact]


def plan_traverse(request: generation_pb2.TraverseRequest, card: models_pb2.ModelCard, limits: Limits) -> TraversePlan:
    """Check a request and turn it into work.

    Args:
        request: What the caller sent.
        card: The card of the model it names, which makes pictures from latents.
        limits: What one request may ask for.

    Returns:
        The work.

    Raises:
        InvalidRequestError: With one violation per field at fault.
    """
    if violations := list(_violations(request, card, limits)):
        raise InvalidRequestError(*violations)
    truncation = request.truncation if request.HasField("truncation") else 1.0
    walk = plan_walk(request, card, truncation)
    encoding = plan_encoding(request)
    assembly = _plan_assembly(request, walk, encoding)
    if violations := list(_size_violations(assembly, len(walk.steps), card, limits)):
        raise InvalidRequestError(*violations)
    items = [
        worker_pb2.WorkItem(
            generate=step.work,
            format=IMAGE_FORMAT_RAW if assembly else encoding.format,
            quality=encoding.quality,
            facts=step.facts,
        )
        for step in walk.steps
    ]
    frames = [
        generation_pb2.Frame(index=index, frames=len(walk.steps), coordinates=step.coordinates, seed=walk.seed)
        for index, step in enumerate(walk.steps)
    ]
    return TraversePlan(items, frames, encoding, assembly, walk.facts)


def _violations(
    request: generation_pb2.TraverseRequest, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[Violation]:
    match request.WhichOneof("path"):
        case "sweep":
            yield from _sweep_violations(request.sweep, card, limits)
        case "interpolation":
            yield from _interpolation_violations(request.interpolation, card, limits)
        case "arithmetic":
            yield from _arithmetic_violations(request.arithmetic, card, limits)
        case _:
            yield Violation("path", "required: sweep, interpolation or arithmetic")
    yield from truncation_violations(request)
    yield from encoding_violations(request)
    yield from grid_violations(request.grid)
    animation = request.animation
    if animation.HasField("frame_milliseconds") and animation.frame_milliseconds not in _MILLISECONDS:
        told = f"must be {_MILLISECONDS[0]} to {_MILLISECONDS[-1]}, got {animation.frame_milliseconds}"
        yield Violation("animation.frame_milliseconds", told)


def _sweep_violations(sweep: generation_pb2.Sweep, card: models_pb2.ModelCard, limits: Limits) -> Iterator[Violation]:
    axes = {"sweep.x": sweep.x} | ({"sweep.y": sweep.y} if sweep.HasField("y") else {})
    faults = [fault for field, axis in axes.items() for fault in axis_violations(card, axis, field, limits.max_images)]
    faults += _condition_violations(card, sweep.condition, "sweep.condition")
    yield from faults
    if faults:
        return
    x, *y = (plan_axis(card, axis) for axis in axes.values())
    if y and y[0][0].axis == x[0].axis:
        yield Violation("sweep.y.code", f"{x[0].axis} moves along x already")
    frames = len(x) * (len(y[0]) if y else 1)
    yield from _frame_violations("sweep", frames, limits)
    held = _held_fields(card, sweep.condition)
    for stops in (x, *y):
        if stops[0].axis in held:
            yield Violation(f"sweep.condition.{held[stops[0].axis]}", f"{stops[0].axis} is what moves")


def _interpolation_violations(
    path: generation_pb2.Interpolation, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[Violation]:
    for field in ("from_seed", "to_seed"):
        if not path.HasField(field):
            yield Violation(f"interpolation.{field}", "required")
    yield from _condition_violations(card, path.from_condition, "interpolation.from_condition")
    yield from _condition_violations(card, path.to_condition, "interpolation.to_condition")
    if path.HasField("steps") and path.steps < 2:
        yield Violation("interpolation.steps", f"must be 2 to {limits.max_images}, got {path.steps}")
    else:
        yield from _frame_violations("interpolation.steps", steps_of(path), limits)


def _arithmetic_violations(
    path: generation_pb2.Arithmetic, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[Violation]:
    for field, seeds in (("a", path.a), ("b", path.b), ("c", path.c)):
        if not 1 <= len(seeds) <= limits.max_images:
            yield Violation(f"arithmetic.{field}", f"must be 1 to {limits.max_images} seeds, got {len(seeds)}")
    yield from _condition_violations(card, path.condition, "arithmetic.condition")
    yield from _frame_violations("arithmetic", 4, limits)


def _frame_violations(field: str, frames: int, limits: Limits) -> Iterator[Violation]:
    if frames > limits.max_images:
        yield Violation(field, f"a walk may have at most {limits.max_images} frames, got {frames}")


def _size_violations(
    assembly: GridPlan | AnimationPlan | None, frames: int, card: models_pb2.ModelCard, limits: Limits
) -> Iterator[Violation]:
    """Check the size of what a walk that is sound otherwise is assembled to."""
    width, height, remedy = card.image.width, card.image.height, "ask for fewer frames, or for none assembled"
    match assembly:
        case GridPlan():
            width, height = grid_size(assembly, frames, card.image)
            yield from side_violations("grid", width, height, assembly.encoding.format)
            size = width * height * card.image.channels + OVERHEAD_BYTES
            yield from byte_violations("grid", size, limits, remedy)
        case AnimationPlan():
            yield from side_violations("animation", width, height, IMAGE_FORMAT_WEBP)
            shown = 2 * frames - 2 if assembly.back_and_forth else frames
            # WEBP has no grey.
            size = max(shown, 1) * (width * height * 3 + OVERHEAD_BYTES)
            yield from byte_violations("animation", size, limits, remedy)


def _condition_violations(
    card: models_pb2.ModelCard, condition: generation_pb2.Condition, field: str
) -> Iterator[Violation]:
    """Check a condition that a caller gave; `field` is its path in the request."""
    if (label := condition.WhichOneof("label")) and (fault := label_fault(card, [getattr(condition, label)])):
        yield Violation(f"{field}.{label}", fault[1])
    yield from input_violations(card, condition, f"{field}.")


def _held_fields(card: models_pb2.ModelCard, condition: generation_pb2.Condition) -> dict[str, str]:
    """Which field of a sound condition holds what: axis → path within the condition."""
    held = {name: attribute_path(name) for name in condition.attributes}
    if label := condition.WhichOneof("label"):
        held[CLASS] = str(label)
    for place, given in enumerate(condition.codes):
        if code := find_code(card, given.code):
            held[code.id] = f"codes[{place}].code"
    return held


def _plan_assembly(
    request: generation_pb2.TraverseRequest, walk: Walk, encoding: Encoding
) -> GridPlan | AnimationPlan | None:
    match request.WhichOneof("assembly"):
        case "grid":
            return plan_grid(request.grid, len(walk.steps), walk.columns, encoding)
        case "animation":
            told = request.animation
            milliseconds = told.frame_milliseconds if told.HasField("frame_milliseconds") else None
            return AnimationPlan(milliseconds or DEFAULT_FRAME_MILLISECONDS, told.back_and_forth)
        case _:
            return None
