"""The IDX reader: what it reads, and what it says of broken files."""

import gzip
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.data.idx import IdxError, read_idx


def idx_bytes(values: Tensor) -> bytes:
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()


@pytest.fixture
def images() -> Tensor:
    return torch.arange(2 * 3 * 4, dtype=torch.uint8).view(2, 3, 4)


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_reads_what_was_written_plain_or_compressed(tmp_path: Path, images: Tensor, name: str) -> None:
    content = idx_bytes(images)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert torch.equal(read_idx(path, dimensions=3), images)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"\x00\x00\x0d\x03" + content[4:], "magic number 0x00000d03, expected 0x00000803"),
        (lambda content: content[:-1], "2 x 3 x 4 = 24 bytes of data, but 23 follow"),
        (lambda content: content + b"\x00", "but 25 follow"),
        (lambda content: content[:9], "9 bytes are too few for an IDX header of 16 bytes"),
    ],
)
def test_names_the_file_and_what_is_wrong_with_it(tmp_path: Path, images: Tensor, spoil, reason: str) -> None:
    path = tmp_path / "train-images"
    path.write_bytes(spoil(idx_bytes(images)))
    with pytest.raises(IdxError, match=f"{path}.*{reason}"):
        read_idx(path, dimensions=3)


@pytest.mark.parametrize("spoil", [lambda content: content[:-9], lambda content: b"no gzip" + content])
def test_refuses_a_broken_gzip_file(tmp_path: Path, images: Tensor, spoil) -> None:
    path = tmp_path / "train-images.gz"
    path.write_bytes(spoil(gzip.compress(idx_bytes(images))))
    with pytest.raises(IdxError, match=f"{path}: not a whole gzip file"):
        read_idx(path, dimensions=3)
