"""Writes and reads the whole state of a run as one file, never leaving a half-written one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.steps.phase import Stateful


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read or holds other things than expected; the message names the file."""


def save(path: Path, state: Mapping[str, Stateful]) -> None:
    """Writes the state of every named thing; the file appears whole or not at all.

    Args:
        path: The file, replaced if it exists.
        state: Everything that must survive, by name.
    """
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        torch.save({name: thing.state_dict() for name, thing in state.items()}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Reads a checkpoint as it was written, onto the CPU, without running any code in it.

    Args:
        path: The file.

    Returns:
        The state dicts by name.

    Raises:
        CheckpointError: If the file is missing or broken.
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint; has this run reached its first tick?") from error
    except Exception as error:  # torch raises many types for a broken file
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from error


def restore(path: Path, state: Mapping[str, Stateful]) -> None:
    """Puts every named thing back into the state that `save` wrote.

    Args:
        path: The file.
        state: The same names as were saved.

    Raises:
        CheckpointError: If the file is missing, broken, or holds other names.
    """
    saved = read(path)
    if saved.keys() != state.keys():
        raise CheckpointError(f"{path}: holds {sorted(saved)}, expected {sorted(state)}")
    for name, thing in state.items():
        thing.load_state_dict(saved[name])
