"""What each input of a model may be set to: classes, codes and attributes by the names callers use, and as lists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gantry.v1 import models_pb2
from services.worker.inputs import CLASS, LATENT, codes_of, takes

_LIST_LENGTH = 400


@dataclass(frozen=True)
class Scale:
    """The values of one input.

    Attributes:
        input: "class", the id of a code, or the name of an attribute.
        low: The least value.
        high: The greatest.
        names: The values by name, where they are choices: those of the classes or of a categorical code, by index.
    """

    input: str
    low: float
    high: float
    names: Sequence[str] | None = None

    def __contains__(self, value: float) -> bool:
        """Whether the value is in range and, where it is a choice, whole; never true of NaN."""
        return self.low <= value <= self.high and (self.names is None or value % 1 == 0)

    @property
    def span(self) -> str:
        """The range in words, for example "0 to 2"."""
        return f"{number_text(self.low)} to {number_text(self.high)}"


def class_ids(card: models_pb2.ModelCard) -> dict[int | str, int]:
    """Return the ids of a model's classes by id and by name."""
    by_name: dict[int | str, int] = {info.name: info.id for info in card.classes}
    return by_name | {info.id: info.id for info in card.classes}


def code_scales(card: models_pb2.ModelCard) -> dict[str, Scale]:
    """Return the scales of a model's codes by name, where they have one, and by id."""
    by_id = {code.id: _choices(code.id, code.values) for code in card.categorical_codes}
    by_id |= {code.id: Scale(code.id, code.min, code.max) for code in card.continuous_codes}
    return {code.name: by_id[code.id] for code in codes_of(card) if code.name} | by_id


def attribute_scales(card: models_pb2.ModelCard) -> dict[str, Scale]:
    """Return the scales of a model's attributes by name, in the order of the card."""
    return {known.name: Scale(known.name, known.min, known.max) for known in card.attributes}


def axis_scales(card: models_pb2.ModelCard) -> dict[str, Scale]:
    """Return the scales of all that can move in a sweep."""
    label = {CLASS: _choices(CLASS, card.classes)} if takes(card, CLASS) else {}
    return attribute_scales(card) | code_scales(card) | label


def input_list(card: models_pb2.ModelCard) -> str:
    """List what a model takes."""
    label = [CLASS] if takes(card, CLASS) else []
    return listed([LATENT, *label, *_code_names(card), *attribute_scales(card)])


def code_list(card: models_pb2.ModelCard) -> str:
    """List a model's codes."""
    return listed(_code_names(card))


def axis_list(card: models_pb2.ModelCard) -> str:
    """List what can move in a sweep."""
    label = [f'"{CLASS}"'] if takes(card, CLASS) else []
    return listed([*label, *_code_names(card), *attribute_scales(card)]) or "none; use interpolation or arithmetic"


def choice_list(names: Sequence[str]) -> str:
    """List the values of a categorical code, or classes, by index and name."""
    return listed([f"{index} {name!r}" for index, name in enumerate(names)])


def listed(known: Sequence[str]) -> str:
    """Join what there is for a message, cut where more of it would be of no use."""
    text = ", ".join(known)
    return text if len(text) <= _LIST_LENGTH else f"{text[:_LIST_LENGTH]}… ({len(known)} in all)"


def number_text(number: float) -> str:
    """Write a number of single precision with the fewest digits that give it back, for example 0.3 or -1."""
    return np.format_float_positional(np.float32(number), trim="-")


def _choices(name: str, values: Iterable[models_pb2.ClassInfo] | Iterable[models_pb2.CodeMeaning]) -> Scale:
    names = [value.name for value in values]
    return Scale(name, 0.0, len(names) - 1.0, names)


def _code_names(card: models_pb2.ModelCard) -> list[str]:
    return [f"{code.id} {code.name!r}" if code.name else code.id for code in codes_of(card)]
