"""Reads the path of a walk and lays it out frame by frame: sweeps, interpolations and arithmetic."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import Arithmetic, Coordinate, Interpolation, Sweep, TraverseRequest
from services.gateway.planning.axes import read_axis
from services.gateway.planning.conditions import (
    CompleteCondition,
    Values,
    complete,
    field_of,
    read_condition,
    read_seed,
    seed_facts,
)
from services.gateway.planning.output import Limits, facts_of, read_truncation
from services.gateway.planning.scales import number_text
from services.gateway.planning.violations import Violations
from services.worker.inputs import CLASS

DEFAULT_STEPS = 9


@dataclass(frozen=True)
class Step:
    """One frame.

    Attributes:
        work: What makes it.
        coordinates: Where on the walk it stands.
        facts: What its PNG says.
    """

    work: worker_pb2.GenerateWork
    coordinates: Sequence[Coordinate]
    facts: Sequence[worker_pb2.Fact]


@dataclass(frozen=True)
class Walk:
    """A path, step by step.

    Attributes:
        seed: Of the walk.
        steps: One per frame.
        facts: What an assembled PNG says of the whole.
        columns: Columns of a grid unless the caller says otherwise.
    """

    seed: int
    steps: Sequence[Step]
    facts: Sequence[worker_pb2.Fact]
    columns: int


# Makes the walk of a sound path, given ψ.
_LayOut = Callable[[float], Walk]


def read_walk(request: TraverseRequest, card: models_pb2.ModelCard, limits: Limits, violations: Violations) -> Walk:
    """Read the path and the truncation of a request.

    Args:
        request: What the caller sent.
        card: The card of the model.
        limits: What one request may ask for.
        violations: Of the request, without any yet.

    Returns:
        The walk; without steps where anything is wrong.
    """
    lay_out = _read_path(request, card, limits, violations)
    truncation = read_truncation(request, violations)
    return Walk(0, (), (), 1) if lay_out is None or violations.found else lay_out(truncation)


def _read_path(
    request: TraverseRequest, card: models_pb2.ModelCard, limits: Limits, violations: Violations
) -> _LayOut | None:
    match request.WhichOneof("path"):
        case "sweep":
            return _read_sweep(request.sweep, card, limits, violations)
        case "interpolation":
            return _read_interpolation(request.interpolation, card, limits, violations)
        case "arithmetic":
            return _read_arithmetic(request.arithmetic, card, limits, violations)
        case _:
            violations.add("path", "required: sweep, interpolation or arithmetic")
            return None


def _read_sweep(sweep: Sweep, card: models_pb2.ModelCard, limits: Limits, violations: Violations) -> _LayOut | None:
    given = {"sweep.x": sweep.x} | ({"sweep.y": sweep.y} if sweep.HasField("y") else {})
    axes = [read_axis(card, axis, limits.max_images, violations.under(name)) for name, axis in given.items()]
    held = read_condition(card, sweep.condition, violations.under("sweep.condition"))
    if violations.found:
        return None
    moving = [stops[0].axis for stops in axes]
    if moving[1:] == moving[:1]:
        violations.add("sweep.y.code", f"{moving[0]} moves along x already")
    _check_frames("sweep", math.prod(map(len, axes)), limits, violations)
    for name in moving:
        if name in held:
            violations.add(f"sweep.condition.{field_of(card, sweep.condition, name)}", f"{name} is what moves")
    return partial(_lay_out_sweep, card, read_seed(sweep), held, axes)


def _lay_out_sweep(
    card: models_pb2.ModelCard, seed: int, values: Values, axes: Sequence[Sequence[Coordinate]], truncation: float
) -> Walk:
    steps = []
    # The first axis moves fastest.
    for stops in itertools.product(*reversed(axes)):
        shown = complete(card, seed, {**values, **{stop.axis: stop.value for stop in stops}})
        work = worker_pb2.GenerateWork(seed=seed, condition=shown.vector, truncation=truncation)
        steps.append(Step(work, stops[::-1], seed_facts(seed, shown, truncation)))
    ways = {name: _axis_text(stops) for name, stops in zip("xy", axes, strict=False)}
    held = _without({stops[0].axis for stops in axes}, complete(card, seed, values))
    facts = facts_of({"seed": seed, **ways, "truncation": f"{truncation:g}"})
    return Walk(seed, steps, [*facts, *held.facts()], len(axes[0]))


def _read_interpolation(
    path: Interpolation, card: models_pb2.ModelCard, limits: Limits, violations: Violations
) -> _LayOut:
    here = violations.under("interpolation")
    for name in ("from_seed", "to_seed"):
        if not path.HasField(name):
            here.add(name, "required")
    start = complete(card, path.from_seed, read_condition(card, path.from_condition, here.under("from_condition")))
    end = complete(card, path.to_seed, read_condition(card, path.to_condition, here.under("to_condition")))
    if path.HasField("from_condition") and not path.HasField("to_condition"):
        end = start
    steps = path.steps if path.HasField("steps") else DEFAULT_STEPS
    if steps < 2:
        here.add("steps", f"must be 2 to {limits.max_images}, got {steps}")
    _check_frames("interpolation.steps", steps, limits, violations)
    return partial(_lay_out_interpolation, path, start, end, steps)


def _lay_out_interpolation(
    path: Interpolation, start: CompleteCondition, end: CompleteCondition, frames: int, truncation: float
) -> Walk:
    ends = [
        *facts_of({"from_seed": path.from_seed, "to_seed": path.to_seed, "truncation": f"{truncation:g}"}),
        *start.facts("from_"),
        *end.facts("to_"),
    ]
    steps = []
    for index in range(frames):
        position = index / (frames - 1)
        work = worker_pb2.GenerateWork(
            slerp=worker_pb2.Slerp(from_seed=path.from_seed, to_seed=path.to_seed, position=position),
            condition=[(1 - position) * a + position * b for a, b in zip(start.vector, end.vector, strict=True)],
            truncation=truncation,
        )
        stop = Coordinate(axis="position", value=position)
        steps.append(Step(work, [stop], [*facts_of({"position": number_text(position)}), *ends]))
    return Walk(path.from_seed, steps, ends, frames)


def _read_arithmetic(path: Arithmetic, card: models_pb2.ModelCard, limits: Limits, violations: Violations) -> _LayOut:
    terms = {"a": path.a, "b": path.b, "c": path.c}
    for name, seeds in terms.items():
        if not 1 <= len(seeds) <= limits.max_images:
            violations.add(f"arithmetic.{name}", f"must be 1 to {limits.max_images} seeds, got {len(seeds)}")
    values = read_condition(card, path.condition, violations.under("arithmetic.condition"))
    _check_frames("arithmetic", 4, limits, violations)
    return partial(_lay_out_arithmetic, card, terms, values)


def _lay_out_arithmetic(
    card: models_pb2.ModelCard, seeds: Mapping[str, Sequence[int]], values: Values, truncation: float
) -> Walk:
    first = seeds["a"][0]
    shown = complete(card, first, values)
    said = {name: ",".join(map(str, term)) for name, term in seeds.items()}
    facts = [*facts_of({**said, "truncation": f"{truncation:g}"}), *shown.facts()]
    a, b, c = (worker_pb2.LatentTerm(seeds=term, weight=1.0) for term in seeds.values())
    minus_b = worker_pb2.LatentTerm(seeds=seeds["b"], weight=-1.0)
    steps = []
    for index, (name, terms) in enumerate({"a": [a], "b": [b], "c": [c], "a - b + c": [a, minus_b, c]}.items()):
        work = worker_pb2.GenerateWork(
            sum=worker_pb2.LatentSum(terms=terms), condition=shown.vector, truncation=truncation
        )
        stop = Coordinate(axis="term", value=index, name=name)
        steps.append(Step(work, [stop], [*facts_of({"term": name}), *facts]))
    return Walk(first, steps, facts, len(steps))


def _check_frames(name: str, frames: int, limits: Limits, violations: Violations) -> None:
    if frames > limits.max_images:
        violations.add(name, f"a walk may have at most {limits.max_images} frames, got {frames}")


def _without(moving: set[str], shown: CompleteCondition) -> CompleteCondition:
    """What is held while some axes move."""
    label = None if CLASS in moving else shown.label
    attributes = {name: number for name, number in shown.attributes.items() if name not in moving}
    return CompleteCondition((), label, [code for code in shown.codes if code.code not in moving], attributes)


def _axis_text(stops: Sequence[Coordinate]) -> str:
    return f"{stops[0].axis}: {','.join(number_text(stop.value) for stop in stops)}"
