"""A run's directory: what lies where, when it may be resumed, and how its trained generator is loaded."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from torch import nn

from training.config import FREE_TO_CHANGE, ConfigError, TrainConfig, parse_config
from training.data import DatasetInfo, UnpairedInfo
from training.engine import checkpoint
from training.steps import FAMILIES

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class RunDir:
    """The places in a run's directory."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration, as JSON."""
        return self.path / "config.json"

    @property
    def checkpoint(self) -> Path:
        """The whole state at the last tick or interruption."""
        return self.path / "checkpoint.pt"

    @property
    def grids(self) -> Path:
        """The folder of sample grids, one for each tick."""
        return self.path / "grids"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / "tensorboard"

    def grid(self, images: int) -> Path:
        """The grid drawn after this many images."""
        return self.grids / f"{images:09d}.png"

    def read_config(self) -> TrainConfig:
        """Reads the run's configuration.

        Raises:
            ConfigError: If there is none, or it is not of this version of the code.
        """
        try:
            return parse_config(self.config.read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path}: no training run here, {self.config.name} is missing") from error
        except ValidationError as error:
            raise ConfigError(f"{self.config}: not a configuration of this version: {error}") from error

    def claim(self, config: TrainConfig, *, fresh: bool) -> None:
        """Makes the directory this configuration's, new or to be resumed.

        Args:
            config: What is to run.
            fresh: Whether to delete what an earlier run left here.

        Raises:
            ConfigError: If a run with other settings is here already; the message names them.
        """
        if fresh:
            self._clear()
        if self.config.exists():
            _refuse_other_settings(self.path, self.read_config(), config)
        self.grids.mkdir(parents=True, exist_ok=True)
        temporary = self.config.with_suffix(".partial")
        temporary.write_text(config.model_dump_json(indent=2) + "\n")
        temporary.replace(self.config)

    def _clear(self) -> None:
        """Deletes what training wrote, and nothing else that may be in the directory."""
        for file in (self.config, self.checkpoint):
            file.unlink(missing_ok=True)
        for folder in (self.grids, self.tensorboard):
            shutil.rmtree(folder, ignore_errors=True)


def _refuse_other_settings(path: Path, before: TrainConfig, now: TrainConfig) -> None:
    old, new = before.flat(), now.flat()
    names = new if before.family == now.family else ["family"]  # another family has other settings altogether
    differing = [name for name in names if new[name] != old[name] and name not in FREE_TO_CHANGE]
    if differing:
        changes = ", ".join(f"{name} was {old[name]} and is {new[name]}" for name in differing)
        raise ConfigError(
            f"{path} holds a run with other settings: {changes}. Give the old settings to resume it, another "
            "--run-dir to keep it, or --fresh to start over."
        )


@dataclass
class Progress:
    """How far a run has come, and on what data: the part of its state that is no net and no optimizer."""

    data: DatasetInfo | UnpairedInfo
    step: int = 0
    images: int = 0

    def state_dict(self) -> dict[str, Any]:
        """The fields, in types that a checkpoint may hold."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.data = type(self.data)(**state_dict["data"])
        self.step, self.images = state_dict["step"], state_dict["images"]


@dataclass(frozen=True)
class Run:
    """A trained generator and what is known of its making.

    Attributes:
        config: What it was trained with.
        generator: The moving average of the family's generator, float32, on the CPU, in evaluation mode.
        images_seen: Real images shown during training, with repetition.
        data: What is remembered of the data set: its family's `info`.
    """

    config: TrainConfig
    generator: Any
    images_seen: int
    data: Any


def load_run(run_dir: Path) -> Run:
    """Loads the generator that a run has come to; it may still be going on.

    Args:
        run_dir: The run's directory.

    Returns:
        The run.

    Raises:
        ConfigError: If there is no run, or it is of another version of the code.
        CheckpointError: If it has no readable checkpoint.
    """
    place = RunDir(run_dir)
    config = place.read_config()
    state = checkpoint.read(place.checkpoint)
    family = FAMILIES[config.family]
    data = family.info(**state["progress"]["data"])
    generator = family.build_generator(config, data)
    generator.load_state_dict(state["ema"])
    return Run(config, generator.eval().requires_grad_(False), state["progress"]["images"], data)


def load_net(run_dir: Path, phase: str, net: Net) -> Net:
    """Loads a net that learnt beside the generator, for example a discriminator.

    Args:
        run_dir: The run's directory.
        phase: The phase that it learnt in.
        net: Of the same shape.

    Returns:
        The same net, in evaluation mode, without gradients.

    Raises:
        CheckpointError: If there is no readable checkpoint.
    """
    net.load_state_dict(checkpoint.read(RunDir(run_dir).checkpoint)[f"{phase}/net"])
    return net.eval().requires_grad_(False)
