"""Pack a generator that was not trained here: loaded, run, exported, and checked against what its card.yaml says.

Whatever is wrong is said in one line that names the flag, the field of card.yaml, or the line of the owner's code.
"""

import importlib.util
import io
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gantry.v1 import models_pb2
from training.archive.description import Class, Description, Latent, Picture, read_description
from training.archive.export import export_graph, least_side
from training.archive.package import LATENT_EXECUTION, ArchivingError, condition_sizes, write_archive

# Opens an archive by the worker's code within it, as TorchServe does, and runs each of its graphs.
_WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from services.worker.archive import open_archive
from services.worker.runner import Runner
Runner(open_archive(Path(sys.argv[1])), "float32")
"""
_MOST_OUTSIDE = 0.1
"""Share of the values that may lie outside the card's range, at which they are cut off."""


def archive_own(
    source: str | Path, weights: Path | None, card: Path, out: Path, name: str, version: str
) -> tuple[Path, list[str]]:
    """Pack a generator of any origin.

    Args:
        source: "my_nets.py:Generator", a class or function that makes the net from the card's `arguments`; or the path
            of an exported program, which is exported anew.
        weights: A .safetensors file, or a state dict that `torch.save` wrote; None to keep those of the source.
        card: The card.yaml.
        out: The folder to write `<name>.mar` into; made if absent.
        name: Name of the model.
        version: Its version.

    Returns:
        The archive's path, and what the owner should know, a line each.

    Raises:
        ArchivingError: Something is not as it must be.
    """
    flag = f"--program {source}" if isinstance(source, Path) else f"--generator {source}"
    told = read_description(card)
    if isinstance(source, Path) and told.arguments:
        raise ArchivingError(f"--card {card}: arguments are for --generator; a --program is made already")
    full = told.card(name, version)
    (graph,) = full.graphs
    file, net = _load_program(source) if isinstance(source, Path) else _load_class(source, told)
    if weights:
        _load_weights(net, weights)
    module = _Arguments(net, told, list(condition_sizes(full, graph.inputs).values()))
    with _one_line(flag, file):
        module.float().cpu().requires_grad_(False)
        examples = _examples(full)
        pictures = [module(*example) for example in examples]
        again = module(*examples[0])
    notes = (
        [] if weights or isinstance(source, Path) else ["without --weights the model has those that the class makes"]
    )
    notes += _check_pictures(pictures, full, f"--card {card}")
    if not torch.equal(pictures[0], again):
        raise ArchivingError(f"{flag}: gives other pictures for the same inputs; draw no random numbers in forward")
    with _one_line(f"{flag}: cannot be exported", file), _silence():
        program = export_graph(module, full, graph)
        exported = [torch.export.load(io.BytesIO(program)).module()(*example) for example in examples]
    if not all(_are_alike(*pair, full) for pair in zip(pictures, exported, strict=True)):
        raise ArchivingError(f"{flag}: gives other pictures when exported than in Python")
    full.training_config = json.dumps({"generator": Path(source).name, "arguments": told.arguments}, default=str)
    full.created.FromDatetime(datetime.fromtimestamp(int((weights or file).stat().st_mtime), UTC))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.mar"
    write_archive(path, full, {graph.member: program}, check=_run_worker)
    return path, notes


