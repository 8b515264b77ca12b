"""What a picture is to show: classes, codes and attributes as a caller names them, turned into what the graph takes.

One place for Sample and Traverse. What a caller leaves open is drawn from the picture's seed.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.gateway.errors import Violation
from services.worker.inputs import CLASS, LATENT, Code, Input, codes_of, condition_inputs, described_inputs, takes
from services.worker.latents import draw_attribute, draw_category, draw_label, draw_number

# What an input is set to, by "class", a code's id or an attribute's name: the index of a class or of a categorical
# code's value, the number of a continuous code or an attribute.
Values = Mapping[str, int | float]
# The messages in which a caller sets codes and attributes.
Given = generation_pb2.SampleRequest | generation_pb2.Condition

_LIST_LENGTH = 400


@dataclass(frozen=True)
class Shown:
    """What one picture shows, complete.

    Attributes:
        vector: What the graph takes beside the latent, in the order of its inputs: a class and a categorical code as
            one-hot, a continuous code and an attribute as the number.
        label: The class; None where the model has none.
        codes: Every code in the order of the card, by id, with index or number.
        attributes: Every attribute in the order of the card, by name.
    """

    vector: Sequence[float]
    label: models_pb2.ClassInfo | None
    codes: Sequence[generation_pb2.CodeValue] = ()
    attributes: Mapping[str, float] = field(default_factory=dict)

    def facts(self, prefix: str = "") -> list[worker_pb2.Fact]:
        """Say what a PNG tells of it.

        Args:
            prefix: Set before each key's last words, for example "from_".

        Returns:
            `gantry:label_id` and `gantry:label_name` of a class, `gantry:code:<id>` for every code, and
            `gantry:attribute:<name>` for every attribute.
        """
        facts = []
        if self.label is not None:
            facts.append(worker_pb2.Fact(key=f"gantry:{prefix}label_id", value=str(self.label.id)))
            facts.append(worker_pb2.Fact(key=f"gantry:{prefix}label_name", value=self.label.name))
        facts += [
            worker_pb2.Fact(key=f"gantry:{prefix}code:{code.code}", value=value_text(code)) for code in self.codes
        ]
        facts += [
            worker_pb2.Fact(key=f"gantry:{prefix}attribute:{name}", value=number_text(number))
            for name, number in self.attributes.items()
        ]
        return facts


def show(card: models_pb2.ModelCard, seed: int, values: Values) -> Shown:
    """Complete a condition.

    Args:
        card: The card of the model.
        seed: What is left open is drawn from it.
        values: What is set, of what the model takes.

    Returns:
        What the picture shows.
    """
    label, codes, attributes = None, [], {}
    parts: dict[str, Sequence[float]] = {}
    if takes(card, CLASS):
        size = len(card.classes)
        label = card.classes[int(values[CLASS]) if CLASS in values else draw_label(seed, size)]
        parts[CLASS] = _one_hot(label.id, size)
    for place, category in enumerate(card.categorical_codes):
        size = len(category.values)
        index = int(values[category.id]) if category.id in values else draw_category(seed, place, size)
        codes.append(generation_pb2.CodeValue(code=category.id, index=index))
        parts[category.id] = _one_hot(index, size)
    # Numbers in single precision, as messages hold them: what is reported is what was used.
    for place, code in enumerate(card.continuous_codes):
        number = values[code.id] if code.id in values else draw_number(seed, place, code.min, code.max)
        codes.append(generation_pb2.CodeValue(code=code.id, number=number))
        parts[code.id] = [codes[-1].number]
    for place, known in enumerate(card.attributes):
        number = values[known.name] if known.name in values else draw_attribute(seed, place, known.min, known.max)
        attributes[known.name] = float(np.float32(number))
        parts[known.name] = [attributes[known.name]]
    vector = [value for name in condition_inputs(card) for value in parts[name]]
    return Shown(vector, label, codes, attributes)


def find_code(card: models_pb2.ModelCard, name: str) -> Code | None:
    """Find a code by its id or its name; None where there is none."""
    known = {code.name: code for code in codes_of(card) if code.name} | {code.id: code for code in codes_of(card)}
    return known.get(name)


def find_input(card: models_pb2.ModelCard, name: str) -> Input | None:
    """Find a code by its id or its name, or an attribute by its name; None where there is none."""
    return find_code(card, name) or described_inputs(card).get(name)


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
        return place, f"model {card.name} has no classes; its inputs: {input_list(card)}"
    asked = repr(label[:80]) if isinstance(label, str) else str(label)
    return place, f"model {card.name} has no class {asked}; its classes: {class_list(card)}"


def label_id_of(card: models_pb2.ModelCard, name: str) -> int:
    """Return the id of the class with a name that the model knows."""
    return next(info.id for info in card.classes if info.name == name)


def input_violations(card: models_pb2.ModelCard, given: Given, prefix: str = "") -> Iterator[Violation]:
    """Check the codes and attributes that a caller gave.

    Args:
        card: The card of the model.
        given: What the caller gave.
        prefix: Set before the paths of its fields, for example "sweep.condition.".

    Yields:
        The first fault of the codes and the first of the attributes; each stands for all of its list.
    """
    for name, known in (("codes", codes_of(card)), ("attributes", card.attributes)):
        if getattr(given, name) and not known:
            yield Violation(f"{prefix}{name}", f"model {card.name} has no {name}; its inputs: {input_list(card)}")
    if codes_of(card):
        yield from itertools.islice(_code_faults(card, given.codes, f"{prefix}codes"), 1)
    if card.attributes:
        yield from itertools.islice(_attribute_faults(card, given.attributes, f"{prefix}attributes"), 1)


def input_values(card: models_pb2.ModelCard, given: Given) -> dict[str, int | float]:
    """Turn codes and attributes without faults into values by id and name."""
    values: dict[str, int | float] = dict(given.attributes)
    for code_value in given.codes:
        code = find_code(card, code_value.code)
        if isinstance(code, models_pb2.CategoricalCode):
            is_named = code_value.WhichOneof("value") == "name"
            values[code.id] = _index_of(code, code_value.name) if is_named else code_value.index
        elif code is not None:
            values[code.id] = code_value.number
    return values


def class_list(card: models_pb2.ModelCard) -> str:
    """List a model's classes for a message, not more of them than is useful."""
    return _shortened([f"{info.id} {info.name!r}" for info in card.classes])


