"""The training loop: one function that runs any family's phases, and resumes where an earlier call stopped."""

import dataclasses
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor
from torch.optim import Optimizer

from training import seeds
from training.config import TrainConfig
from training.engine import checkpoint
from training.engine.ema import Ema
from training.engine.observer import Observer
from training.engine.precision import DeviceName, autocast, compiler_problem, resolve_device, resolve_precision
from training.engine.runs import Progress, RunDir
from training.engine.schedule import learning_rate_factor
from training.engine.statistics import Statistics
from training.steps import FAMILIES, Phase, Stateful


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM stopped the run; its state is saved, and the same call goes on from there."""


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    data_dir: Path | None = None,
    device: DeviceName = "auto",
    fresh: bool = False,
) -> Path:
    """Trains until the configuration's number of images has been seen.

    Calling it again goes on from the last checkpoint. In float32 on one CPU with the same number of threads the
    result is then the same, bit for bit, as that of a run that was never stopped.

    Args:
        config: What to train; its images, tick and compile may differ from those of the run that is resumed.
        run_dir: Where the run lives.
        data_dir: Where to look for the data set first.
        device: Where the nets run.
        fresh: Whether to delete an earlier run in `run_dir` and start over.

    Returns:
        The last grid of samples.

    Raises:
        ConfigError: If `run_dir` holds a run with other settings, or the device is not there.
        MissingDataError: If the data set is nowhere.
        IdxError: If a file of a labelled data set is broken.
        UnpairedDataError: If a data set of two domains has an empty domain or a broken picture.
        CheckpointError: If the checkpoint to resume from is broken.
        DivergedError: If a loss is no longer finite; the last checkpoint is left as it was.
        Interrupted: If the process was told to stop; the state has been saved.
    """
    where = resolve_device(device)
    config = config.model_copy(update={"precision": resolve_precision(config.precision, where)})
    family = FAMILIES[config.family]
    dataset = family.load(config, "train", data_dir)
    place = RunDir(run_dir)
    place.claim(config, fresh=fresh)

    with torch.random.fork_rng():
        torch.manual_seed(seeds.derive_seed(config.seed, "weights"))
        model = family.build(config, dataset, where)
    ema = Ema(model.generator, config.ema)
    progress = Progress(dataset.info)
    # All that must survive a stop; what is random at a step follows from the seed and the step.
    state: dict[str, Stateful] = {"progress": progress, "ema": ema, **model.memory}
    for phase in model.phases:
        state[f"{phase.name}/net"] = phase.module
        state[f"{phase.name}/optimizer"] = phase.optimizer
    if place.checkpoint.exists():
        checkpoint.restore(place.checkpoint, state)

    phases = _compiled(model.phases, where) if config.compile else model.phases
    statistics = Statistics()
    with Observer(place, config, model.view, progress.images) as observer, _stop_requests() as stop:
        while progress.images < config.images and not stop.requested:
            rate = learning_rate_factor(config, progress.images)
            feed = model.feed(progress.step)
            made: tuple[Tensor, ...] | None = None
            for phase in phases:
                batch = feed.send(made)
                _freeze_all_but(phase, phases)
                with autocast(config.precision, where):
                    loss = phase.loss(batch)
                phase.optimizer.zero_grad()
                loss.value.backward()
                _set_learning_rate(phase.optimizer, rate)
                phase.optimizer.step()
                made = loss.made
                named = {"loss": loss.value, **loss.statistics}
                statistics.add({f"{phase.name}/{name}": value for name, value in named.items()})
            progress.step += 1
            progress.images += config.batch
            ema.update(model.generator, progress.images, config.batch)
            observer.advance(config.batch)

            finished = progress.images >= config.images or stop.requested
            if finished or progress.images % config.tick < config.batch:
                observer.tick(progress.images, statistics.read(progress.images), ema.module)
                checkpoint.save(place.checkpoint, state)
    if stop.requested:
        raise Interrupted(f"stopped after {progress.images:,} images; the same command goes on from there")
    return place.grid(progress.images)


def _set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = optimizer.defaults["lr"] * factor


def _freeze_all_but(learning: Phase, phases: list[Phase]) -> None:
    for phase in phases:
        phase.module.requires_grad_(phase is learning)


def _compiled(phases: list[Phase], device: torch.device) -> list[Phase]:
    problem = compiler_problem(device)
    if problem:
        warnings.warn(f"training without torch.compile: {problem}", stacklevel=3)
        return phases
    return [dataclasses.replace(phase, loss=torch.compile(phase.loss)) for phase in phases]


@dataclass
class _Stop:
    requested: bool = False


@contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Turns SIGINT and SIGTERM into a flag, so that a step is never cut in half; a second signal kills as usual."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.requested = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()
