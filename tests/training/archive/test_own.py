"""A generator of any origin is packed as its card.yaml says, or refused in one line that says what is wrong."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import json_format
from safetensors.torch import save_file
from torch import Tensor, nn

from services.worker.archive import open_archive
from services.worker.graph import load_graph
from training.archive.own import archive_own
from training.archive.package import ArchivingError

NETS = '''
import torch
from torch import nn

from beside import WIDTH


class Net(nn.Module):
    """[B] classes, [B, 2, 1, 1] latents and [B, 1] ages to grey 4×4 pictures."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.layers = nn.Linear(WIDTH, 16)
        self.scale = scale

    def forward(self, labels, latents, ages):
        one_hot = nn.functional.one_hot(labels, 3).float()
        inputs = torch.cat([latents[:, :, 0, 0], one_hot, ages / 80], 1)
        return torch.tanh(self.scale * self.layers(inputs)).view(-1, 1, 4, 4)


class Noisy(Net):
    def forward(self, *inputs):
        return super().forward(*inputs) * torch.rand(1)


class Wide(Net):
    def forward(self, *inputs):
        return 9 * super().forward(*inputs)


class Dark(Net):
    def forward(self, *inputs):
        return super().forward(*inputs).abs()


class Broken(Net):
    def forward(self, *inputs):
        return super().forward(*inputs) / 0


class Listed(Net):
    def forward(self, *inputs):
        return [super().forward(*inputs)]


class Tall(Net):
    def forward(self, *inputs):
        return super().forward(*inputs).repeat(1, 1, 2, 1)


class Faulty(Net):
    def forward(self, labels, latents, ages):
        return self.layers(latents)


class Sociable(Net):
    def forward(self, *inputs):
        pictures = super().forward(*inputs)
        return (pictures - pictures.mean(0)).clamp(-1, 1)


class Choosy(Net):
    def forward(self, *inputs):
        pictures = super().forward(*inputs)
        return pictures if pictures.sum() > 1e9 else -pictures


class Exotic(Net):
    def forward(self, *inputs):
        pictures = super().forward(*inputs)
        return pictures + 0 * torch.linalg.det(pictures)[..., None, None]


def number():
    return 3
