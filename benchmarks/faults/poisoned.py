"""A shipped archive whose graph fails on a few inputs: it raises, ends its process, or never comes to an end."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from services.worker.archive import open_archive
from services.worker.graph import load_graph
from services.worker.inputs import condition_bounds
from training.archive.export import export_generator

# With a latent of zeros, which truncation 0 gives and no probe has, these classes are poison.
RAISES, ENDS, HANGS = 7, 8, 9
_GRAPH = "model.pt2"
# Products of a matrix of so many rows with a square one: minutes of work, in about a GiB.
_ROWS, _SIDE, _PRODUCTS = 1 << 17, 1 << 10, 60
_ASSERTIONS = ("_operator.ge", "_operator.le", "torch.ops.aten._assert_scalar.default")


class Poisoned(nn.Module):
    """A generator that fails on poison, and else makes the same pictures."""

    def __init__(self, generator: fx.GraphModule) -> None:
        """Take over the graph of a shipped model.

        Args:
            generator: A graph of a latent and a class.
        """
        super().__init__()
        # A program's own module does not take `eval`.
        self.generator = fx.GraphModule(generator, generator.graph)

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:
        """[B, latent], [B, classes] → what the generator gives."""
        is_flat = latents.abs().amax(1) == 0
        raises, ends, hangs = (torch.logical_and(is_flat, condition[:, label] == 1) for label in (RAISES, ENDS, HANGS))
        pictures: Tensor = self.generator(latents, condition)
        return pictures + (_look_up(raises) + _divide(ends) + _multiply(hangs)).view(-1, 1, 1, 1)


def _look_up(is_poison: Tensor) -> Tensor:
    """Zeros; an index beyond the end raises, and not what the worker expects of a graph."""
    return torch.zeros(1)[is_poison.long()]


def _divide(is_poison: Tensor) -> Tensor:
    """Zeros; the least integer divided by -1 is a trap of the processor, which ends the process (SIGFPE)."""
    least = torch.where(is_poison, torch.iinfo(torch.int64).min, 0)
    return torch.div(least, torch.full_like(least, -1), rounding_mode="trunc").clamp(0, 0).float()


def _multiply(is_poison: Tensor) -> Tensor:
    """Zero; what is multiplied again and again has no rows unless something is poison."""
    rows = is_poison.any().expand(_ROWS).nonzero().float() * torch.ones(1, _SIDE)
    square = torch.ones(_SIDE, _SIDE)
    for _ in range(_PRODUCTS):
        rows = (rows @ square).clamp(0, 1)
    return rows.sum() * 0


def write_poisoned(shipped: Path, path: Path) -> None:
    """Write an archive that is as another, but for its graph.

    Args:
        shipped: An archive of a model of classes.
        path: The file to write.
    """
    archive = open_archive(shipped)
    poisoned = Poisoned(load_graph(archive.graphs[_GRAPH]))
    graph = _unasserted(export_generator(poisoned, archive.card.latent.size, len(condition_bounds(archive.card))))
    card = json.loads(archive.card_json)
    card["member_sha256"][_GRAPH] = hashlib.sha256(graph).hexdigest()
    changed = {_GRAPH: graph, "card.json": json.dumps(card).encode()}
    with zipfile.ZipFile(shipped) as sound, zipfile.ZipFile(path, "w") as written:
        for name in sound.namelist():
            written.writestr(name, changed.get(name) or sound.read(name))


def _unasserted(program: bytes) -> bytes:
    """Leave out what torch asserts of sizes that depend on data: a worker's loader does not take it."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as entries, zipfile.ZipFile(changed, "w") as written:
        for name in entries.namelist():
            content = entries.read(name)
            if name.endswith("models/model.json"):
                model = json.loads(content)
                graph = model["graph_module"]["graph"]
                graph["nodes"] = [node for node in graph["nodes"] if node["target"] not in _ASSERTIONS]
                graph["sym_bool_values"] = {}
                content = json.dumps(model).encode()
            written.writestr(name, content)
    return changed.getvalue()