class _Arguments(nn.Module):
    """Hands the latent or the picture, and each part of the condition, to a net as arguments in its own order."""

    def __init__(self, net: nn.Module, told: Description, sizes: list[int]) -> None:
        super().__init__()
        self.net = net
        self._entries, self._sizes = told.entries, sizes

    def forward(self, first: Tensor, condition: Tensor | None = None) -> Tensor:
        parts = iter(() if condition is None else condition.split(self._sizes, dim=1))
        pictures: Tensor = self.net(*(self._argument(entry, first, parts) for entry in self._entries))
        return pictures

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Change nothing: the net is in evaluation mode, and an exported one raises when told so."""
        return self

    def _argument(self, entry: Any, first: Tensor, parts: Iterator[Tensor]) -> Tensor:
        if isinstance(entry, Picture):
            return first
        if isinstance(entry, Latent):
            return first.view(-1, *entry.shape)
        part = next(parts)
        return part.argmax(dim=1) if isinstance(entry, Class) and entry.form == "index" else part


def _load_class(source: str, told: Description) -> tuple[Path, nn.Module]:
    name, _, attribute = source.rpartition(":")
    file = Path(name)
    if not file.is_file() or not attribute.isidentifier():
        raise ArchivingError(f"--generator {source}: must be a file and a class in it, such as my_nets.py:Generator")
    with _one_line(f"--generator {source}", file):
        sys.path.insert(0, str(file.parent.resolve()))  # for what the file imports from beside it
        spec = importlib.util.spec_from_file_location(f"own_{file.stem}", file)
        assert spec
        assert spec.loader
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        net = getattr(module, attribute)(**told.arguments)
    if not isinstance(net, nn.Module):
        raise ArchivingError(f"--generator {source}: must make a torch.nn.Module, not {type(net).__name__}")
    return file, net.eval()


def _load_program(source: Path) -> tuple[Path, nn.Module]:
    with _one_line(f"--program {source}", source), _silence():
        net = torch.export.load(source).module(check_guards=False)
    return source, net


def _load_weights(net: nn.Module, path: Path) -> None:
    with _one_line(f"--weights {path}", path):
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        held = _short(list(state)) if isinstance(state, dict) else type(state).__name__
        raise ArchivingError(f"--weights {path}: must be a state dict of tensors alone, and holds {held}")
    own = net.state_dict()
    faults = {
        "lacks": [key for key in own if key not in state],
        "has, unlike the net,": [key for key in state if key not in own],
        "has in another shape": [key for key in own if key in state and own[key].shape != state[key].shape],
    }
    if any(faults.values()):
        told = "; ".join(f"{fault} {_short(keys)}" for fault, keys in faults.items() if keys)
        raise ArchivingError(f"--weights {path}: {told}")
    net.load_state_dict(state)


def _short(names: list[Any]) -> str:
    return ", ".join(map(str, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _examples(card: models_pb2.ModelCard) -> list[tuple[Tensor, ...]]:
    """Inputs for the net: a chunk of images and the first one alone, or two pictures of different sizes."""
    source = torch.Generator().manual_seed(0)
    low, high = card.image.value_min, card.image.value_max
    if card.HasField("translation"):
        least = least_side(card.translation.multiple)
        sizes = ((2 * least, 3 * least), (least, least))
        return [(low + (high - low) * torch.rand(1, 3, *size, generator=source),) for size in sizes]
    rows = LATENT_EXECUTION.chunk_items
    ranges = {one.id: one for one in card.continuous_codes} | {one.name: one for one in card.attributes}
    chunk = [torch.randn(rows, card.latent.size, generator=source)]
    parts = [
        torch.linspace(ranges[name].min, ranges[name].max, rows)[:, None]
        if name in ranges
        else torch.eye(size)[torch.arange(rows) % size]
        for name, size in condition_sizes(card, card.graphs[0].inputs).items()
    ]
    chunk += [torch.cat(parts, dim=1)] if parts else []
    return [tuple(chunk), tuple(values[:1] for values in chunk)]


def _check_pictures(pictures: list[Any], card: models_pb2.ModelCard, flag: str) -> list[str]:
    """Compare what the net gave for `_examples` with its card; return what the owner should know."""
    image = card.image
    for given, example in zip(pictures, _examples(card), strict=True):
        if not isinstance(given, Tensor) or given.dtype != torch.float32:
            kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise ArchivingError(f"{flag}: forward must give a tensor of float32, and gives {kind}")
        size = example[0].shape[2:] if card.HasField("translation") else (image.height, image.width)
        expected = (len(example[0]), image.channels, *size)
        if given.shape != expected:
            raise ArchivingError(
                f"{flag}: by it pictures are [B, C, H, W] = {expected}, and forward gives {tuple(given.shape)}"
            )
    values = torch.cat([given.flatten() for given in pictures])
    if not values.isfinite().all():
        raise ArchivingError(f"{flag}: forward gives values that are not finite")
    least, greatest = values.min().item(), values.max().item()
    low, high = image.value_min, image.value_max
    told = f"pictures have values from {least:.3g} to {greatest:.3g}, by image.range {low:g} to {high:g}"
    outside = ((values < low - 1e-3) | (values > high + 1e-3)).float().mean().item()
    if outside > _MOST_OUTSIDE:
        raise ArchivingError(f"{flag}: {told}: {outside:.0%} of them lie outside")
    notes = []
    if outside or least >= (low + high) / 2:
        notes.append(f"{told}; what lies outside is cut off, what is never reached makes pale pictures")
    if card.HasField("latent") and not _are_alike(pictures[0][:1], pictures[1], card):
        card.execution.CopyFrom(models_pb2.ExecutionSpec(chunk_items=1, max_batch_items=64))
        notes.append("a picture is another in a batch than alone, so each is made alone")
    return notes


def _are_alike(one: Tensor, other: Tensor, card: models_pb2.ModelCard) -> bool:
    tolerance = 1e-3 * (card.image.value_max - card.image.value_min)
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=tolerance)


def _run_worker(archive: Path) -> None:
    done = subprocess.run([sys.executable, "-I", "-c", _WORKER, archive], capture_output=True, text=True, check=False)
    if done.returncode:
        fault = done.stderr.strip().rpartition("\n")[2].partition(": ")[2]
        raise ArchivingError(f"the model was packed, but cannot be served: {fault}")


@contextmanager
def _one_line(source: str, file: Path) -> Iterator[None]:
    """Whatever goes wrong within is the owner's: tell where in the file, and what, without a traceback."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [
            frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file.absolute()
        ]
        place = f"{file}:{lines[-1].lineno}: " if lines else ""
        if isinstance(error, SyntaxError):
            place = f"{error.filename}:{error.lineno}: "
        text = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ArchivingError(f"{source}: {place}{type(error).__name__}: {text.strip()[:300]}") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Torch prints whole graphs and logs while it fails to export."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
