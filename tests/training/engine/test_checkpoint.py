"""Checkpoints: whole or not at all, two of them, and no code in them."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from training.engine import checkpoint
from training.engine.checkpoint import CheckpointError, read, read_newest, save, save_generation

ORIGIN = {"settings": {"batch": 4}}


@pytest.fixture
def two_generations(tmp_path: Path) -> Path:
    for images in (10, 20):
        save_generation(tmp_path, images, {"progress": {"images": images, "noise": torch.randn(1000)}}, ORIGIN)
    return tmp_path


def test_gives_back_what_was_saved(tmp_path: Path) -> None:
    path, net, other = tmp_path / "1.safetensors", nn.Linear(3, 2), nn.Linear(3, 2)
    save(path, {"net": net.state_dict()}, ORIGIN)
    saved = read(path)
    saved.restore({"net": other})
    assert torch.equal(net.weight, other.weight)
    assert saved.origin == ORIGIN
    assert list(tmp_path.iterdir()) == [path]


def test_adam_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Its state has numbers for keys, and lies in memory as the weights do."""

    def moved(net: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        net(torch.ones(1, 2, 4, 4)).square().sum().backward()
        optimizer.step()
        return net.weight

    nets = [nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    first, second = (torch.optim.Adam(net.parameters(), fused=True) for net in nets)
    moved(nets[0], first)
    save(tmp_path / "1.safetensors", {"net": nets[0].state_dict(), "optimizer": first.state_dict()}, ORIGIN)
    read(tmp_path / "1.safetensors").restore({"net": nets[1], "optimizer": second})
    nets[1].zero_grad()
    nets[0].zero_grad()
    assert second.state[nets[1].weight]["exp_avg"].stride() == first.state[nets[0].weight]["exp_avg"].stride()
    assert torch.equal(moved(nets[0], first), moved(nets[1], second))


def test_two_generations_are_kept(two_generations: Path) -> None:
    save_generation(two_generations, 30, {}, ORIGIN)
    assert [path.name for path in checkpoint.generations(two_generations)] == [
        "000000030.safetensors",
        "000000020.safetensors",
    ]


def flip_last_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    "harm",
    [flip_last_bit, lambda content: content[:-100], lambda content: content[:5], lambda _: b""],
    ids=["bit", "end", "start", "all"],
)
def test_the_older_is_read_where_the_newer_is_torn(two_generations: Path, harm, capsys) -> None:
    newest = two_generations / "000000020.safetensors"
    newest.write_bytes(harm(newest.read_bytes()))
    saved = read_newest(two_generations)
    assert saved is not None
    assert saved.state["progress"]["images"] == 10
    said = capsys.readouterr().err
    assert f"{newest}: not a readable checkpoint" in said
    assert "going back to the one before" in said


def test_two_torn_ones_are_no_new_run(two_generations: Path) -> None:
    for path in two_generations.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"000000010.safetensors: not a readable checkpoint"):
        read_newest(two_generations)


def test_a_failed_save_leaves_the_last_one(two_generations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError("disk full")

    newest = two_generations / "000000020.safetensors"
    before = newest.read_bytes()
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="disk full"):
        save_generation(two_generations, 20, {"other": {}}, ORIGIN)
    assert newest.read_bytes() == before


def test_other_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.safetensors"
    save(path, {"generator": {}}, ORIGIN)
    with pytest.raises(CheckpointError, match=r"holds \['generator'\], expected \['encoder'\]"):
        read(path).restore({"encoder": nn.Linear(3, 2)})


def test_a_missing_one_and_one_of_another_version_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.safetensors"
    with pytest.raises(CheckpointError, match=f"{path}: there is no checkpoint"):
        read(path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_FORMAT", "0")
        save(path, {}, ORIGIN)
    with pytest.raises(CheckpointError, match=f"{path}: not a checkpoint of this version"):
        read(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    path = tmp_path / "1.safetensors"
    torch.save({"net": Attack()}, path, pickle_module=pickle)
    with pytest.raises(CheckpointError):
        read(path)
    assert not (tmp_path / "attacked").exists()
