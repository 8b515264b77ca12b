"""`gantry train` as a user meets it."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tests.training.processes import together
from training import cli
from training.evaluation.evaluate import evaluate_run
from training.evaluation.findings import EvaluationError
from training.recipes import RECIPES

TINY = ["--images", "128", "--tick", "64", "--batch", "32", "--set", "generator.width=4"]
TINY_CYCLEGAN = [
    *("cyclegan", "--images", "4", "--tick", "2", "--no-compile", "--precision", "float32"),
    *("--set", "crop.size=32", "--set", "crop.min_side=32", "--set", "crop.max_side=32"),
    *("--set", "generator.width=2", "--set", "generator.blocks=1", "--set", "discriminator.width=2"),
]


@pytest.fixture
def gantry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `train` with these arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANTRY_DATA_DIR", raising=False)
    app = typer.Typer()
    app.command()(cli.train)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def apples(tmp_path: Path) -> Path:
    """A folder of two domains, named apple2orange."""
    root = tmp_path / "pictures" / "apple2orange"
    for domain, colour in (("A", "red"), ("B", "orange")):
        folder = root / f"train{domain}"
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40, 36 + number), colour).save(folder / f"{number}.png")
    return root


def everything(result) -> str:
    return " ".join(result.output.split())


def test_without_flags_it_is_a_cgan_of_digits(gantry) -> None:
    result = gantry("--dry-run")
    assert result.exit_code == 0
    config = json.loads(result.stdout)
    assert (config["recipe"], config["data"]) == ("cgan", "digits")


def test_dry_run_shows_the_settings_and_trains_nothing(gantry, tmp_path: Path) -> None:
    result = gantry(
        "cgan", "--data", "mnist", "--images", "1.5k", "--tick", "500", "--set", "ema.rampup=0.5", "--dry-run"
    )
    config = json.loads(result.stdout)
    assert (config["total_images"], config["tick"], config["ema"]["rampup"]) == (1500, 500, 0.5)
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
        (["--set", "=3"], "--set =3: give it as NAME=VALUE"),
        (["--set", "data=mnist"], "--set data=mnist: give it as --data mnist"),
        (["--batch", "0"], "--batch 0: must be at least 2"),
    ],
)
def test_a_bad_flag_gets_one_line_that_names_it(gantry, arguments: list[str], message: str) -> None:
    result = gantry(*arguments)
    assert result.exit_code == 1
    assert message in everything(result)
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("arguments", "recipe", "data"),
    [
        (["infogan"], "infogan", "digits"),
        (["infogan", "--data", "mnist"], "infogan", "mnist"),
        (["--data", "fashion-mnist"], "cgan", "fashion-mnist"),
        (["cyclegan-lite"], "cyclegan-lite", "horse2zebra"),
    ],
)
def test_recipe_and_data_find_each_other(gantry, arguments: list[str], recipe: str, data: str) -> None:
    config = json.loads(gantry(*arguments, "--dry-run").stdout)
    assert (config["recipe"], config["data"]) == (recipe, data)


def test_what_a_dry_run_prints_can_be_given_back(gantry, tmp_path: Path) -> None:
    printed = gantry("infogan", "--data", "mnist", "--set", "terms.invariance.weight=3", "--dry-run").stdout
    (tmp_path / "config.json").write_text(printed)
    assert gantry("--config", "config.json", "--dry-run").stdout == printed
    assert json.loads(gantry("--config", "config.json", "--seed", "8", "--dry-run").stdout)["seed"] == 8
    refused = gantry("cgan", "--config", "config.json")
    assert (refused.exit_code, "is of the recipe infogan, not of cgan" in everything(refused)) == (1, True)


@pytest.mark.parametrize(("text", "reason"), [("{", "not JSON"), ('{"recipe": "vae"}', "there is no recipe 'vae'")])
def test_a_bad_configuration_is_refused_by_its_file(gantry, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "config.json").write_text(text)
    refused = gantry("--config", "config.json", "--dry-run")
    assert refused.exit_code == 1
    assert f"--config config.json: {reason}" in everything(refused)


def test_a_run_that_has_seen_enough_says_so(gantry) -> None:
    assert gantry(*TINY).exit_code == 0
    assert "nothing to do: the run has seen" in everything(gantry(*TINY))


def test_all_that_can_be_trained_is_listed_with_its_paper_and_data(gantry) -> None:
    result = gantry("--list")
    assert result.exit_code == 0
    for name, recipe in RECIPES.items():
        assert f"\n  {name}\n" in result.stdout
        assert f"({recipe.paper})" in result.stdout
    assert "; data: digits, mnist, fashion-mnist" in result.stdout
    assert "--set terms.gradient_penalty.weight=10" in result.stdout


def pictures(folder: Path, count: int, mode: str = "RGB") -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        colour = number * 8 if mode == "L" else (number * 8, 90, 200 - number * 8)
        Image.new(mode, (40, 30), colour).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("recipe", ["cgan", "infogan"])
def test_own_pictures_are_trained_on_and_said_first(gantry, tmp_path: Path, recipe: str) -> None:
    for name in ("blue", "red"):
        pictures(tmp_path / "shapes" / name, 20)
    result = gantry(recipe, *TINY, "--set", "discriminator.width=4", "--data-dir", "shapes", "--size", "28")
    assert result.exit_code == 0, result.output
    assert "RGB, cropped and resized to 28×28, 2 classes: blue, red" in everything(result)
    assert (tmp_path / "runs" / f"shapes-{recipe}" / "grids" / "000000128.png").exists()


def test_pictures_without_classes_are_refused_where_classes_are_needed(gantry, tmp_path: Path) -> None:
    pictures(tmp_path / "faces", 30)
    result = gantry("cgan", "--data-dir", "faces")
    assert result.exit_code == 1
    assert "--data faces has no classes, which cgan needs" in everything(result)


def test_a_folder_without_pictures_is_not_passed_over(gantry, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    result = gantry("--data-dir", "notes")
    assert result.exit_code == 1
    assert "--data-dir notes: holds no pictures" in everything(result)
    assert "--data-dir notes: holds no pictures" in everything(gantry("dcgan", "--data-dir", "notes"))
    assert "--data-dir nowhere: does not exist" in everything(gantry("--data-dir", "nowhere"))


def test_figures_are_not_taken_on_other_data_than_the_runs(gantry, tmp_path: Path) -> None:
    for place, shade in (("one", "L"), ("two", "L")):
        for name in ("a", "b"):
            pictures(tmp_path / place / "shapes" / name, 60 if place == "one" else 61, shade)
    assert gantry("cgan", *TINY, "--data-dir", "one/shapes", "--size", "28").exit_code == 0
    with pytest.raises(EvaluationError, match="shapes is not the data that this run was trained on"):
        evaluate_run(Path("runs/shapes-cgan"), Path("two/shapes"), samples=20)


def test_only_horses_and_zebras_are_named_so(gantry) -> None:
    for arguments, domains in (
        (["--data", "horse2zebra"], ("horse", "zebra")),
        (["--data", "apple2orange"], ("A", "B")),
        (["--data", "apple2orange", "--set", "domain_a=apple"], ("apple", "B")),
    ):
        config = json.loads(gantry("cyclegan", *arguments, "--dry-run").stdout)
        assert (config["domain_a"], config["domain_b"]) == domains


@pytest.mark.parametrize("form", ["", "zip", "tar", "gztar"])
def test_trains_on_ones_own_pictures_and_names_the_run_by_them(gantry, apples: Path, tmp_path: Path, form: str) -> None:
    path = shutil.make_archive(str(apples), form, apples.parent, apples.name) if form else str(apples)
    result = gantry(*TINY_CYCLEGAN, "--data-dir", path, "--set", "domain_a=apple")
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "runs" / "apple2orange-cyclegan" / "config.json").read_text())
    assert (config["data"], config["domain_a"]) == ("apple2orange", "apple")
    assert (tmp_path / "runs" / "apple2orange-cyclegan" / "grids" / "000000004.png").exists()


def test_data_of_a_name_are_sought_in_the_folder(gantry, apples: Path) -> None:
    result = gantry(*TINY_CYCLEGAN, "--data", "apple2orange", "--data-dir", str(apples.parent))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "cats"], "unknown data set 'cats': --data must be one of digits, mnist"),
        (["vae"], "there is no recipe 'vae'; there are cgan, infogan"),
        (
            ["--set", "objective=vanilla"],
            "--set objective=vanilla: there is none of this name; there are minimax",
        ),
        (
            ["--set", "terms.gradient_penalty.weight=10"],
            "two constraints hold one slope: --set discriminator.norm",
        ),
        (["--size", "30"], "--size 30: must be 28, 32, 64, 80, 96 or 128"),
        (["--data", "digits", "--size", "64"], "--size 64"),
        (["cyclegan", "--set", "domain_a=zebra"], "domain_a and domain_b are both 'zebra'"),
        (["cyclegan"], "horse2zebra: say where it is with --data-dir or GANTRY_DATA_DIR"),
        (["cyclegan", "--data-dir", "."], "--data-dir .: holds no pictures"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(gantry, arguments: list[str], message: str) -> None:
    result = gantry(*arguments)
    assert result.exit_code == 1
    assert message in everything(result)
    assert isinstance(result.exception, SystemExit)


def test_a_broken_picture_is_named(gantry, apples: Path) -> None:
    (apples / "trainB" / "9.png").write_bytes(b"nothing")
    result = gantry(*TINY_CYCLEGAN, "--data-dir", str(apples))
    assert result.exit_code == 1
    assert "trainB/9.png: not a readable picture" in everything(result)


def test_codes_are_given_as_a_list(gantry) -> None:
    none = ("--set", "condition.continuous=", "--set", "terms.continuous_information.weight=0")
    result = gantry("infogan", "--set", "condition.categorical=10,2", *none, "--dry-run")
    codes = json.loads(result.stdout)["condition"]
    assert (codes["categorical"], codes["continuous"]) == ([10, 2], [])


def commanded(run_dir: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of `train` in one process of several, and all that it says."""
    app = typer.Typer()
    app.command()(cli.train)
    result = CliRunner().invoke(app, [*TINY, "--run-dir", str(run_dir), *arguments])
    return result.exit_code, everything(result)


def test_of_several_processes_the_first_speaks(tmp_path: Path) -> None:
    first, second = (end.result for end in together(*[partial(commanded, tmp_path)] * 2))
    assert (first[0], second[0]) == (0, 0)
    assert "what it makes now" in first[1]
    assert "what it makes now" not in second[1]


def test_processes_with_different_commands_are_told_so(tmp_path: Path) -> None:
    for end in together(partial(commanded, tmp_path), partial(commanded, tmp_path, "--seed", "1")):
        assert end.result[0] == 1
        assert "all need the same command" in end.result[1]
        assert "Traceback" not in end.result[1]


def test_broken_data_are_named(gantry, tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"nothing")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"nothing")
    result = gantry("--data", "mnist", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "train-images-idx3-ubyte" in everything(result)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, training.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
