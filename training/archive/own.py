"""Pack a generator that was not trained here: loaded, run, exported, and checked against what its card.yaml says.

Whatever is wrong is said in one line that names the flag, the field of card.yaml, or the line of the owner's code.
"""

import io
import json
import logging
import runpy
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from math import prod
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gantry.v1 import models_pb2
from training.archive.description import Argument, read_description
from training.archive.export import export_graph, least_side
from training.archive.package import LATENT_EXECUTION, ArchivingError, list_graphs, write_archive

_WEIGHTS = "give what safetensors.torch.save_file(net.state_dict(), ...) or torch.save(net.state_dict(), ...) writes"

# Opens an archive by the worker's code within it, as TorchServe does, and runs each of its graphs.
_WORKER = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from services.worker import archive, runner
runner.Runner(archive.open_archive(pathlib.Path(sys.argv[1])), "float32")
"""


def archive_own(flag: str, source: str, weights: Path | None, card_file: Path, path: Path, version: str) -> list[str]:
    """Pack a generator of any origin.

    Args:
        flag: What the source is: "--generator" or "--program".
        source: A class, or a function that makes the net from the card's `arguments`, as FILE:NAME; or the path of an
            exported program, which is exported anew.
        weights: A .safetensors file, or a state dict that `torch.save` wrote; None to keep those of the source.
        card_file: The card.yaml.
        path: The archive to write, `<name of the model>.mar`.
        version: Version of the model.

    Returns:
        What the owner should know, a line each.

    Raises:
        ArchivingError: Something is not as it must be.
    """
    where, own = f"{flag} {source}", read_description(card_file)
    name, _, attribute = source.rpartition(":") if flag == "--generator" else (source, "", "")
    file = Path(name).absolute()
    if not file.is_file():
        fault = f"there is no file {name}" if name else "give FILE:CLASS, such as my_nets.py:Generator"
        raise ArchivingError(f"{where}: {fault}")
    if flag == "--program" and own.arguments:
        raise ArchivingError(f"--card {card_file}: arguments are for --generator; a --program is made already")
    card, names = own.card(path.stem, version)
    list_graphs(card, ["a_to_b.pt2" if card.HasField("translation") else "model.pt2"])
    (graph,) = card.graphs
    net = _load_class(where, file, attribute, own.arguments) if attribute else _load_program(where, file)
    notes = []
    if weights:
        _load_weights(net, weights)
    elif flag == "--generator":
        notes.append("without --weights the model has those that the class makes")
    inputs = dict(zip(names, own.inputs, strict=True))
    ordered = {name: inputs[name] for name in graph.inputs}
    module, examples = _Adapter(net, inputs, [*ordered][1:]), _examples([*ordered.values()], own.image.range)
    with _told(f"{where}: cannot be run on the card's inputs in their order", file):
        module.float().cpu().requires_grad_(False)
        pictures = [module(*example) for example in examples]
    notes += _check_pictures(pictures, examples, card, f"--card {card_file}")
    with _told(f"{where}: cannot be exported", file):
        program = export_graph(module, card, graph)
        exported = torch.export.load(io.BytesIO(program)).module()
        alike = [_are_alike(exported(*example), one, card) for example, one in zip(examples, pictures, strict=True)]
    if not all(alike):
        raise ArchivingError(f"{where}: gives other pictures when exported; draw no random numbers in forward")
    card.training_config = json.dumps({"generator": Path(source).name, "arguments": own.arguments}, default=str)
    card.created.FromSeconds(int((weights or file).stat().st_mtime))
    write_archive(path, card, {graph.member: program}, check=_run_worker)
    return notes


class _Adapter(nn.Module):
    """Hands the latent or the picture, and each part of the condition, to a net as arguments in its own order."""

    def __init__(self, net: nn.Module, inputs: dict[str, Argument], condition: list[str]) -> None:
        super().__init__()
        self.net, self._inputs = net, inputs
        self._sizes = {name: len(inputs[name].values) or 1 for name in condition}

    def forward(self, first: Tensor, condition: Tensor | None = None) -> Tensor:
        parts = () if condition is None else condition.split([*self._sizes.values()], dim=1)
        given = dict(zip(self._sizes, parts, strict=True))
        pictures: Tensor = self.net(*(_shaped(given.get(name, first), own) for name, own in self._inputs.items()))
        return pictures

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Change nothing: the net is in evaluation mode, and an exported one raises when told so."""
        return self


def _shaped(values: Tensor, own: Argument) -> Tensor:
    if own.word == "latent":
        return values.view(-1, *own.shape)
    return values.argmax(dim=1) if own.form == "index" else values


def _load_class(where: str, file: Path, name: str, arguments: dict[str, Any]) -> nn.Module:
    sys.path.insert(0, str(file.parent))  # for what the file imports from beside it
    with _told(where, file):
        held = runpy.run_path(str(file), run_name=file.stem)
    if name not in held:
        classes = [key for key, one in held.items() if isinstance(one, type) and one.__module__ == file.stem]
        raise ArchivingError(f"{where}: {file.name} has no {name}; its classes are {', '.join(classes) or 'none'}")
    with _told(where, file):
        net = held[name](**arguments)
    if not isinstance(net, nn.Module):
        raise ArchivingError(f"{where}: must make a torch.nn.Module, not {type(net).__name__}")
    return net.eval()


