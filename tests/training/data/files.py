"""Writes pictures into folders, zips and tars, for the tests that read them."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (20, 16)) -> bytes:
    """A picture of one colour."""
    return encoded(Image.new("RGB", size, colour))


def as_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files, named by their paths."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


def as_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files, named by their paths."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def as_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files, named by their paths."""
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


WRITERS: dict[str, Callable[[Path, Mapping[str, bytes]], Path]] = {
    "": as_folder,
    ".zip": as_zip,
    ".tar": as_tar,
    ".tar.gz": as_tar,
    ".tgz": as_tar,
    ".tar.xz": as_tar,
}
