"""What a person types on a command line, as arguments of the client: labels, codes, axes, ways of a traversal."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from gantry.v1 import models_pb2
from services.client.paths import Arithmetic, Axis, Codes, Interpolation, Label, Path, Sweep
from services.client.requests import Labels

# The option that tells which way is meant.
_WAYS: dict[str, type[Path]] = {"x": Sweep, "from_seed": Interpolation, "a": Arithmetic}


def read_label(text: str) -> Label:
    """Read a class: an id where it is a whole number, else a name."""
    return int(text) if text.isdecimal() else text


def read_labels(texts: Sequence[str]) -> Labels:
    """Read classes: ids where all are whole numbers, else names."""
    return [int(text) for text in texts] if all(text.isdecimal() for text in texts) else list(texts)


def read_codes(texts: Sequence[str], card: models_pb2.ModelCard) -> Codes:
    """Read settings of codes.

    Args:
        texts: Each NAME=VALUE: a number for a continuous code, the name or else the index of a value for a
            categorical one.
        card: Says which codes are which.

    Returns:
        What each code is set to. What the card does not know is left to the gateway to refuse.

    Raises:
        ValueError: A text is not of that form, or a code stands twice.
    """
    codes: dict[str, int | float | str] = {}
    for text in texts:
        code, equals, value = text.partition("=")
        if not (code and equals and value):
            raise ValueError(f"code {text!r}: must be NAME=VALUE")
        if code in codes:
            raise ValueError(f"code {code!r}: is set twice")
        codes[code] = _setting(code, value, card)
    return codes


def _setting(code: str, value: str, card: models_pb2.ModelCard) -> int | float | str:
    if any(code in (known.id, known.name) for known in card.continuous_codes):
        return _number(value, f"code {code!r}")
    named = [known for known in card.categorical_codes if code in (known.id, known.name)]
    names = {meaning.name for known in named for meaning in known.values}
    return int(value) if value.isdecimal() and value not in names else value


def read_axis(text: str) -> Axis:
    """Read an axis of a sweep.

    Args:
        text: NAME, NAME=START:END:STEPS or NAME=VALUE,VALUE,…

    Raises:
        ValueError: It is none of these.
    """
    code, equals, stops = text.partition("=")
    if not equals:
        return Axis(code)
    if ":" not in stops:
        return Axis(code, values=[_number(stop, f"axis {text!r}") for stop in stops.split(",")])
    start, _, rest = stops.partition(":")
    end, _, steps = rest.partition(":")
    if not steps.isdecimal():
        raise ValueError(f"axis {text!r}: must be NAME, NAME=START:END:STEPS or NAME=VALUE,VALUE,…")
    return Axis(code, start=_number(start, f"axis {text!r}"), end=_number(end, f"axis {text!r}"), steps=int(steps))


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
    """Return an option as it is typed: that of `from_codes` is given code by code."""
    return "--" + option.replace("codes", "code").replace("_", "-")


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{what}: {text!r} is not a number") from None
