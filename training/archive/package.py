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
from collections.abc import Callable, Iterable, Mapping
from functools import partial
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
_CODE = ("protos", "services", "training", "pyproject.toml")
_RECORDED_LIBRARIES = ("numpy", "pillow", "protobuf", "torch", "torchvision")


class ArchivingError(ValueError):
    """What is to be packed is not ready for it; the message says what to do."""


def refuse_name(name: str, version: str) -> None:
    """Refuse a name or a version that no archive may have.

    Raises:
        ArchivingError: The message names the flag.
    """
    if not _NAME.fullmatch(name):
        raise ArchivingError(f"--name {name}: must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter")
    if not _VERSION.fullmatch(version):
        raise ArchivingError(f"--version {version}: must be a semantic version, for example 1.0.0")


def write_archive(
    path: Path, card: models_pb2.ModelCard, graphs: Mapping[str, bytes], check: Callable[[Path], None] | None = None
) -> str:
    """Write an archive.

    Args:
        path: The `.mar` file to write; replaced in one step where it exists.
        card: The card; `kind`, `member_sha256`, `library_versions` and, where missing, `graphs` and `execution` are
            filled in.
        graphs: Member name → exported program: `model.pt2` from `export_generator`, or `a_to_b.pt2`, `b_to_a.pt2` or
            both from `export_translator`.
        check: Is shown the finished archive before it comes to `path`, and may raise to keep it from there.

    Returns:
        The archive's digest: SHA-256 of its card, 64 hexadecimal digits.

    Raises:
        ArchivingError: It cannot be written.
    """
    list_graphs(card, graphs)
    card.kind = _kind(card)
    translates = card.HasField("translation")
    if not card.HasField("execution"):
        card.execution.CopyFrom(TRANSLATION_EXECUTION if translates else LATENT_EXECUTION)
    members = {**graphs, "model-config.yaml": _model_config(translates), **_worker_sources()}
    members["MAR-INF/MANIFEST.json"] = _manifest(card)
    card.library_versions.update({name: library_version(name) for name in _RECORDED_LIBRARIES})
    card.library_versions["python"] = platform.python_version()
    card.member_sha256.update({name: hashlib.sha256(content).hexdigest() for name, content in members.items()})
    text = json_format.MessageToJson(
        card,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        sort_keys=True,
        ensure_ascii=False,
    )
    members["card.json"] = text.encode()
    _write_zip(path, members, check)
    return hashlib.sha256(members["card.json"]).hexdigest()


def list_graphs(card: models_pb2.ModelCard, members: Iterable[str]) -> None:
    """List the archive's graphs in a card that has none yet; each takes all that the card describes, in its order."""
    if card.graphs:
        return
    codes = [*(code.id for code in card.categorical_codes), *(code.id for code in card.continuous_codes)]
    conditions = [*(["class"] if card.classes else []), *codes, *(attribute.name for attribute in card.attributes)]
    ways = {"a_to_b.pt2": (card.translation.domain_a, card.translation.domain_b)}
    ways["b_to_a.pt2"] = (card.translation.domain_b, card.translation.domain_a)
    for member in members:
        source, target = ways.get(member, ("", ""))
        inputs = ["picture"] if member in ways else ["latent", *conditions]
        card.graphs.add(member=member, inputs=inputs, source_domain=source, target_domain=target)


def git_commit() -> str:
    """Return the commit of this source tree, with "-dirty" where its code was changed, or "unknown"."""
    git = partial(subprocess.check_output, cwd=_SOURCE_ROOT, stderr=subprocess.DEVNULL, text=True)
    try:
        commit = git(["git", "rev-parse", "HEAD"]).strip()
        return f"{commit}-dirty" if git(["git", "status", "--porcelain", "--", *_CODE]) else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _kind(card: models_pb2.ModelCard) -> "models_pb2.ModelKind.ValueType":
    if card.HasField("translation"):
        return models_pb2.MODEL_KIND_TRANSLATION
    if card.categorical_codes or card.continuous_codes:
        return models_pb2.MODEL_KIND_CODE_CONDITIONAL
    if card.classes:
        return models_pb2.MODEL_KIND_CLASS_CONDITIONAL
    return models_pb2.MODEL_KIND_ATTRIBUTE_CONDITIONAL if card.attributes else models_pb2.MODEL_KIND_UNCONDITIONAL


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
    response, startup = (300, 600) if translates else (60, 120)
    # The gateway forms the batches: one call carries one envelope of many items.
    config = "batchSize: 1\nmaxBatchDelay: 0\ndeviceType: cpu\n"
    return f"{config}responseTimeout: {response}\nstartupTimeout: {startup}\n".encode()


def _manifest(card: models_pb2.ModelCard) -> bytes:
    model = {
        "modelName": card.name,
        "serializedFile": card.graphs[0].member,
        "handler": "handler.py",
        "modelVersion": card.version,
        "configFile": "model-config.yaml",
    }
    created = card.created.ToDatetime().strftime("%d/%m/%Y %H:%M:%S")
    return json.dumps({"createdOn": created, "runtime": "python", "model": model, "archiverVersion": "gantry"}).encode()


def _write_zip(path: Path, members: Mapping[str, bytes], check: Callable[[Path], None] | None) -> None:
    unfinished = path.with_suffix(".mar.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(unfinished, "w") as mar:
            for name, content in sorted(members.items()):
                # Its earliest moment stands as the time: the real ones would make every archive different.
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o644 << 16
                mar.writestr(info, content, zipfile.ZIP_DEFLATED, 9)
        if check:
            check(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise ArchivingError(f"--out {path.parent}: cannot be written: {error}") from error
    finally:
        if path.parent.is_dir():
            unfinished.unlink(missing_ok=True)
