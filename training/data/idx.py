"""Reads IDX, the format of MNIST and its kin: a magic number, the sizes, then the bytes.

The magic number is two zero bytes, a type code (8 is unsigned byte, the only one these data sets use) and the
number of dimensions; the sizes follow as big-endian 32-bit integers.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from training.data.dataset import DataError

_UNSIGNED_BYTE = 0x08


class IdxError(DataError):
    """A file is not the IDX file it should be; the message names the file and what is wrong."""


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Reads one IDX file of unsigned bytes, compressed with gzip or plain.

    Args:
        path: The file; a name ending in `.gz` is decompressed.
        dimensions: The number of dimensions it must have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape that the file states.

    Raises:
        IdxError: If the magic number, the number of dimensions or the length is not what it should be.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise IdxError(f"{path}: not a whole gzip file: {error}") from error
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise IdxError(f"{path}: {len(content)} bytes are too few for an IDX header of {header} bytes")
    magic = content[:4]
    wanted = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if magic != wanted:
        raise IdxError(f"{path}: magic number 0x{magic.hex()}, expected 0x{wanted.hex()}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) - header != math.prod(shape):
        raise IdxError(
            f"{path}: its header states {' x '.join(map(str, shape))} = {math.prod(shape)} bytes of data, "
            f"but {len(content) - header} follow"
        )
    # A bytearray, since torch shares the buffer and wants it writable.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(shape)


def read_labelled_images(images: Path, labels: Path) -> tuple[Tensor, Tensor]:
    """Reads a pair of IDX files.

    Args:
        images: The file of N grey images.
        labels: The file of N labels.

    Returns:
        uint8 [N, 1, H, W] and int64 [N].

    Raises:
        IdxError: If either file is bad, or they disagree in number.
    """
    pixels, classes = read_idx(images, dimensions=3), read_idx(labels, dimensions=1)
    if len(pixels) != len(classes):
        raise IdxError(f"{images} has {len(pixels)} images, but {labels} has {len(classes)} labels")
    return pixels.unsqueeze(1), classes.long()
