"""Pack a trained model into a `.mar` archive that TorchServe 0.12.0 loads as it is.

The archive is the only contract between training and serving. It holds the generators as exported graphs without
pickled objects, the worker's source code for TorchServe, and the model card with the digest of every other member.
The same inputs give the same bytes.
"""

import hashlib
import io
import json
import platform
import re
import subprocess
import warnings
import zipfile
from collections.abc import Mapping
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import torch
from google.protobuf import json_format
from torch import Tensor, nn

import gantry.v1
from gantry.v1 import models_pb2

# Of models from latents. Larger chunks are faster per image, smaller ones answer a single image sooner.
LATENT_EXECUTION = models_pb2.ExecutionSpec(chunk_items=8, max_batch_items=64)
# Of translation models, whose pictures are of any size: a batch would have to be of one.
TRANSLATION_EXECUTION = models_pb2.ExecutionSpec(chunk_items=1, max_batch_items=4, bfloat16=True)

# Also a DNS label, so that it can name things of Kubernetes.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){2}([-+][0-9A-Za-z.+-]{1,63})?")
_SOURCE_ROOT = Path(__file__).resolve().parent.parent
# What a zip holds as a time is its earliest moment: the real ones would make every archive different.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_CODE = ("protos", "services", "training", "pyproject.toml")
_RECORDED_LIBRARIES = ("numpy", "pillow", "protobuf", "torch", "torchvision")
# Node metadata that names files and lines of the machine that exported the graph.
_TRACE_METADATA = ("from_node", "nn_module_stack", "source_fn_stack", "stack_trace", "torch_fn")

_LEAST_SIDE = 16
_MODEL_CONFIG = """\
# The gateway forms the batches: one call carries one envelope of many items.
batchSize: 1
maxBatchDelay: 0
responseTimeout: {response_seconds}
startupTimeout: {startup_seconds}
deviceType: cpu
"""


class ArchivingError(ValueError):
    """What is to be packed is not ready for it; the message says what to do."""


def export_generator(generator: nn.Module, latent_size: int, condition_size: int) -> bytes:
    """Export a generator as a program with a dynamic batch.

    Args:
        generator: `forward(latents float32 [B, latent_size], condition float32 [B, condition_size])` → float32
            [B, C, H, W]; on the CPU. Without a condition it is `forward(latents)`.
        latent_size: Number of values of a latent.
        condition_size: Number of values of a condition; 0 for none.

    Returns:
        The content of a `.pt2` file: raw tensors and a graph, nothing pickled, no paths of this machine.
    """
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = tuple(torch.zeros(2, size) for size in (latent_size, condition_size) if size)
    return _export(generator, example, ({0: batch},) * len(example))