def _load_program(where: str, file: Path) -> nn.Module:
    try:
        with _told(where):
            return torch.export.load(file).module(check_guards=False)
    except ArchivingError as error:  # torch refers to warnings that nobody sees
        fault = f"cannot be read as what torch.export.save writes, of torch {torch.__version__} or before"
        raise ArchivingError(f"{where}: {fault}") from error


def _load_weights(net: nn.Module, path: Path) -> None:
    safe = path.suffix == ".safetensors"
    try:
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        fault = "cannot be read" if path.is_file() else "there is no such file"
        raise ArchivingError(f"--weights {path}: {fault}; {_WEIGHTS}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        held = f"has {', '.join(map(str, state))}" if isinstance(state, dict) else f"is a {type(state).__name__}"
        raise ArchivingError(f"--weights {path}: {textwrap.shorten(held, 200)}, and not tensors alone; {_WEIGHTS}")
    with _told(f"--weights {path}"):
        net.load_state_dict(state)


def _examples(inputs: list[Argument], ends: tuple[float, float]) -> list[tuple[Tensor, ...]]:
    """Inputs for the net: a chunk of images and the first one alone, or two pictures of different sizes."""
    source = torch.Generator().manual_seed(0)
    if inputs[0].word == "picture":
        least = least_side(inputs[0].multiple)
        sizes = ((2 * least, 3 * least), (least, least))
        return [(torch.empty(1, 3, *size).uniform_(*ends, generator=source),) for size in sizes]
    rows = LATENT_EXECUTION.chunk_items
    latents = torch.randn(rows, prod(inputs[0].shape), generator=source)
    parts = [
        torch.eye(len(own.values))[torch.arange(rows) % len(own.values)]
        if own.values
        else torch.linspace(own.min, own.max, rows)[:, None]
        for own in inputs[1:]
    ]
    chunk = (latents, torch.cat(parts, dim=1)) if parts else (latents,)
    return [chunk, tuple(values[:1] for values in chunk)]


def _check_pictures(
    pictures: list[Any], examples: list[tuple[Tensor, ...]], card: models_pb2.ModelCard, flag: str
) -> list[str]:
    """Compare what the net gave for the examples with its card; return what the owner should know."""
    image = card.image
    for given, (first, *_) in zip(pictures, examples, strict=True):
        shape = (len(first), image.channels, *(first.shape[2:] or (image.height, image.width)))
        told = (given.dtype, tuple(given.shape)) if isinstance(given, Tensor) else (type(given).__name__,)
        if told != (torch.float32, shape):
            gives = " ".join(map(str, told))
            raise ArchivingError(f"{flag}: by it forward gives [B, C, H, W] = torch.float32 {shape}, and gives {gives}")
    values = torch.cat([given.flatten() for given in pictures])
    if not values.isfinite().all():
        raise ArchivingError(f"{flag}: forward gives values that are not finite")
    least, greatest = values.min().item(), values.max().item()
    low, high = image.value_min, image.value_max
    reach = f"pictures have values from {least:.3g} to {greatest:.3g}, by image.range {low:g} to {high:g}"
    outside = ((values < low - 1e-3) | (values > high + 1e-3)).float().mean().item()
    if outside > 0.1:
        raise ArchivingError(f"{flag}: {reach}: {outside:.0%} of them lie outside")
    notes = []
    if outside or least >= (low + high) / 2:
        notes.append(f"{reach}; what lies outside is cut off, what is never reached makes pale pictures")
    if card.HasField("latent") and not _are_alike(pictures[0][:1], pictures[1], card):
        card.execution.CopyFrom(models_pb2.ExecutionSpec(chunk_items=1, max_batch_items=64))
        notes.append("a picture is another in a batch than alone, so each is made alone")
    return notes


def _are_alike(one: Tensor, other: Tensor, card: models_pb2.ModelCard) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-3 * (card.image.value_max - card.image.value_min))


def _run_worker(archive: Path) -> None:
    done = subprocess.run([sys.executable, "-I", "-c", _WORKER, archive], capture_output=True, text=True, check=False)
    if done.returncode:
        fault = done.stderr.strip().rpartition("\n")[2].partition(": ")[2]
        raise ArchivingError(f"the model was packed, but cannot be served: {fault}")


@contextmanager
def _told(source: str, file: Path | None = None) -> Iterator[None]:
    """Whatever goes wrong within is the owner's: tell where in the file, and what, in one line alone."""
    logging.disable(logging.WARNING)
    try:  # Torch prints whole graphs and logs while it fails to export.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = [f"{file}:{frame.lineno}" for frame in frames if frame.filename == str(file)][-1:]
        kind = [type(error).__name__] if type(error).__module__ == "builtins" else []
        text = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise ArchivingError(": ".join([source, *place, *kind, text])) from error
    finally:
        logging.disable(logging.NOTSET)
