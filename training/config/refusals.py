"""What a person reads where a setting is refused: the flag, what was given, and what is allowed."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import ErrorDetails

_FLAGS = {name: f"--{name}" for name in ("data", "size", "batch", "tick", "seed", "precision", "compile")}
_FLAGS["total_images"] = "--images"
"""Settings that have a flag; all others are changed by --set."""

_REASONS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "must be {expected}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be a name, without /",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "has no kind",
}
"""By pydantic's type of error; its own words stand for all others."""


def refusal(error: ErrorDetails, values: Mapping[str, Any]) -> str:
    """One refused setting.

    Args:
        error: As pydantic gives it.
        values: What was to be read.

    Returns:
        A line that names the flag.
    """
    if error["type"] == "value_error":  # one of our validators; its message names the flags itself
        return error["msg"].removeprefix("Value error, ")
    path = list(_path_of(error, values))
    name, given = ".".join(path), error["input"]
    match error["type"]:
        case "missing":
            return f"{name}: is missing"
        case "extra_forbidden":
            return f"--set {name}: there is no setting of this name{_nearest(path, values)}"
        case "model_type" | "dict_type":
            return f"--set {name}={given}: a group of settings; give one of them, as in --set {name}.NAME=VALUE"
        case "model_attributes_type":
            return f"--set {name}={given}: a group of settings; to choose its kind, --set {name}.kind={given}"
        case "union_tag_invalid":
            name, given = f"{name}.kind", error["ctx"]["tag"]
    flag = f"{_FLAGS[path[0]]} {given}" if path[0] in _FLAGS else f"--set {name}={given}"
    return f"{flag}: {_REASONS.get(error['type'], error['msg']).format(**error.get('ctx', {}))}"


def _nearest(path: list[str], values: Any) -> str:
    """A name beside it that may have been meant."""
    *groups, last = path
    for group in groups:
        values = values[group]
    close = difflib.get_close_matches(last, [name for name in values if name != last], n=1)
    return f"; did you mean {'.'.join([*groups, *close])}?" if close else ""


def _path_of(error: ErrorDetails, values: Any) -> Iterator[str]:
    """The setting's dotted name: pydantic's path also has the `kind` of a group, and places in a list."""
    for place, part in enumerate(error["loc"], 1):
        if isinstance(part, int):
            continue
        if isinstance(values, Mapping) and part not in values and place < len(error["loc"]):
            continue  # the kind
        yield part
        values = values.get(part) if isinstance(values, Mapping) else None
