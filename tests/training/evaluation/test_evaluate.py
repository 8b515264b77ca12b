"""`gantry evaluate` on a run of each family: what it leaves in the run's folder, and what it says."""

from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from training import engine
from training.cli import evaluate as evaluate_command
from training.config.translation import TranslationConfig
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.findings import Findings
from training.evaluation.result import Evaluation
from training.recipes import RECIPES

CONFIG = ClassifierConfig(filters=8, features=16, images=12_000, batch=64, steps=1)


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr("training.evaluation.evaluate.ClassifierConfig", lambda: CONFIG)
    app = typer.Typer()
    app.command()(evaluate_command)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_cgan_leaves_figures_and_report_with_the_run(command, tmp_path):
    run = tmp_path / "a-run"
    config = RECIPES["cgan"].config("digits").changed({"total_images": 256, "batch": 64, "generator.width": 8})
    engine.train(config, run, device="cpu")

    result = command(run, "--samples", 120)

    assert result.exit_code == 0, result.output
    figures = Evaluation.read(run / "evaluation.json")
    assert figures.protocol["training"].startswith("256 training images seen; SHA-256 of the weights begins with ")
    assert f"{figures['coverage'].value:.4g}" in result.output
    assert str(run / "report.png") in result.output
    with Image.open(run / "report.png") as page:
        assert page.width > 1000
    assert [path.suffix for path in (tmp_path / ".cache").iterdir()] == [".pt"]
    assert result.stderr.startswith("training a classifier of digits (11,968 images)…\nmaking 120 samples…\n")


def test_figures_under_truncation_stand_beside_those_that_are_packed(command, tmp_path):
    run = tmp_path / "a-run"
    config = (
        RECIPES["dcgan"].config("digits").changed({"total_images": 64, "batch": 64, "tick": 64, "precision": "float32"})
    )
    engine.train(config.changed({"generator.width": 4, "discriminator.width": 4}), run, device="cpu")

    result = command(run, "--samples", 100, "--truncation", 0.5)

    assert result.exit_code == 0, result.output
    assert str(run / "evaluation-truncation-0.5.json") in result.output
    figures = Evaluation.read(run / "evaluation-truncation-0.5.json")
    assert figures.protocol["truncation"].startswith("values of latents beyond 0.5 drawn again")
    assert figures["recall"].reference is not None
    assert (run / "report-truncation-0.5.png").exists()
    assert not (run / "evaluation.json").exists()
    refused = command(run, "--truncation", 0)
    assert refused.exit_code == 1
    assert "--truncation 0: must be more than 0" in refused.stderr


def test_an_infogan_leaves_its_codes_and_a_traversal_of_each_number(command, tmp_path, monkeypatch):
    monkeypatch.setattr("training.evaluation.sweeps.SWEEPS", 5)
    run = tmp_path / "a-run"
    config = (
        RECIPES["infogan"]
        .config("digits")
        .changed(
            {
                "total_images": 256,
                "batch": 64,
                "generator.width": 8,
                "discriminator.width": 8,
                "condition.categorical": [10, 3],
            }
        )
    )
    engine.train(config, run, device="cpu")

    result = command(run, "--samples", 120)

    assert result.exit_code == 0, result.output
    figures = Evaluation.read(run / "evaluation.json")
    assert figures.codes is not None
    assert sorted(figures.codes.categorical[0].values) == [str(digit) for digit in range(10)]
    assert len(figures.codes.continuous) == 2
    assert 0 < figures["classification_error/k1"].value < 1
    assert 0 < figures["served_code_error/k1"].value < 1
    for number in (1, 2):
        with Image.open(run / "figures" / f"traversal-c{number}.png") as grid:
            assert grid.mode == "L"
    with Image.open(run / "report.png") as page:
        assert page.width > 1000


def test_a_cyclegan_is_measured_both_ways_on_the_test_split(command, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    for folder in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / folder).mkdir()
        for number in range(4):
            pixels = torch.randint(256, (24, 32, 3), dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    run = tmp_path / "a-run"
    engine.train(tiny_cyclegan(), run, data_dir=tmp_path, device="cpu")

    result = command(run)  # it remembers where its data are

    assert result.exit_code == 0, result.output
    assert "translating 4 test pictures, horse to zebra…\n" in result.stderr
    figures = Evaluation.read(run / "evaluation.json")
    for way in ("horse_to_zebra", "zebra_to_horse"):
        assert figures[f"kid/{way}"].reference is not None
        assert 0 < figures[f"cycle_l1/{way}"].value < 1
    assert figures["top1_zebra/horse_to_zebra"].value == 0
    assert "4 horse and 4 zebra" in figures.protocol["data"]
    with Image.open(run / "report.png") as page:
        assert page.width > 1000


def test_a_run_remembers_its_own_pictures_and_takes_no_others(command, tmp_path, monkeypatch):
    monkeypatch.delenv("GANTRY_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.evaluation.evaluate.Subject", lambda **_: None)
    monkeypatch.setattr("training.evaluation.evaluate.measure", lambda _: Findings())
    generator = torch.Generator().manual_seed(0)
    for name in ("mine/circles", "others/circles"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(120):
            pixels = torch.randint(256, (28, 28), dtype=torch.uint8, generator=generator).numpy()
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    config = RECIPES["dcgan"].config("circles").changed({"total_images": 64, "batch": 64, "generator.width": 4})
    engine.train(config.changed({"tick": 64, "size": 28}), Path("run"), data_dir=Path("mine"), device="cpu")

    monkeypatch.chdir("/")
    assert command(tmp_path / "run", "--samples", 100).exit_code == 0
    other = command(tmp_path / "run", "--samples", 100, "--data-dir", tmp_path / "others")
    assert "circles is not the data that this run was trained on" in other.stderr
    monkeypatch.setenv("GANTRY_DATA_DIR", str(tmp_path / "others"))
    assert command(tmp_path / "run", "--samples", 100).exit_code == 0
    (tmp_path / "mine").rename(tmp_path / "moved")
    monkeypatch.delenv("GANTRY_DATA_DIR")
    gone = command(tmp_path / "run", "--samples", 100)
    assert gone.exit_code == 1
    assert f"circles: {tmp_path / 'mine'} does not exist; name a folder, zip or tar with --data-dir" in gone.stderr


def test_a_cyclegan_is_not_measured_on_other_pictures(command, tmp_path):
    for place, count in (("one", 4), ("two", 5)):
        for folder in ("trainA", "trainB", "testA", "testB"):
            (tmp_path / place / folder).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (32, 24)).save(tmp_path / place / folder / f"{number}.png")
    engine.train(tiny_cyclegan(), tmp_path / "run", data_dir=tmp_path / "one", device="cpu")
    refused = command(tmp_path / "run", "--data-dir", tmp_path / "two")
    assert refused.exit_code == 1
    assert "noise is not the data that this run was trained on" in refused.stderr


def tiny_cyclegan() -> TranslationConfig:
    return TranslationConfig(recipe="cyclegan", data="noise", total_images=2, tick=2, precision="float32").changed(
        {
            "domain_a": "horse",
            "domain_b": "zebra",
            "generator.width": 4,
            "generator.blocks": 1,
            "discriminator.width": 4,
            "crop.size": 32,
            "crop.min_side": 32,
            "crop.max_side": 32,
        }
    )


def test_the_command_names_what_is_missing(command, tmp_path: Path):
    result = command(tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path}: no training run here" in result.output
