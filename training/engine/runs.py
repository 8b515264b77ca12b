"""A run's folder: what lies where, who may train in it, and how its trained generator is loaded."""

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from training.config import FREE_TO_CHANGE, ConfigError, RunConfig
from training.engine import checkpoint
from training.engine.checkpoint import Checkpoint, CheckpointError
from training.recipes import parse_config

Net = TypeVar("Net", bound=nn.Module)


class RunDir:
    """The places in a run's folder.

    Attributes:
        config: The configuration, as JSON.
        checkpoints: The folder of the whole state at the last two ticks or interruptions.
        best: The generator with the lowest validation figure so far.
        statistics: What each tick reports, a JSON object a line.
        grids: The folder of sample grids, one for each tick.
        tensorboard: The folder of TensorBoard's events.
    """

    def __init__(self, path: Path) -> None:
        """Takes the run's folder, which need not exist yet."""
        self.path = path
        self.config = path / "config.json"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.safetensors"
        self.statistics = path / "stats.jsonl"
        self.grids = path / "grids"
        self.tensorboard = path / "tensorboard"
        self._lock = path / "lock"

    def grid(self, images: int) -> Path:
        """The grid drawn after this many images."""
        return self.grids / f"{images:09d}.png"

    def read_config(self) -> RunConfig:
        """Reads the run's configuration.

        Raises:
            ConfigError: If there is none, or it is not of this version of the code.
        """
        try:
            return parse_config(self.config.read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path}: no training run here, {self.config.name} is missing") from error
        except ConfigError as error:
            raise ConfigError(f"{self.config}: {error}") from error

    def refuse_others_files(self) -> None:
        """Refuses a folder in which something else lies, such as pictures: a run must not mix with it or delete it.

        Raises:
            ConfigError: If it is no run's folder and not empty, or no folder at all.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"--run-dir {self.path}: is a file; give a new or empty folder")
        is_ours = self._lock.exists() or any(self.checkpoints.glob("*.safetensors"))
        if not is_ours and self.path.is_dir() and any(self.path.iterdir()):
            raise ConfigError(f"--run-dir {self.path}: holds other files and no run; give a new or empty folder")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A block in which no other process trains here; the kernel ends it too when this process dies.

        Raises:
            ConfigError: If another process does, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = self._lock.open("a+")
        except OSError as error:
            raise ConfigError(f"--run-dir {self.path}: {error.strerror}") from error
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise ConfigError(
                    f"{self.path}: process {file.read().strip()} is training in this folder; stop it, or give another "
                    "--run-dir"
                ) from error
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def open_run(self, config: RunConfig, origin: dict[str, Any], *, fresh: bool) -> Checkpoint | None:
        """Makes the folder this configuration's, new or to be resumed; deletes what was logged after the checkpoint.

        Args:
            config: What is to run.
            origin: Its "settings" that must be those of the run that is resumed, and its "data", in types of JSON.
            fresh: Whether to delete what an earlier run left here.

        Returns:
            The checkpoint to resume from; None in a new run.

        Raises:
            ConfigError: If a run with other settings or of other data is here already; the message names them.
            CheckpointError: If there are checkpoints and none is readable.
        """
        if fresh:
            self._clear()
        saved = checkpoint.read_newest(self.checkpoints)
        if saved:
            self._refuse_others(saved.origin, origin)
        elif self.config.exists():
            self._refuse_others({**origin, "settings": settings(self.read_config())}, origin)
        self._cut(saved.state["progress"]["images"] if saved else 0)
        self.grids.mkdir(exist_ok=True)
        temporary = self.config.with_suffix(".partial")
        temporary.write_text(config.model_dump_json(indent=2) + "\n")
        temporary.replace(self.config)
        return saved

    def _clear(self) -> None:
        """Deletes what training wrote, and nothing else that may be in the folder.

        The checkpoints go first and at once: whatever else a kill may leave, nothing goes on from it.
        """
        leftovers = self.path / "checkpoints.deleted"
        shutil.rmtree(leftovers, ignore_errors=True)
        if self.checkpoints.exists():
            self.checkpoints.rename(leftovers)
            checkpoint.sync(self.path)
        for file in (self.best, self.config, self.statistics):
            file.unlink(missing_ok=True)
        for folder in (leftovers, self.grids, self.tensorboard):
            shutil.rmtree(folder, ignore_errors=True)

    def _cut(self, images: int) -> None:
        """Deletes all that comes after this many images: it is about to be made again."""
        for path in (*checkpoint.generations(self.checkpoints), *self.grids.glob("*.png")):
            if int(path.stem) > images:
                path.unlink()
        if not images:  # else the writer says where to go on, and TensorBoard hides what was cut
            shutil.rmtree(self.tensorboard, ignore_errors=True)
            self.best.unlink(missing_ok=True)
        if self.statistics.exists():
            lines = self.statistics.read_text().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n") and json.loads(line)["images"] <= images]
            temporary = self.statistics.with_suffix(".partial")
            temporary.write_text("".join(whole))
            temporary.replace(self.statistics)

    def _refuse_others(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for what in ("settings", "data"):
            old, new = before[what], now[what]
            names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
            if next(iter(new)) in names:  # says what is trained, or on what: all else then has another meaning
                names = names[:1]
            if names:
                changes = ", ".join(f"{name} was {old.get(name)} and is {new.get(name)}" for name in names)
                raise ConfigError(
                    f"{self.path} holds a run with other {what}: {changes}. Give the old {what} to resume it, another "
                    "--run-dir to keep it, or --fresh to start over."
                )


def settings(config: RunConfig) -> dict[str, Any]:
    """All settings that a resumed run must share, by dotted name, as JSON gives them back."""
    flat = {name: value for name, value in config.flat().items() if name not in FREE_TO_CHANGE}
    return dict(json.loads(json.dumps(flat)))


@dataclass
class Progress:
    """How far a run has come, and on what data: the part of its state that is no net and no optimizer.

    Attributes:
        data: What is remembered of the data set.
        step: Steps done.
        images: Images seen.
        best: The lowest validation figure of a tick so far.
    """

    data: Any
    step: int = 0
    images: int = 0
    best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """The fields, in types that a checkpoint may hold."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.step, self.images, self.best = (state_dict[name] for name in ("step", "images", "best"))


