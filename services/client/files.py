"""Where pictures are written: the file that a name asks for, or one file per picture in a folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from services.client.pictures import Format, Frame, Picture, SampledGrid, SampledImage, Traversal

_SUFFIXES: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".raw": "raw"}
# What is taken for a picture in a folder.
INPUT_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
NamedPath = TypeVar("NamedPath", bound=PurePath)
# What tells enough of itself for a name.
Named = SampledImage | SampledGrid | Frame | Traversal


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

    def write(self, picture: Named, model: str) -> Path:
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
        return write_picture(picture, path)


def write_picture(picture: Picture, path: Path) -> Path:
    """Write a picture into a file, which it replaces, and return its path; the file's folder is made.

    Args:
        picture: The picture.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
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


def plan_outputs(inputs: Sequence[Path], target: Destination) -> dict[Path, Path]:
    """Say into which file each picture is translated.

    Args:
        inputs: Files, and folders whose pictures are taken, those of folders within them too.
        target: Where they go: each keeps its name, and its place within a folder, but for the ending where the
            format is another.

    Returns:
        Input file → output file, ordered as given, within a folder by name.

    Raises:
        ValueError: There is no picture, two would go into one file, or one would replace an input.
    """
    named = [pair for given in inputs for pair in _named(given)]
    if not named:
        raise ValueError(f"no pictures ({', '.join(INPUT_SUFFIXES)}) in {', '.join(map(str, inputs))}")
    if target.is_file and len(named) > 1:
        raise ValueError(f"{target.path} is one file, for {len(named)} pictures: name a folder")
    sources = {source.resolve() for source, _ in named}
    outputs: dict[Path, Path] = {}
    taken: set[Path] = set()
    for source, name in named:
        output = target.path if target.is_file else target.path / with_ending(name, target.format)
        if output.resolve() in sources:
            raise ValueError(f"{output} would replace an input: name another folder")
        if output in taken:
            raise ValueError(f"two pictures would become {output}: translate {source} into another folder")
        taken.add(output)
        outputs[source] = output
    return outputs


def _named(given: Path) -> Iterator[tuple[Path, Path]]:
    """Yield files with the names that they keep."""
    if not given.is_dir():
        yield given, Path(given.name)
        return
    for file in sorted(given.rglob("*")):
        if file.suffix.lower() in INPUT_SUFFIXES and file.is_file():
            yield file, file.relative_to(given)


def with_ending(name: NamedPath, image_format: Format) -> NamedPath:
    """Return the name of a picture that is encoded anew: its ending is changed where the format is another.

    Args:
        name: The picture's name.
        image_format: The new format.
    """
    return name if _SUFFIXES.get(name.suffix.lower()) == image_format else name.with_suffix(f".{image_format}")


def _facts(picture: Named) -> str:
    match picture:
        case SampledGrid():
            return f"grid-seed{picture.seed}"
        case Traversal():
            return f"traversal-seed{picture.frames[0].seed}"
        case Frame():
            return f"frame{picture.index:0{len(str(picture.frames - 1))}}"
    shown = [f"{name}={value:g}" for name, value in {**picture.codes, **picture.attributes}.items()]
    if picture.label is not None:
        shown.append(f"label{picture.label}")
    return "-".join([*shown, f"seed{picture.seed}"])
