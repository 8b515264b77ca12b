"""The demo as `make demo` runs it: a gateway in a process of its own, called over gRPC."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from services.client.demo import SHEET_TILE
from tests.archives import write_tiny_archive, write_tiny_code_archive, write_tiny_translation_archive

pytestmark = pytest.mark.slow


def run_demo(store: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services.client.demo", "--model-store", str(store), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_model_is_shown_and_the_gateway_stops(tmp_path: Path) -> None:
    write_tiny_archive(tmp_path)
    write_tiny_code_archive(tmp_path, "codes")
    write_tiny_translation_archive(tmp_path, "horse2zebra")
    done = run_demo(tmp_path, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    header, *rows = (re.split(r"\s{2,}", line) for line in done.stdout.splitlines()[-4:])
    assert header == ["model", "kind", "images", "p50 ms", "images/s", "files written"]
    assert [row[:3] for row in rows] == [
        ["codes", "code_conditional", "148"],
        ["horse2zebra", "translation", "20"],
        ["tiny", "class_conditional", "148"],
    ]
    for row in rows:
        assert float(row[3]) > 0
        assert float(row[4]) > 0
    codes, translated, classes = ([Path(file) for file in row[5].split()] for row in rows)
    assert [file.name for file in codes] == ["codes-c1-slant.png", "codes-c2.png"]
    assert [size_of(file) for file in codes] == [(16 * (9 * 8 - 2), 16 * (3 * 10 - 2))] * 2
    assert [size_of(file) for file in translated] == [(5 * SHEET_TILE, 4 * SHEET_TILE)]
    assert [size_of(file) for file in classes] == [(16 * (8 * 8 - 2), 16 * (3 * 10 - 2))]
    (port,) = re.findall(r"serves at 127\.0\.0\.1:(\d+)", done.stdout)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        return picture.size


def test_a_refused_archive_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_tiny_archive(tmp_path)
    (tmp_path / "garbage.mar").write_bytes(b"PK, but not a zip")
    done = run_demo(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "demo: the gateway refused garbage.mar: " in done.stderr
    assert (tmp_path / "out" / "tiny.png").exists()


def test_nothing_but_refused_archives(tmp_path: Path) -> None:
    (tmp_path / "garbage.mar").write_bytes(b"PK, but not a zip")
    done = run_demo(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "demo: the gateway refused garbage.mar: " in done.stderr


def test_no_models(tmp_path: Path) -> None:
    done = run_demo(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == f"demo: no models: {tmp_path} holds no .mar archive\n"
    assert not (tmp_path / "out").exists()
