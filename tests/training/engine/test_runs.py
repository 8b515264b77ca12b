"""Loading a trained run."""

from pathlib import Path

import pytest
import torch

from training.config import ConfigError, TrainConfig
from training.data import load
from training.engine import CheckpointError, RunDir, load_run, train
from training.engine.checkpoint import read


def test_load_run_gives_the_averaged_generator_ready_to_sample(config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    run = load_run(tmp_path)
    assert run.config == config
    assert run.images_seen == 128
    assert run.dataset_name == "digits"
    assert run.data == load("digits", "train").info
    assert not run.generator.training
    averaged = read(tmp_path / "checkpoint.pt")["ema"]
    assert all(torch.equal(averaged[name], value) for name, value in run.generator.state_dict().items())


def test_a_sample_does_not_depend_on_its_batch_mates(config: TrainConfig, tmp_path: Path) -> None:
    """Batch normalisation must run on its stored statistics, or the served picture would not be the trained one."""
    train(config, tmp_path)
    generator = load_run(tmp_path).generator
    z, labels = torch.randn(6, 8), torch.arange(6)
    torch.testing.assert_close(generator(z, labels)[2:3], generator(z[2:3], labels[2:3]))


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no training run here, config.json is missing"):
        load_run(tmp_path)


def test_a_run_before_its_first_checkpoint_says_so(config: TrainConfig, tmp_path: Path) -> None:
    RunDir(tmp_path).claim(config, fresh=False)
    with pytest.raises(CheckpointError, match="has this run reached its first tick"):
        load_run(tmp_path)


def test_a_configuration_of_another_version_is_named(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config.model_dump_json().replace("batch", "bunch"))
    with pytest.raises(ConfigError, match=r"config.json: not a configuration of this version"):
        load_run(tmp_path)
