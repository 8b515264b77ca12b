"""Compares the checkpoints of two runs, leaf by leaf."""

from pathlib import Path

import torch

from training.engine.checkpoint import read


def flat(state: object, prefix: str = "") -> dict[str, object]:
    """A checkpoint's leaves by path, so that a failing comparison names one."""
    if isinstance(state, dict | list | tuple):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {path: leaf for key, value in items for path, leaf in flat(value, f"{prefix}/{key}").items()}
    return {prefix: state}


def assert_equal_checkpoints(first: Path, second: Path, *, within: float = 0) -> None:
    """Asserts that two runs have come to the same.

    Args:
        first: A run's directory.
        second: Another's.
        within: By how much a tensor's difference from the other may exceed 0, as a share of its own Euclidean norm.
    """
    ours, theirs = flat(read(first / "checkpoint.pt")), flat(read(second / "checkpoint.pt"))
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        other = theirs[path]
        if within and isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            assert (leaf - other).norm() <= within * leaf.norm(), path
        else:
            assert torch.equal(leaf, other) if isinstance(leaf, torch.Tensor) else leaf == other, path
