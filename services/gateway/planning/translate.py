"""Reads a TranslateRequest against the model's card and the picture's header: it becomes a work item, or a refusal."""

import math
from dataclasses import dataclass
from typing import Any

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import (
    DIRECTION_A_TO_B,
    DIRECTION_B_TO_A,
    Direction,
    TranslateRequest,
    TranslateResponse,
)
from services.gateway.errors import InvalidRequestError, ItemFailedError, Violation
from services.gateway.planning.output import (
    OVERHEAD_BYTES,
    Encoding,
    Limits,
    check_answer,
    check_sides,
    facts_of,
    read_encoding,
)
from services.gateway.planning.violations import Violations
from services.worker.decoding import LEAST_SIDE, ImageError, ImageFacts, ImageTooLargeError, inspect
from services.worker.imaging import LOSSY_FORMATS
from services.worker.inputs import ways_of

# Bytes that noise takes per pixel, the worst there is: measured at most 1.42 in JPEG and 1.12 in WEBP at quality 95.
_LOSSY_BYTES_PER_PIXEL = 1.5
_LOSSY_UP_TO_QUALITY = 95


@dataclass(frozen=True)
class TranslatePlan:
    """The work that a request asks for.

    Attributes:
        item: The work item.
        answer: What is known of the answer before the picture is made: the way it goes.
        answer_bytes: The most bytes that the pictures of the answer can have.
        field: Path of the picture in the request.
    """

    item: worker_pb2.WorkItem
    answer: TranslateResponse
    answer_bytes: int
    field: str


def plan_translate(
    request: TranslateRequest, card: models_pb2.ModelCard, limits: Limits, *, streamed: bool = False
) -> TranslatePlan:
    """Read a request, and the header of its picture, which may take milliseconds.

    Args:
        request: What the caller sent, its picture complete.
        card: The card of the model it names, which translates.
        limits: What one request may ask for.
        streamed: Whether the answer travels in chunks: it may then have any size.

    Returns:
        The work.

    Raises:
        ImageTooLargeError: The picture has too many bytes or pixels.
        InvalidRequestError: With one violation per field at fault.
    """
    violations = Violations("translate." if streamed else "")
    direction = _read_direction(request, card, violations)
    encoding = read_encoding(request, violations)
    if request.cycle and len(ways_of(card)) == 1:
        violations.add("cycle", f"must be false: {_domains(card)}, and not back")
    if request.HasField("max_side") and request.max_side < LEAST_SIDE:
        violations.add("max_side", f"must be at least {LEAST_SIDE}, got {request.max_side}")
    # Each look at the field is a copy of the picture.
    picture = request.image
    if not picture:
        violations.add("image", "required: a JPEG, PNG, WEBP, GIF or BMP file")
    violations.raise_if_any()
    facts = _read_picture(picture, request, encoding, limits, violations, streamed=streamed)
    violations.raise_if_any()
    assert facts
    source, target = card.translation.domain_a, card.translation.domain_b
    if direction == DIRECTION_B_TO_A:
        source, target = target, source
    answer = TranslateResponse(direction=direction, source_domain=source, target_domain=target)
    item = _item(request, answer, encoding, limits, facts)
    item.translate.image = picture
    return TranslatePlan(item, answer, _most_bytes(facts, encoding, request), f"{violations.envelope}image")


def shape_answer(
    plan: TranslatePlan, loaded: models_pb2.LoadedModel, result: worker_pb2.WorkResult, execution: str
) -> TranslateResponse:
    """Turn what a worker made into the answer.

    Args:
        plan: What the request asks for.
        loaded: The model.
        result: What came of it.
        execution: The plan that it was run under.

    Returns:
        The answer.

    Raises:
        InvalidRequestError: The worker found the picture at fault.
        ItemFailedError: The model failed.
    """
    if result.bad_image:
        raise InvalidRequestError(Violation(plan.field, result.bad_image))
    if result.error:
        raise ItemFailedError(f"the picture could not be translated: {result.error}")
    answer = TranslateResponse(
        image=result.image,
        cycled=result.cycled if result.HasField("cycled") else None,
        cycle_l1=result.cycle_l1 if result.HasField("cycle_l1") else None,
        model=loaded.card.name,
        version=loaded.card.version,
        digest=loaded.digest,
        execution=execution,
    )
    answer.MergeFrom(plan.answer)
    return answer


def check_bytes(size: int, limits: Limits) -> None:
    """Refuse a picture of more bytes than are allowed.

    Raises:
        ImageTooLargeError: It has more.
    """
    if size > limits.max_image_bytes:
        raise ImageTooLargeError(f"the picture has more than {limits.max_image_bytes} bytes")


