"""`gantry models` and `gantry sample` against a real gateway."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from services.cli import app


def gantry(address: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"GANTRY_ADDRESS": address})


def test_models_lists_what_is_loaded_and_what_was_refused(address: str) -> None:
    result = gantry(address, "models")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["model", "version", "kind", "w×h×channels", "classes", "digest"]
    assert lines[1].split()[:5] == ["rgb", "2.0.0", "class_conditional", "6×8×3", "3"]
    assert len(lines) == 4
    assert result.stderr.startswith("refused garbage.mar: ")


def test_models_prints_a_card(address: str) -> None:
    result = gantry(address, "models", "tiny")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["card"]["version"] == "1.1.0"


def test_sample_writes_a_file_per_picture(address: str, tmp_path: Path) -> None:
    result = gantry(address, "sample", "tiny", "--label", 2, "--count", 3, "--seed", 5, "--out", tmp_path)
    assert result.exit_code == 0
    files = [tmp_path / f"tiny-label2-seed{seed}.png" for seed in (5, 6, 7)]
    assert result.stdout.splitlines() == [str(file) for file in files]
    with Image.open(files[2]) as image:
        assert image.size == (6, 8)
        assert image.info["gantry:seed"] == "7"


def test_sample_writes_one_file_in_the_format_of_its_name(address: str, tmp_path: Path) -> None:
    file = tmp_path / "one.webp"
    result = gantry(address, "sample", "rgb", "--label", "three words here", "--quality", 100, "--out", file)
    assert result.exit_code == 0
    with Image.open(file) as image:
        assert (image.format, image.size) == ("WEBP", (6, 8))


def test_sample_writes_a_grid(address: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.png"
    result = gantry(address, "sample", "rgb", "--each-class", "--count", 4, "--grid", "--out", file)
    assert result.exit_code == 0
    with Image.open(file) as image:
        assert image.size == (4 * 8 - 2, 3 * 10 - 2)


@pytest.mark.parametrize("several", [("--count", "2"), ("--each-class",), ("--label", "0", "--label", "1")])
def test_several_pictures_do_not_go_into_one_file(address: str, tmp_path: Path, several: tuple[str, ...]) -> None:
    result = gantry(address, "sample", "tiny", *several, "--out", tmp_path / "one.png")
    assert result.exit_code == 1
    assert "is one file, for several pictures: name a folder, or add --grid" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "NOT_FOUND: model 'nope' is not loaded; loaded: rgb, tiny"),
        (("tiny", "--label", "triangle"), "has no class 'triangle'; its classes: 0 'circle', 1 'square'"),
        (("tiny", "--label", "1", "--label", "circle"), "has no class '1'"),
        (("tiny", "--truncation", "2"), "truncation: must be 0 to 1, got 2"),
        (("tiny", "--seed", "-1"), "seed: "),
    ],
)
def test_errors_are_one_line_and_exit_code_1(
    address: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = gantry(address, "sample", *arguments, "--out", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("gantry sample: ")
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("models",), ("sample", "tiny")])
def test_a_gateway_that_is_not_there(command: tuple[str, ...]) -> None:
    result = gantry("127.0.0.1:1", *command)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"gantry {command[0]}: UNAVAILABLE: ")


def test_a_command_whose_dependencies_are_not_installed_says_what_to_install() -> None:
    without_torch = "import sys; sys.modules['torch'] = None; from services.cli import app; app()"

    done = subprocess.run([sys.executable, "-c", without_torch, "train"], capture_output=True, text=True)

    assert done.returncode == 1
    assert "pip install 'gantry[training]'" in done.stderr
    assert "Traceback" not in done.stderr