def export_translator(translator: nn.Module, multiple: int) -> bytes:
    """Export one direction of a translation model as a program for a picture of dynamic height and width.

    Args:
        translator: `forward(pictures float32 [1, 3, H, W])` → the same shape; on the CPU.
        multiple: Divides H and W; 1 to 256.

    Returns:
        The content of a `.pt2` file, as of `export_generator`.
    """
    least = -(-_LEAST_SIDE // multiple)
    height, width = (multiple * torch.export.Dim(name, min=least) for name in ("rows", "columns"))
    # The example's height and width differ, since the program would take equal ones to be equal always.
    example = torch.zeros(1, 3, multiple * 2 * least, multiple * 3 * least)
    return _export(translator, (example,), ({2: height, 3: width},))


def write_archive(path: Path, card: models_pb2.ModelCard, graphs: Mapping[str, bytes]) -> str:
    """Write an archive.

    Args:
        path: The `.mar` file to write; replaced in one step where it exists.
        card: The card; its `member_sha256`, `execution` and `library_versions` are filled in, and `graphs` where it
            lists none: their inputs are then all that the card describes, in its order.
        graphs: Member name → exported program: `model.pt2` from `export_generator`, or `a_to_b.pt2`, `b_to_a.pt2` or
            both from `export_translator`.

    Returns:
        The archive's digest: SHA-256 of its card, 64 hexadecimal digits.

    Raises:
        ArchivingError: The card's name or version is not allowed.
    """
    if not _VERSION.fullmatch(card.version):
        raise ArchivingError(f"--version {card.version}: must be a semantic version, for example 1.0.0")
    if not _NAME.fullmatch(card.name):
        raise ArchivingError(f"--name {card.name}: must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter")
    if not card.graphs:
        card.graphs.extend(_graph(card, member) for member in graphs)
    translates = "picture" in card.graphs[0].inputs
    members = {**graphs, "model-config.yaml": _model_config(translates), **_worker_sources()}
    members["MAR-INF/MANIFEST.json"] = _manifest(card, serialized_file=min(graphs))
    card.execution.CopyFrom(TRANSLATION_EXECUTION if translates else LATENT_EXECUTION)
    card.library_versions.update(_library_versions())
    card.member_sha256.update({name: hashlib.sha256(content).hexdigest() for name, content in members.items()})
    card_json = _card_json(card)
    _write_zip(path, {**members, "card.json": card_json})
    return hashlib.sha256(card_json).hexdigest()


def git_commit() -> str:
    """Return the commit of this source tree, with "-dirty" where its code was changed, or "unknown"."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}-dirty" if _git("status", "--porcelain", "--", *_CODE) else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _graph(card: models_pb2.ModelCard, member: str) -> models_pb2.Graph:
    """The entry of a graph that takes all that the card describes."""
    if card.HasField("translation"):
        domains = [card.translation.domain_a, card.translation.domain_b]
        source, target = reversed(domains) if member == "b_to_a.pt2" else domains
        return models_pb2.Graph(member=member, inputs=["picture"], source_domain=source, target_domain=target)
    codes = [*(code.id for code in card.categorical_codes), *(code.id for code in card.continuous_codes)]
    attributes = [attribute.name for attribute in card.attributes]
    label = ["class"] if card.classes else []
    return models_pb2.Graph(member=member, inputs=["latent", *label, *codes, *attributes])


def _export(module: nn.Module, example: tuple[Tensor, ...], dynamic_shapes: tuple[Any, ...]) -> bytes:
    with warnings.catch_warnings():
        # torch warns of its own use of an old name.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(module.eval(), example, dynamic_shapes=dynamic_shapes)
        program = program.run_decompositions()
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            # What is left of a conversion to the type that a tensor has.
            program.graph.erase_node(node)
        for key in _TRACE_METADATA:
            node.meta.pop(key, None)
    # Of a product such as 4·rows torch writes a range beside that of its symbol, and does not know it again.
    # The order of the others follows from what the process exported before.
    ranges = sorted((str(known), known, program.range_constraints[known]) for known in program.range_constraints)
    program.range_constraints.clear()
    program.range_constraints.update({known: bounds for _, known, bounds in ranges if known.is_Symbol})
    # Example inputs are the one thing that torch would pickle.
    program.example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_SOURCE_ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _worker_sources() -> dict[str, bytes]:
    """The serving code that TorchServe runs, read as data: training imports none of it."""
    worker, stubs = _SOURCE_ROOT / "services" / "worker", Path(gantry.v1.__path__[0])
    sources = {"services/__init__.py": _SOURCE_ROOT / "services" / "__init__.py"}
    sources |= {f"services/worker/{path.name}": path for path in worker.glob("*.py") if path.name != "handler.py"}
    sources |= {f"gantry/v1/{path.name}": path for path in stubs.glob("*_pb2.py")}
    sources["handler.py"] = worker / "handler.py"
    return {name: path.read_bytes() for name, path in sorted(sources.items())}


def _model_config(translates: bool) -> bytes:
    # A translator may have to be compiled first, and takes seconds for a large picture.
    config = _MODEL_CONFIG.format(
        response_seconds=300 if translates else 60, startup_seconds=600 if translates else 120
    )
    return config.encode()


def _manifest(card: models_pb2.ModelCard, serialized_file: str) -> bytes:
    manifest = {
        "createdOn": card.created.ToDatetime().strftime("%d/%m/%Y %H:%M:%S"),
        "runtime": "python",
        "model": {
            "modelName": card.name,
            "serializedFile": serialized_file,
            "handler": "handler.py",
            "modelVersion": card.version,
            "configFile": "model-config.yaml",
        },
        "archiverVersion": "gantry",
    }
    return json.dumps(manifest, indent=2).encode()


def _library_versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: library_version(name) for name in _RECORDED_LIBRARIES}


def _card_json(card: models_pb2.ModelCard) -> bytes:
    text = json_format.MessageToJson(
        card,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        sort_keys=True,
        ensure_ascii=False,
    )
    return text.encode()


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    unfinished = path.with_suffix(".mar.part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as mar:
        for name, content in sorted(members.items()):
            info = zipfile.ZipInfo(name, _ZIP_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            mar.writestr(info, content)
    unfinished.replace(path)
