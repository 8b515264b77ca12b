"""The ways through latents and codes, frame by frame: sweeps, interpolations and arithmetic.

What comes here has been checked against the model's card.
"""

import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.gateway.planning.axes import Stop, plan_axis
from services.gateway.planning.conditions import Shown, Values, input_values, label_id_of, show
from services.gateway.planning.sample import seed_facts
from services.worker.inputs import CLASS

DEFAULT_STEPS = 9


@dataclass(frozen=True)
class Step:
    """One frame.

    Attributes:
        work: What makes it.
        coordinates: Where on the walk it stands.
        facts: What its PNG tells.
    """

    work: worker_pb2.GenerateWork
    coordinates: Sequence[generation_pb2.Coordinate]
    facts: Sequence[worker_pb2.Fact]


@dataclass(frozen=True)
class Walk:
    """A path, step by step.

    Attributes:
        seed: Of the walk.
        steps: One per frame.
        facts: What an assembled PNG tells of the whole.
        columns: Columns of a grid unless the caller says otherwise.
    """

    seed: int
    steps: Sequence[Step]
    facts: Sequence[worker_pb2.Fact]
    columns: int


def plan_walk(request: generation_pb2.TraverseRequest, card: models_pb2.ModelCard, truncation: float) -> Walk:
    """Lay out the path that a sound request asks for.

    Args:
        request: What the caller sent.
        card: The card of the model.
        truncation: ψ of all frames.

    Returns:
        The path.
    """
    match request.WhichOneof("path"):
        case "sweep":
            return _walk_sweep(request.sweep, card, truncation)
        case "interpolation":
            return _walk_interpolation(request.interpolation, card, truncation)
        case _:
            return _walk_arithmetic(request.arithmetic, card, truncation)


def steps_of(path: generation_pb2.Interpolation) -> int:
    """Return the number of frames of an interpolation."""
    return path.steps if path.HasField("steps") else DEFAULT_STEPS


def _walk_sweep(sweep: generation_pb2.Sweep, card: models_pb2.ModelCard, truncation: float) -> Walk:
    seed = sweep.seed if sweep.HasField("seed") else secrets.randbits(32)
    values = _given(card, sweep.condition)
    axes = [plan_axis(card, axis) for axis in ([sweep.x, sweep.y] if sweep.HasField("y") else [sweep.x])]
    steps = []
    # The first axis moves fastest.
    for stops in itertools.product(*reversed(axes)):
        shown = show(card, seed, {**values, **{stop.axis: stop.value for stop in stops}})
        work = worker_pb2.GenerateWork(seed=seed, condition=shown.vector, truncation=truncation)
        coordinates = [stop.coordinate() for stop in reversed(stops)]
        steps.append(Step(work, coordinates, seed_facts(seed, shown, truncation)))
    ways = {name: _axis_text(stops) for name, stops in zip("xy", axes, strict=False)}
    held = _without({stops[0].axis for stops in axes}, show(card, seed, values))
    return Walk(seed, steps, [*_facts(seed=seed, **ways, truncation=f"{truncation:g}"), *held.facts()], len(axes[0]))


def _walk_interpolation(path: generation_pb2.Interpolation, card: models_pb2.ModelCard, truncation: float) -> Walk:
    start = show(card, path.from_seed, _given(card, path.from_condition))
    if path.HasField("from_condition") and not path.HasField("to_condition"):
        end = start
    else:
        end = show(card, path.to_seed, _given(card, path.to_condition))
    ends = [
        *_facts(from_seed=path.from_seed, to_seed=path.to_seed, truncation=f"{truncation:g}"),
        *start.facts("from_"),
        *end.facts("to_"),
    ]
    steps = []
    for index in range(steps_of(path)):
        position = index / (steps_of(path) - 1)
        work = worker_pb2.GenerateWork(
            slerp=worker_pb2.Slerp(from_seed=path.from_seed, to_seed=path.to_seed, position=position),
            condition=[(1 - position) * a + position * b for a, b in zip(start.vector, end.vector, strict=True)],
            truncation=truncation,
        )
        stop = Stop("position", position)
        steps.append(Step(work, [stop.coordinate()], [*_facts(position=stop.text()), *ends]))
    return Walk(path.from_seed, steps, ends, len(steps))


def _walk_arithmetic(path: generation_pb2.Arithmetic, card: models_pb2.ModelCard, truncation: float) -> Walk:
    shown = show(card, path.a[0], _given(card, path.condition))
    seeds = {name: ",".join(map(str, term)) for name, term in (("a", path.a), ("b", path.b), ("c", path.c))}
    facts = [*_facts(**seeds, truncation=f"{truncation:g}"), *shown.facts()]
    a, b, c = (worker_pb2.LatentTerm(seeds=term, weight=1.0) for term in (path.a, path.b, path.c))
    minus_b = worker_pb2.LatentTerm(seeds=path.b, weight=-1.0)
    steps = []
    for index, (name, terms) in enumerate({"a": [a], "b": [b], "c": [c], "a - b + c": [a, minus_b, c]}.items()):
        work = worker_pb2.GenerateWork(
            sum=worker_pb2.LatentSum(terms=terms), condition=shown.vector, truncation=truncation
        )
        steps.append(Step(work, [Stop("term", index, name).coordinate()], [*_facts(term=name), *facts]))
    return Walk(path.a[0], steps, facts, len(steps))


def _given(card: models_pb2.ModelCard, condition: generation_pb2.Condition) -> Values:
    """What a sound condition sets."""
    values = input_values(card, condition)
    if label := condition.WhichOneof("label"):
        is_named = label == "label_name"
        values[CLASS] = label_id_of(card, condition.label_name) if is_named else condition.label_id
    return values


def _without(moved: set[str], shown: Shown) -> Shown:
    """What is held while some axes move."""
    label = None if CLASS in moved else shown.label
    attributes = {name: number for name, number in shown.attributes.items() if name not in moved}
    return Shown((), label, [code for code in shown.codes if code.code not in moved], attributes)


def _axis_text(stops: Sequence[Stop]) -> str:
    return f"{stops[0].axis}: {','.join(stop.text() for stop in stops)}"


def _facts(**told: object) -> list[worker_pb2.Fact]:
    return [worker_pb2.Fact(key=f"gantry:{key}", value=str(value)) for key, value in told.items()]
