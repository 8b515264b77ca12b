"""Reads the axis of a sweep: the class, code or attribute that moves, and the values it stops at."""

from collections.abc import Sequence

from gantry.v1 import models_pb2
from gantry.v1.generation_pb2 import Axis, Coordinate, Range
from services.gateway.planning.scales import Scale, axis_list, axis_scales, number_text
from services.gateway.planning.violations import Violations

DEFAULT_STOPS = 9


def read_axis(card: models_pb2.ModelCard, axis: Axis, max_stops: int, violations: Violations) -> list[Coordinate]:
    """Read an axis.

    Args:
        card: The card of the model.
        axis: What the caller sent.
        max_stops: The most stops.
        violations: Of the axis.

    Returns:
        Its stops in order, at least one; none where it is wrong.
    """
    scale = axis_scales(card).get(axis.code)
    if scale is None:
        fault = f"model {card.name} has no axis {axis.code[:80]!r}" if axis.code else "required"
        violations.add("code", f"{fault}; its axes: {axis_list(card)}")
        return []
    names = scale.names
    return [
        Coordinate(axis=scale.input, value=value, name=names[int(value)] if names is not None else "")
        for value in _read_values(scale, axis, max_stops, violations)
    ]


def _read_values(scale: Scale, axis: Axis, max_stops: int, violations: Violations) -> Sequence[float]:
    if axis.HasField("range"):
        if not axis.values:
            return _read_range(scale, axis.range, max_stops, violations)
        violations.add("range", "give at most one of values and range; values is given too")
    elif len(axis.values) > max_stops:
        violations.add("values", f"must be at most {max_stops} stops, got {len(axis.values)}")
    elif axis.values:
        for place, value in enumerate(axis.values):
            if value not in scale:
                violations.add(f"values[{place}]", f"must be {_allowed(scale)}, got {number_text(value)}")
                return []
        return axis.values
    elif scale.names is not None:
        return range(len(scale.names))
    else:
        return _steps(scale.low, scale.high, DEFAULT_STOPS)
    return []


def _read_range(scale: Scale, given: Range, max_stops: int, violations: Violations) -> list[float]:
    if scale.names is not None:
        fault = f"only continuous codes and attributes have a range; give values of {scale.input}, {_allowed(scale)}"
        violations.add("range", fault)
        return []
    for end, value in (("start", given.start), ("end", given.end)):
        if value not in scale:
            violations.add(f"range.{end}", f"must be {scale.span}, got {number_text(value)}")
    if 2 <= given.steps <= max_stops:
        return _steps(given.start, given.end, given.steps)
    violations.add("range.steps", f"must be 2 to {max_stops}, got {given.steps}")
    return []


def _allowed(scale: Scale) -> str:
    return scale.span if scale.names is None else f"a whole number, {scale.span}"


def _steps(start: float, end: float, count: int) -> list[float]:
    """Equal steps, both ends included and met exactly."""
    last = count - 1
    return [(start * (last - index) + end * index) / last for index in range(count)]