'''
CARD = """
description: Squares.
licence: MIT
trained_on: squares
inputs:
  - class: {values: [a, b, c], form: index}
  - latent: [2, 1, 1]
  - attribute: {name: age, min: 18, max: 80}
image: {width: 4, height: 4, channels: 1}
"""


def line(text: str) -> str:
    """Where a text stands in the nets' file."""
    return rf"nets\.py:{NETS[: NETS.index(text)].count(chr(10)) + 1}: "


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nets, their weights, and a card."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "beside.py").write_text("WIDTH = 6")
    (folder / "nets.py").write_text(NETS)
    (folder / "syntax.py").write_text("class Net:\n    def\n")
    (folder / "exits.py").write_text("raise SystemExit('usage: exits')\n")
    (folder / "card.yaml").write_text(CARD)
    state = {f"layers.{name}": value for name, value in nn.Linear(6, 16).state_dict().items()}
    save_file(state, folder / "g.safetensors")
    torch.save(state, folder / "g.pth")
    (folder / "broken.safetensors").write_text("no weights")
    torch.save({"state": state, "epoch": 3}, folder / "nested.pth")
    torch.save(nn.Linear(2, 2), folder / "pickled.pth")
    save_file({"layers.weight": torch.zeros(16, 5), "head": torch.zeros(1)}, folder / "other.safetensors")
    return folder


def pack(owned: Path, out: Path, net: str = "nets.py:Net", weights: str | None = "g.safetensors", card: str = CARD):
    path = out / "card.yaml"
    path.write_text(card)
    source = f"{owned}/{net}"
    archive = out / "mine.mar"
    return archive, archive_own("--generator", source, owned / weights if weights else None, path, archive, "1.0.0")


SCALED = CARD + "arguments: {scale: 0.5}"


@pytest.fixture(scope="module")
def packed(owned: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The archive of a sound net, and its notes."""
    return pack(owned, tmp_path_factory.mktemp("packed"), card=SCALED)


def test_the_card_and_the_graph_are_the_owners(owned: Path, packed: tuple[Path, list[str]]) -> None:
    path, notes = packed
    archive = open_archive(path)
    card = archive.card
    assert notes == []
    assert (card.name, card.description, card.training_data.licence) == ("mine", "Squares.", "MIT")
    assert [known.name for known in card.classes] == ["a", "b", "c"]
    assert json_format.MessageToDict(card.attributes[0]) == {"name": "age", "min": 18, "max": 80}
    assert (card.latent.size, card.image.width, card.image.channels) == (2, 4, 1)
    assert list(card.graphs[0].inputs) == ["latent", "class", "age"]
    assert str(owned) not in card.training_config
    linear = nn.Linear(6, 16)
    linear.load_state_dict({key[7:]: value for key, value in torch.load(owned / "g.pth").items()})
    latents, age = torch.tensor([[0.3, -1.0]]), 40.0
    picture = load_graph(archive.graphs["model.pt2"])(latents, torch.tensor([[0.0, 0.0, 1.0, age]]))
    expected = torch.tanh(0.5 * linear(torch.tensor([[0.3, -1.0, 0.0, 0.0, 1.0, age / 80]])))
    np.testing.assert_allclose(picture.detach().flatten(), expected.detach().flatten(), atol=1e-6)


def test_the_same_files_give_the_same_archive(owned: Path, packed: tuple[Path, list[str]], tmp_path: Path) -> None:
    assert pack(owned, tmp_path, card=SCALED)[0].read_bytes() == packed[0].read_bytes()


@pytest.mark.parametrize(
    ("net", "note"),
    [
        ("Sociable", "a picture is another in a batch than alone, so each is made alone"),
        ("Dark", r"values from .* by image\.range -1 to 1; what lies outside is cut off"),
    ],
)
def test_what_its_owner_should_know_is_noted(owned: Path, tmp_path: Path, net: str, note: str) -> None:
    path, notes = pack(owned, tmp_path, f"nets.py:{net}")
    assert len(notes) == 1
    assert re.search(note, notes[0])
    assert open_archive(path).card.execution.chunk_items == (1 if net == "Sociable" else 8)


@pytest.mark.parametrize(
    ("net", "weights", "fault"),
    [
        (
            "nowhere.py:Net",
            None,
            r"--generator .*nowhere\.py:Net: there is no file .*nowhere\.py$",
        ),
        ("nets.py", None, r"--generator .*: give FILE:CLASS, such as my_nets\.py:Generator"),
        ("nets.py:Nothing", None, r"--generator .*: .*nets\.py has no Nothing; its classes are Net, Noisy, Wide, "),
        ("nets.py:number", None, r"--generator .*: must make a torch\.nn\.Module, not int"),
        ("syntax.py:Net", None, r"--generator .*: SyntaxError: .*syntax\.py, line 2"),
        ("exits.py:Net", None, r"--generator .*: .*exits\.py:1: SystemExit: usage: exits"),
        (
            "nets.py:Net",
            "none.pth",
            r"--weights .*none\.pth: there is no such file; give what .*save_file\(net",
        ),
        (
            "nets.py:Net",
            "nets.py",
            r"--weights .*nets\.py: cannot be read; give what .*save_file\(net",
        ),
        ("nets.py:Net", "broken.safetensors", r"--weights .*: cannot be read; give what .*save_file\(net\.state_dict"),
        ("nets.py:Net", "pickled.pth", r"--weights .*pickled\.pth: cannot be read; give what"),
        ("nets.py:Net", "nested.pth", r"--weights .*: has state, epoch, and not tensors alone; give what .*save_file"),
        (
            "nets.py:Net",
            "other.safetensors",
            r"Missing key.*layers\.bias.*Unexpected key.*head.*size mismatch for layers\.weight",
        ),
        (
            "nets.py:Noisy",
            "g.pth",
            "--generator .*: gives other pictures when exported; draw no random numbers",
        ),
        ("nets.py:Wide", "g.pth", r"--card .*: pictures have values from .* by image\.range -1 to 1: \d+% of them"),
        ("nets.py:Broken", "g.pth", "--card .*: forward gives values that are not finite"),
        ("nets.py:Listed", "g.pth", "--card .*: by it forward gives .*float32 .*, and gives list"),
        ("nets.py:Tall", "g.pth", r"--card .*float32 \(8, 1, 4, 4\), and gives torch\.float32 \(8, 1, 8, 4\)"),
        (
            "nets.py:Faulty",
            "g.pth",
            "--generator .*: .*" + line("return self.layers(latents)") + "RuntimeError: mat1 and mat2",
        ),
        (
            "nets.py:Choosy",
            "g.pth",
            "cannot be exported: .*" + line("return pictures if") + "Could not guard on data-dependent",
        ),
        ("nets.py:Exotic", "g.pth", r"cannot be served: .*model\.pt2: .*not allowed"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    owned: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], net: str, weights: str | None, fault: str
) -> None:
    with pytest.raises(ArchivingError, match=fault) as refusal:
        pack(owned, tmp_path, net, weights)
    assert "\n" not in str(refusal.value)
    assert "".join(capfd.readouterr()) == ""
    assert not list(tmp_path.glob("*.mar*"))


class Doubling(nn.Module):
    """A picture to one twice as bright, or of half the height where that is asked for."""

    def __init__(self, rows: int = 1) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, pictures: Tensor) -> Tensor:
        return (2 * pictures[:, :, :: self.rows]).clamp(-1, 1)


TRANSLATOR_CARD = "inputs: [picture: {source: dim, target: bright, multiple: 2}]"


def program(folder: Path, net: nn.Module, *, dynamic: bool) -> Path:
    height, width = (2 * torch.export.Dim(name, min=2) for name in ("rows", "columns"))
    shapes = ({2: height, 3: width},) if dynamic else None
    exported = torch.export.export(net, (torch.zeros(1, 3, 20, 32),), dynamic_shapes=shapes)
    torch.export.save(exported, folder / "g.pt2")
    return folder / "g.pt2"


def pack_program(folder: Path, path: Path, card: str) -> Path:
    (folder / "card.yaml").write_text(card)
    archive_own("--program", str(path), None, folder / "card.yaml", folder / "mine.mar", "1.0.0")
    return folder / "mine.mar"


def test_a_program_is_exported_anew(tmp_path: Path) -> None:
    archive = open_archive(pack_program(tmp_path, program(tmp_path, Doubling(), dynamic=True), TRANSLATOR_CARD))
    assert list(archive.graphs) == ["a_to_b.pt2"]
    (graph,) = archive.card.graphs
    assert (list(graph.inputs), graph.source_domain, graph.target_domain) == (["picture"], "dim", "bright")
    assert archive.card.execution.chunk_items == 1
    assert load_graph(archive.graphs["a_to_b.pt2"])(torch.full((1, 3, 48, 16), 0.25)).mean() == 0.5


@pytest.mark.parametrize(
    ("net", "dynamic", "card", "fault"),
    [
        (
            Doubling(),
            False,
            TRANSLATOR_CARD,
            r"--program .*: cannot be run .*: RuntimeError: Expected .* equal to 20",
        ),
        (
            Doubling(2),
            True,
            TRANSLATOR_CARD,
            r"--card .*float32 \(1, 3, 32, 48\), and gives .* \(1, 3, 16, 48\)",
        ),
        (Doubling(), True, TRANSLATOR_CARD + "\narguments: {a: 1}", "--card .*: arguments are for --generator"),
    ],
)
def test_a_program_that_does_not_fit_is_refused(
    tmp_path: Path, net: nn.Module, dynamic: bool, card: str, fault: str
) -> None:
    with pytest.raises(ArchivingError, match=fault):
        pack_program(tmp_path, program(tmp_path, net, dynamic=dynamic), card)


def test_a_program_with_its_arguments_in_another_order_is_refused(tmp_path: Path) -> None:
    class Labelled(nn.Module):
        def forward(self, label: Tensor, latents: Tensor) -> Tensor:
            return torch.tanh(torch.cat([label, latents], 1)).view(-1, 1, 2, 3)

    batch = torch.export.Dim("batch", min=1, max=64)
    example = (torch.zeros(2, 2), torch.zeros(2, 4))
    torch.export.save(torch.export.export(Labelled(), example, dynamic_shapes=({0: batch},) * 2), tmp_path / "g.pt2")
    inputs = {"right": "[class: 2, latent: 4]", "other": "[latent: 4, class: 2]"}
    card = "image: {width: 3, height: 2, channels: 1}\ninputs: "
    with pytest.raises(ArchivingError, match=r"--program .*: cannot be run on the card's inputs in their order: "):
        pack_program(tmp_path, tmp_path / "g.pt2", card + inputs["other"])
    assert pack_program(tmp_path, tmp_path / "g.pt2", card + inputs["right"]).exists()


@pytest.mark.parametrize(
    ("name", "fault"), [("g.pt2", "cannot be read as what torch.export.save writes"), ("no.pt2", "there is no file")]
)
def test_a_file_that_is_no_program_is_refused(owned: Path, tmp_path: Path, name: str, fault: str) -> None:
    shutil.copy(owned / "nets.py", tmp_path / "g.pt2")
    with pytest.raises(ArchivingError, match=f"--program .*{name}: {fault}"):
        pack_program(tmp_path, tmp_path / name, TRANSLATOR_CARD)
