"""The training loop: one function that runs any family's phases, and resumes where an earlier call stopped."""

import dataclasses
import signal
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from training import distributed, seeds
from training.config import ConfigError, TrainConfig
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

    Calling it again goes on from the last checkpoint. In float32 on one CPU with the same number of threads and of
    processes the result is then the same, bit for bit, as that of a run that was never stopped.

    Started by torchrun in several processes, these share the work of every step; see `training.distributed`. How many
    there are may differ when a run is resumed.

    Args:
        config: What to train; its images, tick and compile may differ from those of the run that is resumed.
        run_dir: Where the run lives.
        data_dir: Where to look for the data set first.
        device: Where the nets run.
        fresh: Whether to delete an earlier run in `run_dir` and start over.

    Returns:
        The last grid of samples.

    Raises:
        ConfigError: If `run_dir` holds a run with other settings, the device is not there, or the processes cannot
            share a batch equally.
        MissingDataError: If the data set is nowhere.
        IdxError: If a file of a labelled data set is broken.
        UnpairedDataError: If a data set of two domains has an empty domain or a broken picture.
        CheckpointError: If the checkpoint to resume from is broken.
        DivergedError: If a loss is no longer finite; the last checkpoint is left as it was.
        PeerError: If another process of this training has failed or ended.
        Interrupted: If one of its processes was told to stop; the state has been saved.
    """
    place = RunDir(run_dir)
    with distributed.joined(resolve_device(device)) as where:
        images, is_stopped = _run(config, place, data_dir, where, fresh=fresh)
    if is_stopped:
        raise Interrupted(f"stopped after {images:,} images; the same command goes on from there")
    return place.grid(images)


def _run(
    config: TrainConfig, place: RunDir, data_dir: Path | None, where: torch.device, *, fresh: bool
) -> tuple[int, bool]:
    """Trains as one of the processes that do; gives the images seen, and whether one was told to stop."""
    _refuse_unequal_shares(config.batch)
    config = config.model_copy(update={"precision": resolve_precision(config.precision, where)})
    family = FAMILIES[config.family]
    with distributed.first_before_others():  # it may have to download them
        dataset = family.load(config, "train", data_dir)
    with distributed.first_before_others():
        if distributed.is_first():
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
    distributed.require_equal(f"{config!r} {progress!r}", [phase.module for phase in model.phases])

    phases = _compiled(model.phases, where) if config.compile else model.phases
    statistics = Statistics()
    is_stopped = False
    shown = Observer(place, config, model.view, progress.images) if distributed.is_first() else nullcontext()
    with shown as observer, _stop_requests() as stop:
        while progress.images < config.images and not is_stopped:
            rate = learning_rate_factor(config, progress.images)
            statistics.add(_step(phases, model.feed(progress.step), rate, autocast(config.precision, where)))
            progress.step += 1
            progress.images += config.batch
            ema.update(model.generator, progress.images, config.batch)
            if observer:
                observer.advance(config.batch)

            is_stopped = distributed.any_of(stop.requested)
            finished = progress.images >= config.images or is_stopped
            if finished or progress.images % config.tick < config.batch:
                means = statistics.read(progress.images)
                with distributed.first_before_others():
                    if observer:
                        observer.tick(progress.images, means, ema.module)
                        checkpoint.save(place.checkpoint, state)
    return progress.images, is_stopped


def _step(
    phases: list[Phase], feed: Generator[Any, Any, None], rate: float, precision: torch.autocast
) -> dict[str, Tensor]:
    """Lets the net of each phase learn once; gives what is to be reported."""
    report: dict[str, Tensor] = {}
    made: tuple[Tensor, ...] | None = None
    for phase in phases:
        batch = distributed.own_share(feed.send(made))
        _freeze_all_but(phase, phases)
        with precision:
            loss = phase.loss(batch)
        phase.optimizer.zero_grad()
        loss.value.backward()
        distributed.average_gradients(phase.module)
        _set_learning_rate(phase.optimizer, rate)
        phase.optimizer.step()
        made = tuple(map(distributed.gathered, loss.made))
        named = {"loss": loss.value, **loss.statistics}
        report |= {f"{phase.name}/{name}": value for name, value in named.items()}
    return report


def _refuse_unequal_shares(batch: int) -> None:
    processes = distributed.count()
    if batch % processes:
        raise ConfigError(
            f"--batch {batch}: {processes} processes cannot share it equally; give a multiple of {processes}"
        )


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