@dataclass(frozen=True)
class Run:
    """A trained generator and what is known of its making.

    Attributes:
        config: What it was trained with.
        generator: The moving average of the generator, float32, on the CPU, in evaluation mode.
        images_seen: Real images shown during training, with repetition.
        data: What is remembered of the data set.
        checkpoint: The file that it was loaded from.
        data_dir: Where it was told to look for the data set.
    """

    config: RunConfig
    generator: Any
    images_seen: int
    data: Any
    checkpoint: Path
    data_dir: Path | None


def load_run(run_dir: Path, *, best: bool = False) -> Run:
    """Loads the generator that a run has come to; it may still be going on.

    Args:
        run_dir: The run's folder.
        best: Whether to load the one with the lowest validation figure instead of the last one.

    Returns:
        The run.

    Raises:
        ConfigError: If there is no run, or it is of another version of the code.
        CheckpointError: If it has no readable checkpoint.
    """
    folder = RunDir(run_dir)
    config = folder.read_config()
    saved = checkpoint.read(folder.best) if best else _read_last(folder)
    data = config.info_type(**saved.state["progress"]["data"])
    generator = config.build_generator(data)
    generator.load_state_dict(saved.state["ema"])
    images, data_dir = saved.state["progress"]["images"], saved.origin.get("data_dir")
    place = Path(data_dir) if data_dir else None
    return Run(config, generator.eval().requires_grad_(False), images, data, saved.path, place)


def load_net(run_dir: Path, name: str, net: Net, *, best: bool = False) -> Net:
    """Loads a net that learnt beside the generator, for example a discriminator.

    Args:
        run_dir: The run's folder.
        name: "<phase that it learnt in>/net", or "<name in `Model.averaged`>/ema" for its moving average.
        net: Of the same shape.
        best: As of `load_run`.

    Returns:
        The same net, in evaluation mode, without gradients.

    Raises:
        CheckpointError: If there is no readable checkpoint.
    """
    place = RunDir(run_dir)
    saved = checkpoint.read(place.best) if best else _read_last(place)
    net.load_state_dict(saved.state[name])
    return net.eval().requires_grad_(False)


def _read_last(place: RunDir) -> Checkpoint:
    saved = checkpoint.read_newest(place.checkpoints)
    if saved is None:
        raise CheckpointError(f"{place.checkpoints}: there is no checkpoint; has this run reached its first tick?")
    return saved
