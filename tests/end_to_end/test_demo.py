"""The demo as `make demo` runs it: a gateway in a process of its own, called over gRPC."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from services.client import Axis
from services.client.demo import SHEET_TILE, named_axis, sweeps_of
from services.worker.inputs import fill_in_graphs
from tests.archives import (
    tiny_attribute_card,
    tiny_code_card,
    write_tiny_archive,
    write_tiny_attribute_archive,
    write_tiny_code_archive,
    write_tiny_one_way_archive,
    write_tiny_translation_archive,
    write_tiny_unconditional_archive,
)

pytestmark = pytest.mark.slow


def run_demo(store: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services.client.demo", "--model-store", str(store), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_model_is_shown_and_the_gateway_stops(tmp_path: Path) -> None:
    write_tiny_archive(tmp_path)
    write_tiny_code_archive(tmp_path, "codes")
    write_tiny_translation_archive(tmp_path, "horse2zebra")
    write_tiny_unconditional_archive(tmp_path, "plain")
    write_tiny_attribute_archive(tmp_path, "attributes")
    write_tiny_one_way_archive(tmp_path, "one-way")
    done = run_demo(tmp_path, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    header, *rows = (re.split(r"\s{2,}", line) for line in done.stdout.splitlines()[-7:])
    assert header == ["model", "kind", "images", "p50 ms", "images/s", "files written"]
    assert [row[:3] for row in rows] == [
        ["attributes", "attribute_conditional", "148"],
        ["codes", "code_conditional", "148"],
        ["horse2zebra", "translation", "20"],
        ["one-way", "translation", "10"],
        ["plain", "unconditional", "148"],
        ["tiny", "class_conditional", "148"],
    ]
    for row in rows:
        assert float(row[3]) > 0
        assert float(row[4]) > 0
    files = {row[0]: [Path(file) for file in row[5].split()] for row in rows}
    assert [file.name for file in files["codes"]] == ["codes-c1-slant.png", "codes-c2.png"]
    assert [file.name for file in files["attributes"]] == ["attributes-smile.png"]
    # Of tiles of 72×96 pixels with 4 between them; a line of captions has 18, and the names of rows have a margin.
    tall = {name: size_of(found[0])[1] for name, found in files.items()}
    assert tall == {
        "attributes": 9 * 100 + 4 + 18,
        "codes": 3 * 100 + 4 + 18,
        "horse2zebra": 4 * (SHEET_TILE + 4) + 4,
        "one-way": 2 * (SHEET_TILE + 4) + 4,
        "plain": 8 * (100 + 18) + 4,
        "tiny": 3 * 100 + 4,
    }
    assert size_of(files["plain"][0])[0] == 8 * 76 + 4
    assert size_of(files["tiny"][0])[0] > 8 * 76 + 4
    (port,) = re.findall(r"serves at 127\.0\.0\.1:(\d+)", done.stdout)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def test_rows_come_in_the_order_of_their_names() -> None:
    card = tiny_code_card()
    for value, name in zip(card.categorical_codes[0].values, ("10", "9", "none"), strict=True):
        value.name = name
    fill_in_graphs(card)
    assert named_axis(card) == Axis("shape", values=[1, 0, 2])


def test_numbers_that_do_not_move_are_held_in_the_middle() -> None:
    card = tiny_attribute_card()
    card.attributes.add(name="hat", min=-1.0, max=3.0)
    (sweep,) = sweeps_of(card, card.attributes[:2], None)
    assert (sweep.x, sweep.y, sweep.attributes) == (Axis("smile"), Axis("age"), {"hat": 1.0})


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
