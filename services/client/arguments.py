"""What a person types on a command line, as the client's arguments: labels, codes, attributes, axes, traversals."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from gantry.v1 import models_pb2
from services.client.paths import Arithmetic, Attributes, Axis, Codes, Interpolation, Label, Path, Sweep
from services.client.requests import Labels

# The option that tells which way is meant.
_WAYS: dict[str, type[Path]] = {"x": Sweep, "from_seed": Interpolation, "a": Arithmetic}


def read_label(text: str) -> Label:
    """Read a class: an id where it is a whole number, else a name."""
    return int(text) if text.isdecimal() else text


def read_labels(texts: Sequence[str]) -> Labels:
    """Read classes: ids where all are whole numbers, else names."""
    return [int(text) for text in texts] if all(text.isdecimal() for text in texts) else list(texts)


def read_codes(texts: Sequence[str], card: models_pb2.ModelCard, flag: str = "--code") -> Codes:
    """Read settings of codes.

    Args:
        texts: Each NAME=VALUE: a number for a continuous code, the name or else the index of a value for a
            categorical one.
        card: Says which codes are which.
        flag: How the user gave them, for errors.

    Returns:
        What each code is set to. What the card does not know is left to the gateway to refuse.

    Raises:
        ValueError: A text is not of that form, or a code stands twice.
    """
    return {code: _setting(code, value, card, flag) for code, value in _settings(texts, flag).items()}


def read_attributes(texts: Sequence[str], flag: str = "--attribute") -> Attributes:
    """Read settings of attributes.

    Args:
        texts: Each NAME=NUMBER.
        flag: How the user gave them, for errors.

    Returns:
        What each attribute is set to.

    Raises:
        ValueError: A text is not of that form, or an attribute stands twice.
    """
    return {name: _number(value, f"{flag} {name}={value}") for name, value in _settings(texts, flag).items()}


def _settings(texts: Sequence[str], flag: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{flag} {text}: must be NAME=VALUE")
        if name in settings:
            raise ValueError(f"{flag} {text}: {name} is set twice")
        settings[name] = value
    return settings


def _setting(code: str, value: str, card: models_pb2.ModelCard, flag: str) -> int | float | str:
    if any(code in (known.id, known.name) for known in card.continuous_codes):
        return _number(value, f"{flag} {code}={value}")
    named = [known for known in card.categorical_codes if code in (known.id, known.name)]
    names = {meaning.name for known in named for meaning in known.values}
    return int(value) if value.isdecimal() and value not in names else value


def read_axis(text: str, flag: str) -> Axis:
    """Read an axis of a sweep.

    Args:
        text: NAME, NAME=START:END:STEPS or NAME=VALUE,VALUE,…
        flag: How the user gave it, for errors.

    Raises:
        ValueError: It is none of these.
    """
    code, equals, stops = text.partition("=")
    if not equals:
        return Axis(code)
    if ":" not in stops:
        return Axis(code, values=[_number(stop, f"{flag} {text}") for stop in stops.split(",")])
    start, _, rest = stops.partition(":")
    end, _, steps = rest.partition(":")
    if not steps.isdecimal():
        raise ValueError(f"{flag} {text}: must be NAME, NAME=START:END:STEPS or NAME=VALUE,VALUE,…")
    return Axis(code, start=_number(start, f"{flag} {text}"), end=_number(end, f"{flag} {text}"), steps=int(steps))


def read_path(**options: Any) -> Path:
    """Find which way of a traversal is meant by the options that are given.

    Args:
        **options: Values for fields of `Sweep`, `Interpolation` or `Arithmetic`; None where not given.

    Returns:
        The way.

    Raises:
        ValueError: The options belong to no way, or not to one and the same, or one is missing.
    """
    given = {option: value for option, value in options.items() if value is not None}
    meant = [leading for leading in _WAYS if leading in given]
    if len(meant) != 1:
        raise ValueError("give one way: --x for a sweep, --from-seed and --to-seed, or --a, --b and --c")
    way = _WAYS[meant[0]]
    known = {field.name: field.default is MISSING for field in fields(way)}
    for option in given.keys() - known.keys():
        raise ValueError(f"{_flag(option)} does not go with {_flag(meant[0])}")
    for option in sorted(option for option, required in known.items() if required and option not in given):
        raise ValueError(f"{_flag(meant[0])} needs {_flag(option)} too")
    return way(**given)


def _flag(option: str) -> str:
    """Return an option as it is typed: those of codes and attributes are given one by one."""
    return "--" + option.replace("codes", "code").replace("attributes", "attribute").replace("_", "-")


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{what}: {text!r} is not a number") from None
