"""The stops of a sweep's axis: which code or attribute moves, or the class, and through which values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gantry.v1 import generation_pb2, models_pb2
from services.gateway.errors import Violation
from services.gateway.planning.conditions import allowed_values, axis_list, find_input, number_text
from services.worker.inputs import CLASS, takes

DEFAULT_STOPS = 9


@dataclass(frozen=True)
class Stop:
    """A place on an axis.

    Attributes:
        axis: The id of a code, the name of an attribute, "class", "position" or "term".
        value: A number, an index, or a share of the way.
        name: What the value is called; empty where it has no name.
    """

    axis: str
    value: float
    name: str = ""

    def coordinate(self) -> generation_pb2.Coordinate:
        """Return it as a frame tells it."""
        return generation_pb2.Coordinate(axis=self.axis, value=self.value, name=self.name)

    def text(self) -> str:
        """Write its value with the fewest digits that give it back."""
        return number_text(self.value)


@dataclass(frozen=True)
class _Scale:
    """What an axis may run through.

    Attributes:
        axis: The id of a code, the name of an attribute, or "class".
        names: Names of the values of a categorical code or of the classes; None of a number.
        low: The least value.
        high: The greatest value.
        allowed: The range in words.
    """

    axis: str
    names: Sequence[str] | None
    low: float
    high: float
    allowed: str

    def holds(self, value: float) -> bool:
        """Whether the value is in range and, unless it is a number's, whole; never true of NaN."""
        return self.low <= value <= self.high and (self.names is None or value.is_integer())

    def stop(self, value: float) -> Stop:
        """Return the stop of a value that it holds."""
        return Stop(self.axis, value, self.names[int(value)] if self.names is not None else "")


def axis_violations(
    card: models_pb2.ModelCard, axis: generation_pb2.Axis, field: str, max_stops: int
) -> Iterator[Violation]:
    """Check an axis against a card.

    Args:
        card: The card of the model.
        axis: What the caller asked for.
        field: Path of the axis in the request.
        max_stops: The most stops.

    Yields:
        What is wrong.
    """
    scale = _scale(card, axis.code)
    if scale is None:
        told = f"model {card.name} has no axis {axis.code[:80]!r}" if axis.code else "required"
        yield Violation(f"{field}.code", f"{told}; its axes: {axis_list(card)}")
        return
    if axis.values and axis.HasField("range"):
        yield Violation(f"{field}.range", "give at most one of values and range; values is given too")
    elif axis.HasField("range"):
        yield from _range_violations(scale, axis.range, f"{field}.range", max_stops)
    elif len(axis.values) > max_stops:
        yield Violation(f"{field}.values", f"must be at most {max_stops} stops, got {len(axis.values)}")
    else:
        bad = next(((place, value) for place, value in enumerate(axis.values) if not scale.holds(value)), None)
        if bad:
            told = f"must be {scale.allowed}, got {number_text(bad[1])}"
            yield Violation(f"{field}.values[{bad[0]}]", told)


def plan_axis(card: models_pb2.ModelCard, axis: generation_pb2.Axis) -> list[Stop]:
    """List the stops of an axis without faults, in order; at least one.

    Args:
        card: The card of the model.
        axis: What the caller asked for.

    Raises:
        ValueError: The axis names nothing that the model has.
    """
    scale = _scale(card, axis.code)
    if scale is None:
        raise ValueError(f"no axis {axis.code!r}")
    if axis.values:
        values = list(axis.values)
    elif scale.names is not None:
        values = [float(index) for index in range(len(scale.names))]
    elif axis.HasField("range"):
        values = _steps(axis.range.start, axis.range.end, axis.range.steps)
    else:
        values = _steps(scale.low, scale.high, DEFAULT_STOPS)
    return [scale.stop(value) for value in values]


def _range_violations(scale: _Scale, given: generation_pb2.Range, field: str, max_stops: int) -> Iterator[Violation]:
    if scale.names is not None:
        told = f"only continuous codes and attributes have a range; give values of {scale.axis}, {scale.allowed}"
        yield Violation(field, told)
        return
    for end in ("start", "end"):
        if not scale.holds(value := getattr(given, end)):
            yield Violation(f"{field}.{end}", f"must be {scale.allowed}, got {number_text(value)}")
    if not 2 <= given.steps <= max_stops:
        yield Violation(f"{field}.steps", f"must be 2 to {max_stops}, got {given.steps}")


def _scale(card: models_pb2.ModelCard, name: str) -> _Scale | None:
    """Find what a name stands for; None where the model has nothing of that name."""
    if name == CLASS and takes(card, CLASS):
        names = [info.name for info in card.classes]
        return _Scale(CLASS, names, 0.0, len(names) - 1.0, f"a whole number, 0 to {len(names) - 1}")
    match found := find_input(card, name):
        case models_pb2.CategoricalCode():
            names = [value.name for value in found.values]
            return _Scale(found.id, names, 0.0, len(names) - 1.0, f"a whole number, {allowed_values(found)}")
        case models_pb2.ContinuousCode():
            return _Scale(found.id, None, found.min, found.max, allowed_values(found))
        case models_pb2.Attribute():
            return _Scale(found.name, None, found.min, found.max, allowed_values(found))
        case _:
            return None


def _steps(start: float, end: float, count: int) -> list[float]:
    """Equal steps, both ends included and met exactly."""
    last = count - 1
    return [(start * (last - index) + end * index) / last for index in range(count)]
