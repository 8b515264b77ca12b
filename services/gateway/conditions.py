"""What a picture is to show: classes and codes as a caller names them, turned into what the graph takes.

One place for Sample and Traverse. What a caller leaves open is drawn from the picture's seed.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.gateway.errors import Violation
from services.worker.latents import draw_category, draw_label, draw_number

Code = models_pb2.CategoricalCode | models_pb2.ContinuousCode
# Values of codes by id: the index of a categorical one, the number of a continuous one.
CodeValues = Mapping[str, int | float]

_LIST_LENGTH = 400


@dataclass(frozen=True)
class Shown:
    """What one picture shows, complete.

    Attributes:
        vector: What the graph takes beside the latent: one-hot class, or one-hot categorical codes and then the
            continuous ones.
        label: The class; None where the model has none.
        codes: Every code in the order of the card, by id, with index or number.
    """

    vector: Sequence[float]
    label: models_pb2.ClassInfo | None
    codes: Sequence[generation_pb2.CodeValue]

    def facts(self, prefix: str = "") -> list[worker_pb2.Fact]:
        """Say what a PNG tells of it.

        Args:
            prefix: Set before each key's last words, for example "from_".

        Returns:
            `gantry:label_id` and `gantry:label_name`, or `gantry:code:<id>` for every code.
        """
        facts = []
        if self.label is not None:
            facts.append(worker_pb2.Fact(key=f"gantry:{prefix}label_id", value=str(self.label.id)))
            facts.append(worker_pb2.Fact(key=f"gantry:{prefix}label_name", value=self.label.name))
        facts += [
            worker_pb2.Fact(key=f"gantry:{prefix}code:{code.code}", value=value_text(code)) for code in self.codes
        ]
        return facts


def show(card: models_pb2.ModelCard, seed: int, label_id: int | None, values: CodeValues) -> Shown:
    """Complete a condition.

    Args:
        card: The card of the model.
        seed: What is left open is drawn from it.
        label_id: The class, for models with classes; None to draw it.
        values: Codes by id, for models with codes; those that are missing are drawn.

    Returns:
        What the picture shows.
    """
    label = None
    vector: list[float] = []
    if card.classes:
        label = card.classes[draw_label(seed, len(card.classes)) if label_id is None else label_id]
        vector += _one_hot(label.id, len(card.classes))
    codes = []
    for place, category in enumerate(card.categorical_codes):
        size = len(category.values)
        index = int(values[category.id]) if category.id in values else draw_category(seed, place, size)
        codes.append(generation_pb2.CodeValue(code=category.id, index=index))
        vector += _one_hot(index, size)
    for place, code in enumerate(card.continuous_codes):
        number = values[code.id] if code.id in values else draw_number(seed, place, code.min, code.max)
        codes.append(generation_pb2.CodeValue(code=code.id, number=number))
        # As the message holds it, in single precision: what is reported is what was used.
        vector.append(codes[-1].number)
    return Shown(vector, label, codes)


def codes_of(card: models_pb2.ModelCard) -> list[Code]:
    """List a model's codes in the order of the graph."""
    return [*card.categorical_codes, *card.continuous_codes]


def find_code(card: models_pb2.ModelCard, name: str) -> Code | None:
    """Find a code by its id or its name; None where there is none."""
    known = {code.name: code for code in codes_of(card) if code.name} | {code.id: code for code in codes_of(card)}
    return known.get(name)


def label_fault(card: models_pb2.ModelCard, labels: Iterable[int | str]) -> tuple[int, str] | None:
    """Find the first class that cannot be had from a model.

    It stands for all: statuses travel in headers, which hold a few kilobytes.

    Args:
        card: The card of the model.
        labels: Classes by id or name.

    Returns:
        Its place among the labels, and why it cannot be had; None where all can.
    """
    known = {info.id for info in card.classes} | {info.name for info in card.classes}
    unknown = next(((place, label) for place, label in enumerate(labels) if label not in known), None)
    if unknown is None:
        return None
    place, label = unknown
    if not known:
        return place, f"model {card.name} has no classes; its codes: {code_list(card)}"
    asked = repr(label[:80]) if isinstance(label, str) else str(label)
    return place, f"model {card.name} has no class {asked}; its classes: {class_list(card)}"


def label_id_of(card: models_pb2.ModelCard, name: str) -> int:
    """Return the id of the class with a name that the model knows."""
    return next(info.id for info in card.classes if info.name == name)


