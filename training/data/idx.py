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
    magic = bytes([0, 0, 8, dimensions])
    if content[:4] != magic:
        raise IdxError(f"{path}: magic number 0x{content[:4].hex()}, expected 0x{magic.hex()}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) - header != math.prod(shape):
        raise IdxError(
            f"{path}: its header states {' x '.join(map(str, shape))} = {math.prod(shape)} bytes of data, "
            f"but {len(content) - header} follow"
        )
    # A bytearray, since torch shares the buffer and wants it writable.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(shape)
