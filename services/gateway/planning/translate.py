"""What a TranslateRequest means: checked against the model's card and the picture's header, it becomes a work item."""

from collections.abc import Iterator
from dataclasses import dataclass

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from gantry.v1.generation_pb2 import DIRECTION_A_TO_B, DIRECTION_B_TO_A, DIRECTION_UNSPECIFIED, Direction
from services.gateway.errors import InvalidRequestError, ItemFailedError, Violation
from services.gateway.planning.output import (
    OVERHEAD_BYTES,
    Encoding,
    Limits,
    byte_violations,
    encoding_violations,
    plan_encoding,
    side_violations,
)
from services.worker.decoding import LEAST_SIDE, ImageError, ImageFacts, ImageTooLargeError, inspect
from services.worker.imaging import LOSSY_FORMATS
from services.worker.inputs import ways_of

_OPPOSITE = {DIRECTION_A_TO_B: DIRECTION_B_TO_A, DIRECTION_B_TO_A: DIRECTION_A_TO_B}
# Bytes that noise takes per pixel, the worst there is: measured at most 1.42 in JPEG and 1.12 in WEBP at quality 95.
_LOSSY_BYTES_PER_PIXEL = 1.5
_LOSSY_UP_TO_QUALITY = 95


@dataclass(frozen=True)
class TranslatePlan:
    """The work that a request asks for.

    Attributes:
        item: The work item.
        answer: What is known of the answer before the picture is made: the way it goes.
        field: Path of the picture in the request.
    """

    item: worker_pb2.WorkItem
    answer: generation_pb2.TranslateResponse
    field: str


def plan_translate(
    request: generation_pb2.TranslateRequest,
    card: models_pb2.ModelCard,
    limits: Limits,
    *,
    streamed: bool = False,
) -> TranslatePlan:
    """Check a request and turn it into work; reads the header of the picture, which may take milliseconds.

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
    prefix = "translate." if streamed else ""
    violations = list(_violations(request, card))
    if not violations:
        violations = list(_picture_violations(request, limits, streamed=streamed))
    if violations:
        raise InvalidRequestError(*(Violation(prefix + field, description) for field, description in violations))
    direction, encoding = _direction(request, card), plan_encoding(request)
    answer = generation_pb2.TranslateResponse(
        direction=direction,
        source_domain=_source(card, direction),
        target_domain=_source(card, _OPPOSITE[direction]),
    )
    item = worker_pb2.WorkItem(
        translate=worker_pb2.TranslateWork(
            image=request.image,
            direction=direction,
            max_side=request.max_side,
            cycle=request.cycle,
            max_pixels=limits.max_image_pixels,
        ),
        format=encoding.format,
        quality=encoding.quality,
        facts=_facts(request, answer),
    )
    return TranslatePlan(item, answer, f"{prefix}image")


def shape_answer(
    plan: TranslatePlan,
    loaded: models_pb2.LoadedModel,
    result: worker_pb2.WorkResult,
    execution: str,
) -> generation_pb2.TranslateResponse:
    """Turn what a worker made into the answer.

    Args:
        plan: What was asked of it.
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
    answer = generation_pb2.TranslateResponse(
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


def _violations(request: generation_pb2.TranslateRequest, card: models_pb2.ModelCard) -> Iterator[Violation]:
    yield from _direction_violations(request, card)
    yield from encoding_violations(request)
    if request.cycle and len(ways_of(card)) == 1:
        yield Violation("cycle", f"must be false: {_domains(card)}, and not back")
    if request.HasField("max_side") and request.max_side < LEAST_SIDE:
        yield Violation("max_side", f"must be at least {LEAST_SIDE}, got {request.max_side}")
    if not request.image:
        yield Violation("image", "required: a JPEG, PNG, WEBP, GIF or BMP file")


def _direction_violations(request: generation_pb2.TranslateRequest, card: models_pb2.ModelCard) -> Iterator[Violation]:
    ways, domains = ways_of(card), _domains(card)
    first: tuple[str, Direction.ValueType] | None = None
    for field, direction in _directions(request, card):
        if direction is None:
            asked = getattr(request, field)
            told = repr(asked[:80]) if isinstance(asked, str) else str(asked)
            yield Violation(field, f"{told} is not known; {domains}")
        elif direction not in ways:
            yield Violation(field, f"not possible; {domains}")
        elif first is None:
            first = field, direction
        elif direction != first[1]:
            yield Violation(field, f"contradicts {first[0]}; {domains}")
    if len(ways) > 1 and not any((request.direction, request.source_domain, request.target_domain)):
        yield Violation("direction", f"give direction, source_domain or target_domain; {domains}")


def _direction(request: generation_pb2.TranslateRequest, card: models_pb2.ModelCard) -> "Direction.ValueType":
    """Return the way that a sound request wants: that which it gives, or the only one."""
    given = (direction for _, direction in _directions(request, card) if direction)
    return next(given, next(iter(ways_of(card))))


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


def _directions(
    request: generation_pb2.TranslateRequest, card: models_pb2.ModelCard
) -> Iterator[tuple[str, "Direction.ValueType | None"]]:
    """Say which way each of the fields that are given means; None where it means none."""
    out_of = {card.translation.domain_a: DIRECTION_A_TO_B, card.translation.domain_b: DIRECTION_B_TO_A}
    if request.direction != DIRECTION_UNSPECIFIED:
        yield "direction", request.direction if request.direction in _OPPOSITE else None
    if request.source_domain:
        yield "source_domain", out_of.get(request.source_domain)
    if request.target_domain:
        away = out_of.get(request.target_domain)
        yield "target_domain", None if away is None else _OPPOSITE[away]


def _picture_violations(
    request: generation_pb2.TranslateRequest, limits: Limits, *, streamed: bool
) -> Iterator[Violation]:
    """Check the picture of a request that is sound otherwise."""
    check_bytes(len(request.image), limits)
    try:
        facts = inspect(request.image, limits.max_image_pixels)
    except ImageTooLargeError:
        raise
    except ImageError as error:
        yield Violation("image", str(error))
        return
    encoding = plan_encoding(request)
    yield from side_violations("format", facts.width, facts.height, encoding.format)
    if not streamed:
        size = _most_bytes(facts, encoding) * (2 if request.cycle else 1)
        yield from byte_violations("image", size, limits, "use TranslateStream")


def _most_bytes(facts: ImageFacts, encoding: Encoding) -> int:
    """The most bytes that the answer to a picture can have."""
    is_lossy = encoding.format in LOSSY_FORMATS and encoding.quality <= _LOSSY_UP_TO_QUALITY
    per_pixel = _LOSSY_BYTES_PER_PIXEL if is_lossy else 3
    return round(facts.width * facts.height * per_pixel) + OVERHEAD_BYTES


def _source(card: models_pb2.ModelCard, direction: "Direction.ValueType") -> str:
    translation = card.translation
    return translation.domain_a if direction == DIRECTION_A_TO_B else translation.domain_b


def _facts(
    request: generation_pb2.TranslateRequest, answer: generation_pb2.TranslateResponse
) -> Iterator[worker_pb2.Fact]:
    """Say what a PNG tells of how it was translated."""
    yield worker_pb2.Fact(key="gantry:source_domain", value=answer.source_domain)
    yield worker_pb2.Fact(key="gantry:target_domain", value=answer.target_domain)
    if request.HasField("max_side"):
        yield worker_pb2.Fact(key="gantry:max_side", value=str(request.max_side))