def code_list(card: models_pb2.ModelCard) -> str:
    """List a model's codes for a message, not more of them than is useful."""
    return _shortened(_code_names(card))


def input_list(card: models_pb2.ModelCard) -> str:
    """List what a model takes for a message, not more of it than is useful."""
    label = [CLASS] if takes(card, CLASS) else []
    return _shortened([LATENT, *label, *_code_names(card), *(attribute.name for attribute in card.attributes)])


def axis_list(card: models_pb2.ModelCard) -> str:
    """List what can move in a sweep for a message, not more of it than is useful."""
    label = [f'"{CLASS}"'] if takes(card, CLASS) else []
    axes = [*label, *_code_names(card), *(attribute.name for attribute in card.attributes)]
    return _shortened(axes) or "none; use interpolation or arithmetic"


def attribute_path(name: str, prefix: str = "attributes") -> str:
    """Return the path of an attribute in a request, for example `attributes["smile"]`."""
    return f"{prefix}[{json.dumps(name[:80], ensure_ascii=False)}]"


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


def _attribute_faults(card: models_pb2.ModelCard, attributes: Mapping[str, float], field: str) -> Iterator[Violation]:
    known = {attribute.name: attribute for attribute in card.attributes}
    for name in sorted(attributes):
        path = attribute_path(name, field)
        if name not in known:
            allowed = _shortened([f"{one.name} {allowed_values(one)}" for one in card.attributes])
            told = f"model {card.name} has no attribute {name[:80]!r}; its attributes: {allowed}"
            yield Violation(path, told)
        elif not known[name].min <= attributes[name] <= known[name].max:
            yield Violation(path, f"must be {allowed_values(known[name])}, got {number_text(attributes[name])}")


def allowed_values(known: Input) -> str:
    """Say what values a code or an attribute takes."""
    if isinstance(known, models_pb2.CategoricalCode):
        return f"0 to {len(known.values) - 1}"
    return f"{number_text(known.min)} to {number_text(known.max)}"


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


def _code_names(card: models_pb2.ModelCard) -> list[str]:
    return [f"{code.id} {code.name!r}" if code.name else code.id for code in codes_of(card)]


def _one_hot(index: int, size: int) -> list[float]:
    return [float(index == place) for place in range(size)]


def _shortened(known: Sequence[str]) -> str:
    text = ", ".join(known)
    return text if len(text) <= _LIST_LENGTH else f"{text[:_LIST_LENGTH]}… ({len(known)} in all)"
