"""`gantry train` as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from training import cli

TINY = ["--images", "128", "--tick", "64", "--batch", "32", "--set", "generator.width=4"]


@pytest.fixture
def gantry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `train` with these arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(cli.train)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def everything(result) -> str:
    return " ".join(result.output.split())


def test_without_flags_it_is_the_digits_preset(gantry) -> None:
    result = gantry("--dry-run")
    assert result.exit_code == 0
    config = json.loads(result.stdout)
    assert (config["family"], config["data"]) == ("cgan", "digits")


def test_dry_run_shows_the_settings_and_trains_nothing(gantry, tmp_path: Path) -> None:
    result = gantry(
        "cgan", "--data", "mnist", "--images", "1.5k", "--tick", "500", "--set", "ema.rampup=0.5", "--dry-run"
    )
    config = json.loads(result.stdout)
    assert (config["images"], config["tick"], config["ema"]["rampup"]) == (1500, 500, 0.5)
    assert list(tmp_path.iterdir()) == []


def test_trains_and_prints_the_grid_and_the_same_command_resumes(gantry, tmp_path: Path) -> None:
    first = gantry(*TINY)
    assert first.exit_code == 0, first.output
    grid = Path("runs/digits-cgan/grids/000000128.png")
    assert str(grid) in first.stdout
    assert (tmp_path / grid).exists()
    again = gantry(*TINY[2:], "--images", "192")
    assert again.exit_code == 0, again.output
    assert "000000192.png" in again.stdout


def test_other_settings_are_refused_and_fresh_allows_them(gantry) -> None:
    assert gantry(*TINY).exit_code == 0
    refused = gantry(*TINY, "--seed", "4")
    assert refused.exit_code == 1
    assert "seed was 0 and is 4" in everything(refused)
    assert "Traceback" not in refused.output
    assert gantry(*TINY, "--seed", "4", "--fresh").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "many"], "--images many: give a number of images such as 500, 200k or 1.5M"),
        (["--set", "generator.width"], "--set generator.width: give it as NAME=VALUE"),
        (["--set", "generator.height=3"], "--set generator.height: there is no setting of this name"),
        (["--batch", "0"], "--batch 0: Input should be greater than or equal to 2"),
    ],
)
def test_a_bad_flag_gets_one_line_that_names_it(gantry, arguments: list[str], message: str) -> None:
    result = gantry(*arguments)
    assert result.exit_code == 1
    assert message in everything(result)
    assert isinstance(result.exception, SystemExit)


def test_broken_data_are_named(gantry, tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"nothing")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"nothing")
    result = gantry("--data", "mnist", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "train-images-idx3-ubyte" in everything(result)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, training.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
