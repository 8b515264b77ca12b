"""Checkpoints: whole or not at all, and no code in them."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from training.engine.checkpoint import CheckpointError, read, restore, save


def test_gives_back_what_was_saved(tmp_path: Path) -> None:
    path, net = tmp_path / "checkpoint.pt", nn.Linear(3, 2)
    save(path, {"net": net})
    other = nn.Linear(3, 2)
    restore(path, {"net": other})
    assert torch.equal(net.weight, other.weight)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_the_last_one(tmp_path: Path) -> None:
    class Broken(nn.Linear):
        def state_dict(self, *args, **kwargs):
            raise OSError("disk full")

    path = tmp_path / "checkpoint.pt"
    save(path, {"net": nn.Linear(3, 2)})
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        save(path, {"net": Broken(3, 2)})
    assert path.read_bytes() == before


def test_other_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, {"generator": nn.Linear(3, 2)})
    with pytest.raises(CheckpointError, match=r"holds \['generator'\], expected \['encoder'\]"):
        restore(path, {"encoder": nn.Linear(3, 2)})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(CheckpointError, match=f"{path}: there is no checkpoint"):
        read(path)
    save(path, {"net": nn.Linear(3, 2)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"{path}: not a readable checkpoint"):
        read(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    path = tmp_path / "checkpoint.pt"
    torch.save({"net": Attack()}, path, pickle_module=pickle)
    with pytest.raises(CheckpointError):
        read(path)
    assert not (tmp_path / "attacked").exists()