def _read_direction(
    request: TranslateRequest, card: models_pb2.ModelCard, violations: Violations
) -> "Direction.ValueType":
    """Read which way to go; the only one where the caller does not say."""
    ways, domains = ways_of(card), _domains(card)
    direction, said_by = next(iter(ways)), ""
    given = {name: directions for name, directions in _meanings(card.translation).items() if getattr(request, name)}
    for name, directions in given.items():
        meant = directions.get(value := getattr(request, name))
        if meant is None:
            text = repr(value[:80]) if isinstance(value, str) else str(value)
            violations.add(name, f"{text} is not known; {domains}")
        elif meant not in ways:
            violations.add(name, f"not possible; {domains}")
        elif not said_by:
            direction, said_by = meant, name
        elif meant != direction:
            violations.add(name, f"contradicts {said_by}; {domains}")
    if len(ways) > 1 and not given:
        violations.add("direction", f"give direction, source_domain or target_domain; {domains}")
    return direction


def _meanings(spec: models_pb2.TranslationSpec) -> "dict[str, dict[Any, Direction.ValueType]]":
    """Return which way each value means of each field that says one."""
    return {
        "direction": {DIRECTION_A_TO_B: DIRECTION_A_TO_B, DIRECTION_B_TO_A: DIRECTION_B_TO_A},
        "source_domain": {spec.domain_a: DIRECTION_A_TO_B, spec.domain_b: DIRECTION_B_TO_A},
        "target_domain": {spec.domain_a: DIRECTION_B_TO_A, spec.domain_b: DIRECTION_A_TO_B},
    }


def _domains(card: models_pb2.ModelCard) -> str:
    """Say in which way, or both, a model translates."""
    ways = ways_of(card)
    domain_a, domain_b = f"{card.translation.domain_a!r} (A)", f"{card.translation.domain_b!r} (B)"
    if len(ways) > 1:
        way = f"between {domain_a} and {domain_b}"
    elif DIRECTION_A_TO_B in ways:
        way = f"from {domain_a} to {domain_b}"
    else:
        way = f"from {domain_b} to {domain_a}"
    return f"model {card.name} translates {way}"


def _read_picture(
    picture: bytes,
    request: TranslateRequest,
    encoding: Encoding,
    limits: Limits,
    violations: Violations,
    *,
    streamed: bool,
) -> ImageFacts | None:
    """Read the header of the picture of a request that is sound otherwise.

    Raises:
        ImageTooLargeError: It has too many bytes or pixels.
    """
    check_bytes(len(picture), limits)
    try:
        facts = inspect(picture, limits.max_image_pixels)
    except ImageTooLargeError:
        raise
    except ImageError as error:
        violations.add("image", str(error))
        return None
    check_sides("format", facts.width, facts.height, encoding.format, violations)
    if not streamed:
        size = _most_bytes(facts, encoding, request)
        check_answer("image", size, limits, "use TranslateStream", violations)
    return facts


def _most_bytes(facts: ImageFacts, encoding: Encoding, request: TranslateRequest) -> int:
    """The most bytes that the answer to a picture can have."""
    is_lossy = encoding.format in LOSSY_FORMATS and encoding.quality <= _LOSSY_UP_TO_QUALITY
    per_pixel = _LOSSY_BYTES_PER_PIXEL if is_lossy else 3
    size = round(facts.width * facts.height * per_pixel) + OVERHEAD_BYTES
    return size * (2 if request.cycle else 1)


def _item(
    request: TranslateRequest, answer: TranslateResponse, encoding: Encoding, limits: Limits, picture: ImageFacts
) -> worker_pb2.WorkItem:
    """Make the work item, but for the picture itself."""
    facts: dict[str, object] = {"source_domain": answer.source_domain, "target_domain": answer.target_domain}
    if request.HasField("max_side"):
        facts["max_side"] = request.max_side
    work = worker_pb2.TranslateWork(
        direction=answer.direction,
        max_side=request.max_side,
        cycle=request.cycle,
        max_pixels=limits.max_image_pixels,
        pixels=picture.width * picture.height,
        graph_pixels=_graph_pixels(picture, request.max_side),
    )
    return worker_pb2.WorkItem(translate=work, format=encoding.format, quality=encoding.quality, facts=facts_of(facts))


def _graph_pixels(picture: ImageFacts, max_side: int) -> int:
    """Say at how many pixels the graph works; the picture is made smaller where a side is over `max_side`."""
    sides, longer = (picture.width, picture.height), max(picture.width, picture.height)
    if not 0 < max_side < longer:
        return picture.width * picture.height
    return math.prod(max(LEAST_SIDE, round(side * max_side / longer)) for side in sides)
