"""Reads a TraverseRequest against the model's card: it becomes one work item per frame, or a refusal."""

from collections.abc import Sequence
from dataclasses import dataclass

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_RAW, IMAGE_FORMAT_WEBP, Animation, Frame, TraverseRequest
from services.gateway.planning.output import (
    ONE_TOO_LARGE,
    OVERHEAD_BYTES,
    Encoding,
    GridPlan,
    Limits,
    check_answer,
    check_sides,
    grid_size,
    read_encoding,
    read_grid,
)
from services.gateway.planning.violations import Violations
from services.gateway.planning.walks import Walk, read_walk

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
        facts: What an assembled PNG says of itself.
    """

    items: Sequence[worker_pb2.WorkItem]
    frames: Sequence[Frame]
    encoding: Encoding
    assembly: GridPlan | AnimationPlan | None
    facts: Sequence[worker_pb2.Fact]


def plan_traverse(request: TraverseRequest, card: models_pb2.ModelCard, limits: Limits) -> TraversePlan:
    """Read a request.

    Args:
        request: What the caller sent.
        card: The card of the model it names, which makes pictures from latents.
        limits: What one request may ask for.

    Returns:
        The work.

    Raises:
        InvalidRequestError: With one violation per field at fault.
    """
    violations = Violations()
    walk = read_walk(request, card, limits, violations)
    encoding = read_encoding(request, violations)
    assembly = _read_assembly(request, walk, encoding, violations)
    violations.raise_if_any()
    _check_size(assembly, len(walk.steps), encoding, card, limits, violations)
    violations.raise_if_any()
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
        Frame(index=index, frames=len(walk.steps), coordinates=step.coordinates, seed=walk.seed)
        for index, step in enumerate(walk.steps)
    ]
    return TraversePlan(items, frames, encoding, assembly, walk.facts)


def _read_assembly(
    request: TraverseRequest, walk: Walk, encoding: Encoding, violations: Violations
) -> GridPlan | AnimationPlan | None:
    match request.WhichOneof("assembly"):
        case "grid":
            return read_grid(request.grid, len(walk.steps), walk.columns, encoding, violations)
        case "animation":
            return _read_animation(request.animation, violations)
        case _:
            return None


def _read_animation(given: Animation, violations: Violations) -> AnimationPlan:
    milliseconds = given.frame_milliseconds if given.HasField("frame_milliseconds") else DEFAULT_FRAME_MILLISECONDS
    if milliseconds not in _MILLISECONDS:
        fault = f"must be {_MILLISECONDS[0]} to {_MILLISECONDS[-1]}, got {milliseconds}"
        violations.add("animation.frame_milliseconds", fault)
    return AnimationPlan(milliseconds, given.back_and_forth)


def _check_size(
    assembly: GridPlan | AnimationPlan | None,
    frames: int,
    encoding: Encoding,
    card: models_pb2.ModelCard,
    limits: Limits,
    violations: Violations,
) -> None:
    """Check the size of what a sound walk is assembled to, or else of a frame."""
    remedy = "ask for fewer frames, or for none assembled"
    match assembly:
        case GridPlan():
            name, image_format = "grid", assembly.encoding.format
            width, height = grid_size(assembly, frames, card.image)
            size = width * height * card.image.channels + OVERHEAD_BYTES
        case AnimationPlan():
            name, image_format = "animation", IMAGE_FORMAT_WEBP
            width, height = card.image.width, card.image.height
            shown = max(2 * frames - 2, 1) if assembly.back_and_forth else frames
            # WEBP has no grey.
            size = shown * (width * height * 3 + OVERHEAD_BYTES)
        case _:
            name, image_format = "format", encoding.format
            width, height = card.image.width, card.image.height
            size, remedy = width * height * card.image.channels + OVERHEAD_BYTES, ONE_TOO_LARGE
    check_sides(name, width, height, image_format, violations)
    check_answer(name, size, limits, remedy, violations)
