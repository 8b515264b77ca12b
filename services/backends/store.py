"""A folder of archives: open each, keep the sound ones, and say why the others are refused."""

from collections.abc import Container
from pathlib import Path

from gantry.v1 import models_pb2
from services.backends.base import ModelKey
from services.worker.archive import Archive, ArchiveError, open_archive


def open_model_store(folder: Path) -> tuple[dict[ModelKey, Path], list[models_pb2.RefusedArchive]]:
    """Open every `.mar` file of a model store.

    Args:
        folder: The model store.

    Returns:
        The file of each sound archive, by model; and the refused archives, ordered by file.
    """
    opened: dict[ModelKey, Path] = {}
    refused: list[models_pb2.RefusedArchive] = []
    for path in archives_of(folder):
        try:
            card = open_stored(path, opened).card
            opened[ModelKey(card.name, card.version)] = path
        except ArchiveError as error:
            refused.append(models_pb2.RefusedArchive(archive=path.name, reason=str(error)))
    return opened, refused


def archives_of(folder: Path) -> list[Path]:
    """Return the `.mar` files of a model store in the order in which they are opened."""
    return sorted(folder.glob("*.mar"))


def open_stored(path: Path, opened: Container[ModelKey]) -> Archive:
    """Open one `.mar` file of a model store.

    Args:
        path: The file.
        opened: The models of the store that are open already.

    Raises:
        ArchiveError: It is not sound, or its model is open already.
    """
    if not path.is_file():
        # A pipe, or a device, would be read for ever.
        raise ArchiveError("not a file")
    archive = open_archive(path)
    key = ModelKey(archive.card.name, archive.card.version)
    if key in opened:
        raise ArchiveError(f"{key.name} {key.version} is in the store more than once")
    return archive