def code_violations(
    card: models_pb2.ModelCard, codes: Sequence[generation_pb2.CodeValue], field: str
) -> Iterator[Violation]:
    """Check codes that a caller gave.

    Args:
        card: The card of the model.
        codes: What the caller gave.
        field: Path of the list in the request.

    Yields:
        The first fault, which stands for all.
    """
    if codes and not codes_of(card):
        yield Violation(field, f"model {card.name} has no codes; its classes: {class_list(card)}")
        return
    yield from itertools.islice(_code_faults(card, codes, field), 1)


def code_values(card: models_pb2.ModelCard, codes: Sequence[generation_pb2.CodeValue]) -> dict[str, int | float]:
    """Turn codes without faults into values by id."""
    values: dict[str, int | float] = {}
    for given in codes:
        code = find_code(card, given.code)
        if isinstance(code, models_pb2.CategoricalCode):
            values[code.id] = _index_of(code, given.name) if given.WhichOneof("value") == "name" else given.index
        elif code is not None:
            values[code.id] = given.number
    return values


def class_list(card: models_pb2.ModelCard) -> str:
    """List a model's classes for a message, not more of them than is useful."""
    return _shortened([f"{info.id} {info.name!r}" for info in card.classes])


def code_list(card: models_pb2.ModelCard) -> str:
    """List a model's codes for a message, not more of them than is useful."""
    return _shortened([f"{code.id} {code.name!r}" if code.name else code.id for code in codes_of(card)])


def value_text(code: generation_pb2.CodeValue) -> str:
    """Write a code's index or number, with the fewest digits that give it back."""
    return number_text(code.number) if code.WhichOneof("value") == "number" else str(code.index)


def number_text(number: float) -> str:
    """Write a number of single precision with the fewest digits that give it back, for example 0.3 or -1."""
    return np.format_float_positional(np.float32(number), trim="-")


def _code_faults(
    card: models_pb2.ModelCard, codes: Sequence[generation_pb2.CodeValue], field: str
) -> Iterator[Violation]:
    first_places: dict[str, int] = {}
    for place, given in enumerate(codes):
        path = f"{field}[{place}]"
        code = find_code(card, given.code)
        if code is None:
            told = f"model {card.name} has no code {given.code[:80]!r}; its codes: {code_list(card)}"
            yield Violation(f"{path}.code", told)
        elif code.id in first_places:
            yield Violation(f"{path}.code", f"code {code.id} is given by {field}[{first_places[code.id]}] too")
        else:
            first_places[code.id] = place
            yield from _value_faults(code, given, path)


def allowed_values(code: Code) -> str:
    """Say what values a code takes."""
    if isinstance(code, models_pb2.CategoricalCode):
        return f"0 to {len(code.values) - 1}"
    return f"{number_text(code.min)} to {number_text(code.max)}"


def _value_faults(code: Code, given: generation_pb2.CodeValue, path: str) -> Iterator[Violation]:
    kind = given.WhichOneof("value")
    allowed = allowed_values(code)
    if isinstance(code, models_pb2.ContinuousCode):
        if kind != "number":
            yield Violation(f"{path}.{kind or 'number'}", f"code {code.id} is continuous; give a number, {allowed}")
        elif not code.min <= given.number <= code.max:
            yield Violation(f"{path}.number", f"must be {allowed}, got {number_text(given.number)}")
    elif kind == "name":
        if given.name not in {value.name for value in code.values if value.name}:
            known = _shortened([f"{value.index} {value.name!r}" for value in code.values])
            yield Violation(f"{path}.name", f"code {code.id} has no value {given.name[:80]!r}; its values: {known}")
    elif kind != "index":
        yield Violation(f"{path}.{kind or 'index'}", f"code {code.id} is categorical; give an index, {allowed}")
    elif given.index >= len(code.values):
        yield Violation(f"{path}.index", f"must be {allowed}, got {given.index}")


def _index_of(code: models_pb2.CategoricalCode, name: str) -> int:
    return next(value.index for value in code.values if value.name == name)


def _one_hot(index: int, size: int) -> list[float]:
    return [float(index == place) for place in range(size)]


def _shortened(known: Sequence[str]) -> str:
    text = ", ".join(known)
    return text if len(text) <= _LIST_LENGTH else f"{text[:_LIST_LENGTH]}… ({len(known)} in all)"
