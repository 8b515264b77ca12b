"""Settings that hold parts of a table by name: terms, augmentations."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from training.config.run import SettingsGroup


def read_parts(parts: object, table: Mapping[str, type[SettingsGroup]], group: str) -> object:
    """Reads each part as the type that the table has for its name.

    Args:
        parts: By name, as a configuration has them; anything else is given back for pydantic to refuse.
        table: Every type of part.
        group: The setting's name, e.g. "terms".

    Raises:
        ValueError: If there is no part of a name.
        ValidationError: If a part's settings are not allowed.
    """
    if not isinstance(parts, Mapping):
        return parts
    for name in parts:
        if name not in table:
            raise ValueError(f"--set {group}.{name}: there is nothing of this name; there are {', '.join(table)}")
    return {name: _read(value, table[name], group, name) for name, value in parts.items()}


def _read(value: Any, of_type: type[SettingsGroup], group: str, name: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    try:
        return of_type.model_validate(value)
    except ValidationError as error:  # it names settings of the part, without the part
        details = [
            InitErrorDetails(type=one["type"], loc=(name, *one["loc"]), input=one["input"], ctx=one.get("ctx", {}))
            for one in error.errors()
        ]
        raise ValidationError.from_exception_data(group, details) from error
