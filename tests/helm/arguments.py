"""Reads the arguments that a container gives `gantry`, as `gantry` itself does, without running the command."""

from collections.abc import Sequence
from typing import Any

import typer

from services.cli import app


def parse(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Find the command that is named, and what it is given.

    Args:
        arguments: What follows `gantry`.

    Returns:
        The command's name, such as "batch translate", and its parameters by name.

    Raises:
        Exception: The command would refuse the arguments.
    """
    command: Any = typer.main.get_command(app)
    path: list[str] = []
    rest = list(arguments)
    while hasattr(command, "resolve_command"):
        context = command.make_context("gantry", rest, resilient_parsing=True)
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        path.append(name)
    return " ".join(path), command.make_context(path[-1], rest).params
