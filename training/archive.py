"""Pack a trained generator into a `.mar` archive that TorchServe 0.12.0 loads as it is.

The archive is the only contract between training and serving. It holds the generator as an exported graph without
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

import torch
from google.protobuf import json_format
from torch import nn

import gantry.v1
from gantry.v1 import models_pb2

# Images per run of the graph. Larger chunks are faster per image, smaller ones answer a single image sooner.
CHUNK_ITEMS = 8
MAX_BATCH_ITEMS = 64

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

_MODEL_CONFIG = """\
# The gateway forms the batches: one call carries one envelope of many items.
batchSize: 1
maxBatchDelay: 0
responseTimeout: 60
startupTimeout: 120
deviceType: cpu
"""


class ArchivingError(ValueError):
    """What is to be packed is not ready for it; the message says what to do."""


def export_graph(generator: nn.Module, latent_size: int) -> bytes:
    """Export a class-conditional generator as a program with a dynamic batch.

    Args:
        generator: `forward(latents float32 [B, latent_size], labels int64 [B])` → float32 [B, C, H, W]; on the CPU.
        latent_size: Number of values of a latent.

    Returns:
        The content of a `.pt2` file: raw tensors and a graph, nothing pickled, no paths of this machine.
    """
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = (torch.zeros(2, latent_size), torch.zeros(2, dtype=torch.int64))
    with warnings.catch_warnings():
        # torch warns of its own use of an old name.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(generator.eval(), example, dynamic_shapes=({0: batch}, {0: batch}))
        program = program.run_decompositions()
    for node in program.graph.nodes:
        for key in _TRACE_METADATA:
            node.meta.pop(key, None)
    # Example inputs are the one thing that torch would pickle.
    program.example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def write_archive(path: Path, card: models_pb2.ModelCard, graph: bytes) -> str:
    """Write an archive.

    Args:
        path: The `.mar` file to write; replaced in one step where it exists.
        card: The card; its `member_sha256`, `execution` and `library_versions` are filled in.
        graph: What `export_graph` returned.

    Returns:
        The archive's digest: SHA-256 of its card, 64 hexadecimal digits.

    Raises:
        ArchivingError: The card's name or version is not allowed.
    """
    if not _VERSION.fullmatch(card.version):
        raise ArchivingError(f"--version {card.version}: must be a semantic version, for example 1.0.0")
    if not _NAME.fullmatch(card.name):
        raise ArchivingError(f"--name {card.name}: must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter")
    members = {"model.pt2": graph, "model-config.yaml": _MODEL_CONFIG.encode(), **_worker_sources()}
    members["MAR-INF/MANIFEST.json"] = _manifest(card)
    card.execution.CopyFrom(models_pb2.ExecutionSpec(chunk_items=CHUNK_ITEMS, max_batch_items=MAX_BATCH_ITEMS))
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


def _manifest(card: models_pb2.ModelCard) -> bytes:
    manifest = {
        "createdOn": card.created.ToDatetime().strftime("%d/%m/%Y %H:%M:%S"),
        "runtime": "python",
        "model": {
            "modelName": card.name,
            "serializedFile": "model.pt2",
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
