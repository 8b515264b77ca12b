"""A folder of archives: open each, keep the sound ones, and say why the others are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gantry.v1 import models_pb2
from services.backends.base import ModelKey
from services.worker.archive import Archive, ArchiveError, open_archive

Opened = TypeVar("Opened")


def open_model_store(
    folder: Path, use: Callable[[Path, Archive], Opened]
) -> tuple[dict[ModelKey, Opened], list[models_pb2.RefusedArchive]]:
    """Open every `.mar` file of a model store.

    Args:
        folder: The model store.
        use: Turns a checked archive into what the caller keeps; may raise ArchiveError too.

    Returns:
        What `use` made of each sound archive, by model; and the refused archives, ordered by file.
    """
    opened: dict[ModelKey, Opened] = {}
    refused: list[models_pb2.RefusedArchive] = []
    for path in sorted(folder.glob("*.mar")):
        try:
            archive = open_archive(path)
            key = ModelKey(archive.card.name, archive.card.version)
            if key in opened:
                raise ArchiveError(f"{key.name} {key.version} is in the store more than once")
            opened[key] = use(path, archive)
        except ArchiveError as error:
            refused.append(models_pb2.RefusedArchive(archive=path.name, reason=str(error)))
    return opened, refused
