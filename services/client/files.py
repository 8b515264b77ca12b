"""Where sampled pictures are written: the file that a name asks for, or one file per picture in a folder."""

from dataclasses import dataclass
from pathlib import Path

from services.client.pictures import Format, SampledGrid, SampledImage

_SUFFIXES: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".raw": "raw"}


@dataclass(frozen=True)
class Destination:
    """A file, or a folder that files go to.

    Attributes:
        path: Of the file or folder.
        is_file: Whether it is a file.
        format: How pictures for it are encoded.
    """

    path: Path
    is_file: bool
    format: Format

    def write(self, picture: SampledImage | SampledGrid, model: str) -> Path:
        """Write a picture.

        Args:
            picture: The picture.
            model: Name of the model, for the name of a file in a folder.

        Returns:
            The file written; it replaces one of the same name.

        Raises:
            OSError: It cannot be written.
        """
        path = self.path if self.is_file else self.path / f"{model}-{_facts(picture)}.{picture.format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.data)
        return path


def destination(path: Path, image_format: Format | None) -> Destination:
    """Say what a path means: a file where it ends like a picture, else a folder.

    Args:
        path: What the user gave.
        image_format: The format the user gave, if any.

    Returns:
        The destination; its format is the one given, else that of the file's ending, else "png".

    Raises:
        ValueError: The file's ending contradicts the format.
    """
    of_suffix = None if path.is_dir() else _SUFFIXES.get(path.suffix.lower())
    if of_suffix and image_format and of_suffix != image_format:
        raise ValueError(f"the file {path} would not be {image_format}; end it accordingly or leave the format out")
    return Destination(path, of_suffix is not None, image_format or of_suffix or "png")


def _facts(picture: SampledImage | SampledGrid) -> str:
    if isinstance(picture, SampledGrid):
        return f"grid-seed{picture.seed}"
    return f"label{picture.label}-seed{picture.seed}"
