"""Writes and reads the whole state of a run as safetensors with JSON in their header; never a half-written file.

A run keeps two generations. Where the newer is torn, by a disk or by whoever copied it, the older one is read.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from training import distributed
from training.engine import trees
from training.steps.phase import Stateful

_FORMAT = "1"
_KEPT = 2


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read or holds other things than expected; the message names the file."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read.

    Attributes:
        path: The file.
        state: The state dicts by name, on the CPU.
        origin: What the run was made of, as it was given to `save`.
    """

    path: Path
    state: dict[str, Any]
    origin: dict[str, Any]

    def restore(self, things: Mapping[str, Stateful]) -> None:
        """Puts every named thing back into its state.

        Args:
            things: The same names as were saved.

        Raises:
            CheckpointError: If the file holds other names.
        """
        if self.state.keys() != things.keys():
            raise CheckpointError(f"{self.path}: holds {sorted(self.state)}, expected {sorted(things)}")
        for name, thing in things.items():
            thing.load_state_dict(self.state[name])


def save(path: Path, state: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Writes a state; the file appears whole or not at all, and outlives a loss of power.

    Args:
        path: The file, replaced if it exists.
        state: State dicts by name; see `trees.split` for what they may hold.
        origin: What the run is made of, fit for JSON.
    """
    tensors, document = trees.split(dict(state))
    text = json.dumps({"origin": origin, "state": document})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".partial")  # the next one takes the place of what a kill leaves
    save_file(tensors, temporary, {"format": _FORMAT, "json": text, "sha256": _digest(text, tensors)})
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def save_generation(folder: Path, images: int, state: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Writes a state as the newest generation, and then deletes those too many.

    Args:
        folder: Of the generations.
        images: Images seen, the generation's name.
        state: See `save`.
        origin: See `save`.
    """
    save(folder / f"{images:09d}.safetensors", state, origin)
    for path in generations(folder)[_KEPT:]:
        path.unlink()


def generations(folder: Path) -> list[Path]:
    """The files of all generations, the newest first."""
    return sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem), reverse=True)


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint as it was written, onto the CPU; there is no code in it to run.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        CheckpointError: If the file is missing, broken, or of another version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint; has this run reached its first tick?") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from error
    if header.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version, which reads format {_FORMAT}")
    text = header["json"]
    if header["sha256"] != _digest(text, tensors):
        raise CheckpointError(f"{path}: not a readable checkpoint: its contents do not match their digest")
    document = json.loads(text)
    return Checkpoint(path, trees.join(tensors, document["state"]), document["origin"])


def read_newest(folder: Path) -> Checkpoint | None:
    """Reads the newest generation that is whole; says so where it is not the newest of all.

    Args:
        folder: Of the generations.

    Returns:
        What it holds; None if there is none.

    Raises:
        CheckpointError: If there are some and none is readable.
    """
    paths = generations(folder)
    for path in paths:
        try:
            return read(path)
        except CheckpointError as error:
            if path == paths[-1]:
                raise CheckpointError(f"{error}. No other is left; --fresh starts over") from error
            distributed.say(f"{error}; going back to the one before")
    return None


def sync(path: Path) -> None:
    """Waits until a file, or what a folder lists, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
