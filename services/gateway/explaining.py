"""Says what is wrong with settings or a file, by field and without its values, which may be secret."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError


def explain(error: ValidationError) -> str:
    """Say what is wrong in one line.

    Args:
        error: What pydantic found.

    Returns:
        For each fault the path of the field and what is allowed; only the latter where it is one of the whole.
    """
    return "; ".join(map(_line, error.errors(include_url=False, include_input=False)))


def _line(fault: Mapping[str, Any]) -> str:
    path, told = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
    return f"{path}: {told}" if path else told
