"""Pack a trained model into a `.mar` archive that TorchServe 0.12.0 loads as it is.

The archive is the only contract between training and serving. It holds the generators as exported graphs without
pickled objects, the worker's source code for TorchServe, and the model card with the digest of every other member.
The same inputs give the same bytes.
"""

import hashlib
import json
import platform
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version as library_version
from pathlib import Path

from google.protobuf import json_format

import gantry.v1
from gantry.v1 import models_pb2

# Of models from latents. Larger chunks are faster per image, smaller ones answer a single image sooner.
LATENT_EXECUTION = models_pb2.ExecutionSpec(chunk_items=8, max_batch_items=64)
# Of translation models, whose pictures are of any size: a batch would have to be of one.
TRANSLATION_EXECUTION = models_pb2.ExecutionSpec(chunk_items=1, max_batch_items=4, bfloat16=True)

# Also a DNS label, so that it can name things of Kubernetes.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){2}([-+][0-9A-Za-z.+-]{1,63})?")
_SOURCE_ROOT = Path(__file__).resolve().parents[2]
# What a zip holds as a time is its earliest moment: the real ones would make every archive different.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_CODE = ("protos", "services", "training", "pyproject.toml")
_RECORDED_LIBRARIES = ("numpy", "pillow", "protobuf", "torch", "torchvision")

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


def write_archive(
    path: Path, card: models_pb2.ModelCard, graphs: Mapping[str, bytes], check: Callable[[Path], None] | None = None
) -> str:
    """Write an archive.

    Args:
        path: The `.mar` file to write; replaced in one step where it exists.
        card: The card; its `member_sha256` and `library_versions` are filled in, and so are, where they are missing,
            `graphs`, whose inputs are then all that the card describes in its order, `kind` and `execution`.
        graphs: Member name → exported program: `model.pt2` from `export_generator`, or `a_to_b.pt2`, `b_to_a.pt2` or
            both from `export_translator`.
        check: Is shown the finished archive before it comes to `path`, and may raise to keep it from there.

    Returns:
        The archive's digest: SHA-256 of its card, 64 hexadecimal digits.

    Raises:
        ArchivingError: The card's name or version is not allowed.
    """
    if not _VERSION.fullmatch(card.version):
        raise ArchivingError(f"--version {card.version}: must be a semantic version, for example 1.0.0")
    if not _NAME.fullmatch(card.name):
        raise ArchivingError(f"--name {card.name}: must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter")
    list_graphs(card, graphs)
    card.kind = card.kind or _kind(card)
    translates = "picture" in card.graphs[0].inputs
    if not card.HasField("execution"):
        card.execution.CopyFrom(TRANSLATION_EXECUTION if translates else LATENT_EXECUTION)
    members = {**graphs, "model-config.yaml": _model_config(translates), **_worker_sources()}
    members["MAR-INF/MANIFEST.json"] = _manifest(card, serialized_file=min(graphs))
    card.library_versions.update(_library_versions())
    card.member_sha256.update({name: hashlib.sha256(content).hexdigest() for name, content in members.items()})
    card_json = _card_json(card)
    _write_zip(path, {**members, "card.json": card_json}, check)
    return hashlib.sha256(card_json).hexdigest()


def list_graphs(card: models_pb2.ModelCard, members: Iterable[str]) -> None:
    """List the archive's graphs in a card that has none yet; each takes all that the card describes, in its order."""
    if not card.graphs:
        card.graphs.extend(_graph(card, member) for member in members)


def condition_sizes(card: models_pb2.ModelCard, inputs: Sequence[str]) -> dict[str, int]:
    """Return how many values of the condition each of a graph's inputs takes, in its order; the first takes none."""
    sizes = {"class": len(card.classes)} | {code.id: len(code.values) for code in card.categorical_codes}
    return {name: sizes.get(name, 1) for name in inputs[1:]}


def git_commit() -> str:
    """Return the commit of this source tree, with "-dirty" where its code was changed, or "unknown"."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}-dirty" if _git("status", "--porcelain", "--", *_CODE) else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _graph(card: models_pb2.ModelCard, member: str) -> models_pb2.Graph:
    if card.HasField("translation"):
        domains = (card.translation.domain_a, card.translation.domain_b)
        source, target = reversed(domains) if member == "b_to_a.pt2" else domains
        return models_pb2.Graph(member=member, inputs=["picture"], source_domain=source, target_domain=target)
    codes = [*(code.id for code in card.categorical_codes), *(code.id for code in card.continuous_codes)]
    attributes = [attribute.name for attribute in card.attributes]
    return models_pb2.Graph(member=member, inputs=["latent", *(["class"] if card.classes else []), *codes, *attributes])


def _kind(card: models_pb2.ModelCard) -> "models_pb2.ModelKind.ValueType":
    if card.HasField("translation"):
        return models_pb2.MODEL_KIND_TRANSLATION
    if card.categorical_codes or card.continuous_codes:
        return models_pb2.MODEL_KIND_CODE_CONDITIONAL
    if card.classes:
        return models_pb2.MODEL_KIND_CLASS_CONDITIONAL
    return models_pb2.MODEL_KIND_ATTRIBUTE_CONDITIONAL if card.attributes else models_pb2.MODEL_KIND_UNCONDITIONAL


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


def _write_zip(path: Path, members: Mapping[str, bytes], check: Callable[[Path], None] | None) -> None:
    unfinished = path.with_suffix(".mar.part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as mar:
            for name, content in sorted(members.items()):
                info = zipfile.ZipInfo(name, _ZIP_EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                mar.writestr(info, content)
        if check:
            check(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
