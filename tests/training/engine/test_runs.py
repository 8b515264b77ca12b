"""Loading a trained run."""

from pathlib import Path

import pytest
import torch

from tests.training.engine.checkpoints import state_of
from training.config import ConfigError, RunConfig
from training.config.gan import GanConfig
from training.data import load
from training.engine import CheckpointError, RunDir, load_net, load_run, train


def test_load_run_gives_the_averaged_generator_ready_to_sample(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    run = load_run(tmp_path)
    assert run.config == config
    assert run.images_seen == 128
    assert run.data.name == "digits"
    assert run.data == load("digits", "train").info
    assert not run.generator.training
    averaged = state_of(tmp_path)["ema"]
    assert all(torch.equal(averaged[name], value) for name, value in run.generator.state_dict().items())


def test_a_sample_does_not_depend_on_its_batch_mates(config: RunConfig, tmp_path: Path) -> None:
    """Batch normalisation must run on its stored statistics, or the served picture would not be the trained one."""
    train(config, tmp_path)
    generator = load_run(tmp_path).generator
    z, conditions = torch.randn(6, 8), torch.eye(10)[:6]
    torch.testing.assert_close(generator(z, conditions)[2:3], generator(z[2:3], conditions[2:3]))


def test_every_familys_run_loads(any_recipe: RunConfig, tmp_path: Path) -> None:
    train(any_recipe, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.config == any_recipe
    assert run.images_seen == any_recipe.total_images
    assert run.data.name == any_recipe.data
    averaged = state_of(tmp_path / "run")["ema"]
    assert all(torch.equal(averaged[name], value) for name, value in run.generator.state_dict().items())
    assert not any(parameter.requires_grad for parameter in run.generator.parameters())


def test_load_net_gives_what_learnt_beside_the_generator(infogan: GanConfig, tmp_path: Path) -> None:
    train(infogan, tmp_path)
    net = load_net(tmp_path, "discriminator/net", infogan.build_discriminator(load_run(tmp_path).data))
    learnt = state_of(tmp_path)["discriminator/net"]
    assert all(torch.equal(learnt[name], value) for name, value in net.state_dict().items())
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_averages_of_other_nets_are_kept_resumed_and_loaded(config: GanConfig, tmp_path: Path) -> None:
    settings = {"condition.kind": "none", "discriminator.concat": False, "discriminator.projection": False}
    settings |= {"objective": "classes", "terms.labelled.weight": 1, "terms.labelled.count": 20}
    config = GanConfig.parse(config.model_dump()).changed(settings)
    train(config, tmp_path / "whole", quality=lambda *_: lambda _: {"figure": 1.0})
    train(config.changed({"total_images": 64}), tmp_path / "parts")
    train(config, tmp_path / "parts")
    whole, parts = (state_of(tmp_path / name) for name in ("whole", "parts"))
    averaged = whole["discriminator/ema"]
    assert all(torch.equal(value, parts["discriminator/ema"][name]) for name, value in averaged.items())
    net = config.build_discriminator(load_run(tmp_path / "whole").data)
    assert net.state_dict().keys() == averaged.keys()
    load_net(tmp_path / "whole", "discriminator/ema", net)
    assert all(torch.equal(averaged[name], value) for name, value in net.state_dict().items())
    assert any(not torch.equal(value, whole["discriminator/net"][name]) for name, value in averaged.items())
    load_net(tmp_path / "whole", "discriminator/ema", net, best=True)  # of the first tick
    assert any(not torch.equal(averaged[name], value) for name, value in net.state_dict().items())


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no training run here, config.json is missing"):
        load_run(tmp_path)


def test_a_run_before_its_first_checkpoint_says_so(config: RunConfig, tmp_path: Path) -> None:
    RunDir(tmp_path).open_run(config, {}, fresh=False)
    with pytest.raises(CheckpointError, match="has this run reached its first tick"):
        load_run(tmp_path)


def test_a_configuration_of_another_version_is_named(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config.model_dump_json().replace("batch", "bunch"))
    with pytest.raises(ConfigError, match=r"config.json: .*bunch: there is no setting of this name"):
        load_run(tmp_path)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "config.json", "grids/own.png", "checkpoints/own.pt"])
def test_a_folder_of_other_files_is_left_as_it_is(config: RunConfig, tmp_path: Path, name: str, fresh: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=f"--run-dir {tmp_path}: holds other files and no run; give a new or empty"):
        train(config, tmp_path, fresh=fresh)
    assert sorted(tmp_path.rglob("*")) == before


def test_notes_beside_a_run_do_not_stop_it(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    train(config, tmp_path, fresh=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_place_that_can_be_no_folder_is_named(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"--run-dir {tmp_path}/file: is a file"):
        train(config, tmp_path / "file")
    with pytest.raises(ConfigError, match=f"--run-dir {tmp_path}/file/run: Not a directory"):
        train(config, tmp_path / "file" / "run")
