"""Open an archive, check every member against the card, and hand out what a worker needs.

An archive is a `.mar` file or the folder TorchServe unpacked it into. Its digest is the SHA-256 of `card.json`:
the card holds the digest of every other member, so one value stands for the whole archive, and a gateway and a
worker that see it in different forms agree on it.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from gantry.v1 import models_pb2
from services.worker.card import find_fault
from services.worker.inputs import fill_in_graphs

CARD_MEMBER = "card.json"
MAX_MEMBER_BYTES = 1 << 30


class ArchiveError(Exception):
    """An archive that is not to be served; the message says which member is at fault and why."""


@dataclass(frozen=True)
class Archive:
    """A checked archive.

    Attributes:
        card: The model card.
        card_json: The card as it stands in the archive, byte for byte.
        digest: SHA-256 of `card_json`, 64 lower-case hexadecimal digits.
        graphs: Member name → exported program, for each graph of the card.
    """

    card: models_pb2.ModelCard
    card_json: bytes
    digest: str
    graphs: dict[str, bytes]


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
        The card, with its graphs filled in where it is of before them.

    Raises:
        ArchiveError: The text is not a card, or a field has a value that cannot be served.
    """
    card = models_pb2.ModelCard()
    try:
        json_format.Parse(card_json, card)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{CARD_MEMBER}: not a model card: {error}") from error
    fill_in_graphs(card)
    if fault := find_fault(card):
        raise ArchiveError(f"{CARD_MEMBER}: {fault}")
    return card


def card_digest(card_json: bytes) -> str:
    """Return the digest of the archive whose card this is: 64 lower-case hexadecimal digits."""
    return hashlib.sha256(card_json).hexdigest()


def _check(read: Callable[[str], bytes]) -> Archive:
    card_json = _read_member(read, CARD_MEMBER)
    card = parse_card(card_json)
    graphs = dict.fromkeys((graph.member for graph in card.graphs), b"")
    for member in graphs:
        if member not in card.member_sha256:
            raise ArchiveError(f"{CARD_MEMBER}: member_sha256: must list {member}")
    for member, digest in sorted(card.member_sha256.items()):
        content = _read_member(read, member)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArchiveError(f"{member}: its SHA-256 is not the one in the card")
        if member in graphs:
            graphs[member] = content
    return Archive(card, card_json, card_digest(card_json), graphs)


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
