"""What a picture is to show: reads classes, codes and attributes, and turns them into what the graph takes.

What a caller leaves open is drawn from the picture's seed.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import CodeValue, Condition, SampleRequest, Sweep
from services.gateway.planning.output import facts_of
from services.gateway.planning.scales import (
    Scale,
    attribute_scales,
    choice_list,
    class_ids,
    code_list,
    code_scales,
    input_list,
    listed,
    number_text,
)
from services.gateway.planning.violations import Violations
from services.worker.inputs import CLASS, condition_inputs, takes
from services.worker.latents import draw_attribute, draw_category, draw_label, draw_number

# What an input is set to, by "class", a code's id or an attribute's name: the index of a class or of a categorical
# code's value, the number of a continuous code or an attribute.
Values = Mapping[str, int | float]


@dataclass(frozen=True)
class CompleteCondition:
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
    codes: Sequence[CodeValue] = ()
    attributes: Mapping[str, float] = field(default_factory=dict)

    def facts(self, prefix: str = "") -> list[worker_pb2.Fact]:
        """Return what a PNG says of it.

        Args:
            prefix: Set before each key's last words, for example "from_".

        Returns:
            `gantry:label_id` and `gantry:label_name` of a class, `gantry:code:<id>` for every code, and
            `gantry:attribute:<name>` for every attribute.
        """
        label = {} if self.label is None else {"label_id": self.label.id, "label_name": self.label.name}
        codes = {f"code:{code.code}": value_text(code) for code in self.codes}
        attributes = {f"attribute:{name}": number_text(number) for name, number in self.attributes.items()}
        return facts_of({f"{prefix}{key}": value for key, value in (label | codes | attributes).items()})


def complete(card: models_pb2.ModelCard, seed: int, values: Values) -> CompleteCondition:
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
        codes.append(CodeValue(code=category.id, index=index))
        parts[category.id] = _one_hot(index, size)
    # Numbers in single precision, as messages hold them: what is reported is what was used.
    for place, code in enumerate(card.continuous_codes):
        number = values[code.id] if code.id in values else draw_number(seed, place, code.min, code.max)
        codes.append(CodeValue(code=code.id, number=number))
        parts[code.id] = [codes[-1].number]
    for place, known in enumerate(card.attributes):
        number = values[known.name] if known.name in values else draw_attribute(seed, place, known.min, known.max)
        attributes[known.name] = float(np.float32(number))
        parts[known.name] = [attributes[known.name]]
    vector = [value for name in condition_inputs(card) for value in parts[name]]
    return CompleteCondition(vector, label, codes, attributes)


def seed_facts(seed: int, shown: CompleteCondition, truncation: float) -> list[worker_pb2.Fact]:
    """Return what the PNG of a picture from one seed says: enough to make it again."""
    return [*facts_of({"seed": seed}), *shown.facts(), *facts_of({"truncation": f"{truncation:g}"})]


def read_seed(given: SampleRequest | Sweep) -> int:
    """Return the seed that a caller gave, or pick one below 2^32."""
    return given.seed if given.HasField("seed") else secrets.randbits(32)


def read_labels(
    card: models_pb2.ModelCard, labels: Iterable[tuple[str, int | str]], violations: Violations
) -> list[int]:
    """Read classes by id or name.

    Args:
        card: The card of the model.
        labels: Fields and the classes they name.
        violations: Of the message that has the fields.

    Returns:
        Their ids, up to the first that the model does not have. That one stands for all: statuses travel in headers,
        which hold a few kilobytes.
    """
    ids, known = [], class_ids(card)
    for name, label in labels:
        if label not in known:
            violations.add(name, _label_fault(card, label))
            break
        ids.append(known[label])
    return ids


def read_condition(card: models_pb2.ModelCard, condition: Condition, violations: Violations) -> Values:
    """Read what a picture is to show, by class, codes and attributes; incomplete where something is wrong."""
    name = condition.WhichOneof("label")
    labels = read_labels(card, [(name, getattr(condition, name))] if name else [], violations)
    values = read_inputs(card, condition, violations)
    return {**values, CLASS: labels[0]} if labels else values


def read_inputs(
    card: models_pb2.ModelCard, given: SampleRequest | Condition, violations: Violations
) -> dict[str, int | float]:
    """Read the codes and attributes that a caller gave.

    Args:
        card: The card of the model.
        given: What the caller gave.
        violations: Of that message. The first fault of the codes and the first of the attributes stand for all.

    Returns:
        What they are set to; incomplete where something is wrong.
    """
    codes, attributes = code_scales(card), attribute_scales(card)
    for name, known in (("codes", codes), ("attributes", attributes)):
        if getattr(given, name) and not known:
            violations.add(name, f"model {card.name} has no {name}; its inputs: {input_list(card)}")
    values: dict[str, int | float] = {}
    if codes:
        values |= _read_codes(card, codes, given.codes, violations)
    if attributes:
        values |= _read_attributes(card, attributes, given.attributes, violations)
    return values


def field_of(card: models_pb2.ModelCard, condition: Condition, name: str) -> str:
    """Return the field of a sound condition that sets an input."""
    if name == CLASS:
        return str(condition.WhichOneof("label"))
    scales = code_scales(card)
    codes = [scales[given.code].input for given in condition.codes]
    return f"codes[{codes.index(name)}].code" if name in codes else _attribute_field(name)


def value_text(code: CodeValue) -> str:
    """Write a code's index or number, with the fewest digits that give it back."""
    return number_text(code.number) if code.WhichOneof("value") == "number" else str(code.index)


