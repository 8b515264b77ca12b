"""Open an archive, check every member against the card, and hand out what a worker needs.

An archive is a `.mar` file or the folder TorchServe unpacked it into. Its digest is the SHA-256 of `card.json`:
the card holds the digest of every other member, so one value stands for the whole archive, and a gateway and a
worker that see it in different forms agree on it.
"""

import hashlib
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from gantry.v1 import models_pb2

CARD_MEMBER = "card.json"
GRAPH_MEMBER = "model.pt2"
MAX_MEMBER_BYTES = 1 << 30

MAX_SIDE = 16384
MAX_LATENT_SIZE = 65536

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){2}([-+][0-9A-Za-z.+-]{1,63})?")


class ArchiveError(Exception):
    """An archive that is not to be served; the message says which member is at fault and why."""


@dataclass(frozen=True)
class Archive:
    """A checked archive.

    Attributes:
        card: The model card.
        card_json: The card as it stands in the archive, byte for byte.
        digest: SHA-256 of `card_json`, 64 lower-case hexadecimal digits.
        graph: The exported program, checked against the card.
    """

    card: models_pb2.ModelCard
    card_json: bytes
    digest: str
    graph: bytes


def open_archive(path: Path) -> Archive:
    """Read and check an archive.

    Args:
        path: A `.mar` file, or the folder it was unpacked into.

    Returns:
        The archive, every member of which has the digest that the card gives.

    Raises:
        ArchiveError: The archive cannot be read, its card is not valid, or a member is missing, unlisted or has
            another digest than the card says.
    """
    if path.is_dir():
        return _check(lambda member: (path / member).read_bytes())
    try:
        with zipfile.ZipFile(path) as mar:
            archive = _check(lambda member: _read_zip_member(mar, member))
            _refuse_unlisted(mar, archive.card)
            return archive
    except ArchiveError:
        raise
    except Exception as error:
        # A damaged file makes zipfile raise more than BadZipFile: struct.error, ValueError, UnicodeDecodeError.
        raise ArchiveError(f"not a readable .mar file: {error}") from error


def parse_card(card_json: bytes) -> models_pb2.ModelCard:
    """Read a card and check what the serving side relies on.

    Args:
        card_json: The card in protobuf's JSON form.

    Returns:
        The card.

    Raises:
        ArchiveError: The text is not a card, or a field has a value that cannot be served.
    """
    card = models_pb2.ModelCard()
    try:
        json_format.Parse(card_json, card)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{CARD_MEMBER}: not a model card: {error}") from error
    for field, is_right, allowed in _card_rules(card):
        if not is_right:
            raise ArchiveError(f"{CARD_MEMBER}: {field}: must be {allowed}")
    return card


def card_digest(card_json: bytes) -> str:
    """Return the digest of the archive whose card this is: 64 lower-case hexadecimal digits."""
    return hashlib.sha256(card_json).hexdigest()


def _card_rules(card: models_pb2.ModelCard) -> list[tuple[str, bool, str]]:
    """Pair each field with whether it is right and what it must be."""
    image, classes = card.image, card.classes
    return [
        ("name", bool(_NAME.fullmatch(card.name)), "1 to 63 of a-z, 0-9 and '-', beginning with a letter"),
        ("version", bool(_VERSION.fullmatch(card.version)), "a semantic version such as 1.0.0"),
        ("kind", card.kind == models_pb2.MODEL_KIND_CLASS_CONDITIONAL, "MODEL_KIND_CLASS_CONDITIONAL"),
        ("image.width", 1 <= image.width <= MAX_SIDE, f"1 to {MAX_SIDE}"),
        ("image.height", 1 <= image.height <= MAX_SIDE, f"1 to {MAX_SIDE}"),
        ("image.channels", image.channels in (1, 3), "1 or 3"),
        ("image.value_min", math.isfinite(image.value_min), "finite"),
        ("image.value_max", image.value_min < image.value_max < math.inf, "finite and greater than value_min"),
        ("classes", [c.id for c in classes] == list(range(len(classes))), "numbered from 0 without gaps"),
        ("classes", len(classes) > 0, "at least one"),
        ("classes", len({c.name for c in classes if c.name}) == len(classes), "of different names"),
        ("latent.size", 1 <= card.latent.size <= MAX_LATENT_SIZE, f"1 to {MAX_LATENT_SIZE}"),
        (
            "latent.distribution",
            card.latent.distribution == models_pb2.LATENT_DISTRIBUTION_NORMAL,
            "LATENT_DISTRIBUTION_NORMAL",
        ),
        ("execution.chunk_items", 1 <= card.execution.chunk_items <= 64, "1 to 64"),
        ("execution.max_batch_items", 1 <= card.execution.max_batch_items <= 1024, "1 to 1024"),
    ]


def _check(read: Callable[[str], bytes]) -> Archive:
    card_json = _read_member(read, CARD_MEMBER)
    card = parse_card(card_json)
    if GRAPH_MEMBER not in card.member_sha256:
        raise ArchiveError(f"{CARD_MEMBER}: member_sha256: must list {GRAPH_MEMBER}")
    graph = b""
    for member, digest in sorted(card.member_sha256.items()):
        content = _read_member(read, member)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArchiveError(f"{member}: its SHA-256 is not the one in the card")
        if member == GRAPH_MEMBER:
            graph = content
    return Archive(card, card_json, card_digest(card_json), graph)


def _read_member(read: Callable[[str], bytes], member: str) -> bytes:
    if member.startswith("/") or ".." in Path(member).parts:
        raise ArchiveError(f"{CARD_MEMBER}: member_sha256: {member!r} leads out of the archive")
    try:
        return read(member)
    except (KeyError, FileNotFoundError) as error:
        raise ArchiveError(f"{member}: missing") from error
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ArchiveError(f"{member}: cannot be read: {error}") from error


def _read_zip_member(mar: zipfile.ZipFile, member: str) -> bytes:
    size = mar.getinfo(member).file_size
    if size > MAX_MEMBER_BYTES:
        raise ArchiveError(f"{member}: {size} bytes, more than {MAX_MEMBER_BYTES}")
    return mar.read(member)


def _refuse_unlisted(mar: zipfile.ZipFile, card: models_pb2.ModelCard) -> None:
    """TorchServe would put an unlisted file on the worker's import path, so there must be none."""
    members = mar.namelist()
    for member in members:
        if member != CARD_MEMBER and member not in card.member_sha256:
            raise ArchiveError(f"{member}: not listed in the card")
        if members.count(member) > 1:
            raise ArchiveError(f"{member}: stands in the archive more than once")
