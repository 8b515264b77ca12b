"""A whole zoo of two rows, small: trained, measured, and written down; and done only once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SMALL = ("--data=digits", "--images=1000", "--samples=100", "--seeds=2", "--only=hinge,projection")


def zoo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "zoo", f"--run-dir={folder / 'runs'}", f"--out={folder / 'zoo.md'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=280, env=environment)


@pytest.mark.slow
def test_two_rows_are_trained_measured_and_written_down_once(tmp_path: Path) -> None:
    ended = zoo(tmp_path, *SMALL)
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "zoo.md").read_text()
    for expected in ("## Objectives", "| hinge |", "`objective=hinge`", "## Ways to give a label", "| projection |"):
        assert expected in page
    assert "class consistency" in page
    assert "±" in page
    for name in ("objectives", "objectives-curves", "conditions", "conditions-curves"):
        assert f"(zoo/{name}.png)" in page
        assert min(Image.open(tmp_path / "zoo" / f"{name}.png").size) > 60
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("stats.jsonl")}
    assert len(before) == 4
    assert zoo(tmp_path, *SMALL).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("stats.jsonl")} == before


def test_a_row_that_there_is_not_is_refused_by_its_flag(tmp_path: Path) -> None:
    ended = zoo(tmp_path, "--only=hinge,vae")
    assert ended.returncode == 1
    assert "gantry zoo: --only vae: must be one of minimax, non_saturating" in ended.stderr