def _label_fault(card: models_pb2.ModelCard, label: int | str) -> str:
    if not card.classes:
        return f"model {card.name} has no classes; its inputs: {input_list(card)}"
    given = repr(label[:80]) if isinstance(label, str) else str(label)
    names = [info.name for info in card.classes]
    return f"model {card.name} has no class {given}; its classes: {choice_list(names)}"


def _read_codes(
    card: models_pb2.ModelCard, scales: Mapping[str, Scale], codes: Sequence[CodeValue], violations: Violations
) -> Values:
    values: dict[str, int | float] = {}
    for place, given in enumerate(codes):
        here, scale = violations.under(f"codes[{place}]"), scales.get(given.code)
        if scale is None:
            here.add("code", f"model {card.name} has no code {given.code[:80]!r}; its codes: {code_list(card)}")
            break
        if scale.input in values:
            first = f"{violations.path}codes[{list(values).index(scale.input)}]"
            here.add("code", f"code {scale.input} is given by {first} too")
            break
        value = _read_code(scale, given, here)
        if value is None:
            break
        values[scale.input] = value
    return values


def _read_code(scale: Scale, given: CodeValue, violations: Violations) -> int | float | None:
    kind = given.WhichOneof("value")
    if scale.names is not None and kind == "name":
        if given.name and given.name in scale.names:
            return scale.names.index(given.name)
        known = choice_list(scale.names)
        violations.add("name", f"code {scale.input} has no value {given.name[:80]!r}; its values: {known}")
        return None
    wanted, nature = "index", "categorical; give an index"
    if scale.names is None:
        wanted, nature = "number", "continuous; give a number"
    value: int | float = getattr(given, wanted)
    if kind != wanted:
        violations.add(kind or wanted, f"code {scale.input} is {nature}, {scale.span}")
    elif value not in scale:
        violations.add(wanted, f"must be {scale.span}, got {value_text(given)}")
    else:
        return value
    return None


def _read_attributes(
    card: models_pb2.ModelCard, scales: Mapping[str, Scale], given: Mapping[str, float], violations: Violations
) -> Values:
    # Of hundreds of thousands, one that is unknown stands for all.
    unknown = next((name for name in given if name not in scales), None)
    for name in sorted(given) if unknown is None else [unknown]:
        if name not in scales:
            allowed = listed([f"{scale.input} {scale.span}" for scale in scales.values()])
            fault = f"model {card.name} has no attribute {name[:80]!r}; its attributes: {allowed}"
        elif given[name] not in scales[name]:
            fault = f"must be {scales[name].span}, got {number_text(given[name])}"
        else:
            continue
        violations.add(_attribute_field(name), fault)
        return {}
    return dict(given)


def _attribute_field(name: str) -> str:
    return f"attributes[{json.dumps(name[:80], ensure_ascii=False)}]"


def _one_hot(index: int, size: int) -> list[float]:
    return [float(index == place) for place in range(size)]
