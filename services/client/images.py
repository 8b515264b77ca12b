"""The pictures that a caller sends: files, bytes or PIL images, as the bytes of a file."""

from io import BytesIO
from os import PathLike
from pathlib import Path

from PIL import Image

ImageLike = str | PathLike[str] | bytes | Image.Image
_PNG_MODES = {"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"}


def image_bytes(image: ImageLike) -> bytes:
    """Return a picture as a file.

    Args:
        image: The path of a file, a file's bytes, or a PIL image, whose pixels are taken as they are.

    Returns:
        The file as it is; of a PIL image a PNG.

    Raises:
        OSError: The file cannot be read.
        TypeError: It is none of these.
    """
    match image:
        case bytes():
            return image
        case str() | PathLike():
            return Path(image).read_bytes()
        case Image.Image():
            return _png(image)
    raise TypeError(f"a picture must be a path, bytes or a PIL image, not {type(image).__name__}")


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    # Without the EXIF of the file it came from: PIL's pixels are not turned, and nobody else is to turn them.
    (image if image.mode in _PNG_MODES else image.convert("RGB")).save(file, "PNG", exif=b"", compress_level=1)
    return file.getvalue()
