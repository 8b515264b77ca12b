"""The training loop: one function that runs the phases of any model, and resumes where an earlier call stopped."""

import dataclasses
import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from training import distributed, seeds
from training.config import ConfigError, RunConfig
from training.data import describe
from training.engine import checkpoint
from training.engine.ema import Ema
from training.engine.observer import Observer
from training.engine.precision import DeviceName, autocast, compiler_problem, resolve_device, resolve_precision
from training.engine.runs import Progress, RunDir, settings
from training.engine.schedule import learning_rate_factor
from training.engine.signals import Interrupted, stop_requests
from training.engine.statistics import Statistics
from training.engine.threads import default_threads, torch_threads
from training.steps.phase import Phase, Stateful

Quality = Callable[[RunConfig, Any, torch.device], Callable[[nn.Module], dict[str, float]]]
"""From (configuration, validation split, device) to what measures the averaged generator at each tick: cheap figures by
name; of the first, less is better. It leaves the generator as it is."""


def train(
    config: RunConfig,
    run_dir: Path,
    *,
    data_dir: Path | None = None,
    device: DeviceName = "auto",
    fresh: bool = False,
    threads: int | None = None,
    quality: Quality | None = None,
) -> Path:
    """Trains until the configuration's number of images has been seen.

    Calling it again goes on from the last checkpoint. In float32 on one CPU with the same torch, number of threads and
    number of processes the result is then the same, bit for bit, as that of a run that was never stopped, logs
    included.

    Started by torchrun in several processes, these share the work of every step; see `training.distributed`. How many
    there are may differ when a run is resumed.

    Args:
        config: What to train; its total_images, tick and compile may differ from those of the run that is resumed.
        run_dir: Where the run lives.
        data_dir: Where to look for the data set first.
        device: Where the nets run.
        fresh: Whether to delete an earlier run in `run_dir` and start over.
        threads: How many threads torch may use on the CPU; if None as many as the run that is resumed, or as there are
            cores for this process.
        quality: What it makes measures at every tick, logged as "validation/<name>". The nets of the tick that is best
            by its first figure are kept beside the last ones.

    Returns:
        The last grid of samples.

    Raises:
        ConfigError: If `run_dir` holds a run with other settings or data or is in use, the device is not there, or the
            processes cannot share a batch equally.
        DataError: If the data set is nowhere, broken, or not one for this recipe.
        CheckpointError: If there are checkpoints and none can be read.
        DivergedError: If a loss is no longer finite; the last checkpoint is left as it was.
        PeerError: If another process of this training has failed or ended.
        Interrupted: If one of its processes was told to stop; the state has been saved.
    """
    place = RunDir(run_dir)
    with ExitStack() as held:
        where = held.enter_context(distributed.joined(resolve_device(device)))

        # 1. The data, the run's folder, and what the machine decides.
        _refuse_unequal_shares(config.batch)
        place.refuse_others_files()
        config = config.model_copy(update={"precision": resolve_precision(config.precision, where)})
        with distributed.first_before_others():  # it may have to download them
            dataset = config.load("train", data_dir)
        distributed.say(describe(dataset))
        data = json.loads(json.dumps(dataclasses.asdict(dataset.info)))
        origin: dict[str, Any] = {"settings": settings(config), "data": data}
        with distributed.first_before_others():
            if distributed.is_first():
                held.enter_context(place.locked())
                saved = place.open_run(config, origin, fresh=fresh)
            else:
                saved = checkpoint.read_newest(place.checkpoints)
        threads = threads or (saved.origin["machine"]["threads"] if saved else default_threads())
        held.enter_context(torch_threads(threads))
        machine = {
            "device": where.type,
            "torch": torch.__version__,
            "threads": threads,
            "processes": distributed.count(),
        }
        origin |= {"machine": machine, "data_dir": data_dir and str(data_dir.absolute())}
        if saved:
            _tell_of_another_machine(saved.origin["machine"], machine)

        # 2. The nets. All randomness follows from the run's seed and the step; the caller's is left as it is.
        held.enter_context(torch.random.fork_rng([where] if where.type == "cuda" else []))
        torch.manual_seed(seeds.derive_seed(config.seed, "weights"))
        model = config.build(dataset, where)

        # 3. All that must survive a stop.
        ema = Ema(model.generator, config.ema)
        others = {name: Ema(net, config.ema) for name, net in model.averaged.items()}
        progress = Progress(dataset.info)
        statistics = Statistics(where)
        state: dict[str, Stateful] = {
            "progress": progress,
            "statistics": statistics,
            "ema": ema,
            **{f"{name}/ema": average for name, average in others.items()},
            **model.extra_state,
            **{f"{phase.name}/net": phase.module for phase in model.phases},
            **{f"{phase.name}/optimizer": phase.optimizer for phase in model.phases},
        }
        if saved:
            saved.restore(state)
            if progress.images >= config.total_images:
                seen = f"{progress.images:,} images"
                distributed.say(f"nothing to do: the run has seen {seen}, and --images counts them all")
        distributed.require_equal(f"{config!r} {progress!r}", [phase.module for phase in model.phases])

        # 4. The steps.
        is_compiled = _is_to_compile(config, where) and progress.images < config.total_images
        phases = _compiled(model.phases) if is_compiled else model.phases
        compiled_after = progress.step + max(phase.every for phase in phases)
        stop = held.enter_context(stop_requests())
        observer = held.enter_context(
            Observer(place, config.total_images, model.sample_grid, progress.images)
            if distributed.is_first()
            else nullcontext()
        )
        measure = quality(config, config.load("validation", data_dir), where) if quality and observer else None
        is_stopped = False
        while progress.images < config.total_images and not is_stopped:
            stop.at_once = is_compiled and progress.step < compiled_after
            torch.manual_seed(seeds.derive_seed(config.seed, "step", progress.step, distributed.rank()))
            rate = learning_rate_factor(config, progress.images)
            batches = model.batches(progress.step)
            _step(phases, progress.step, batches, rate, autocast(config.precision, where), statistics)
            stop.at_once = False
            progress.step += 1
            progress.images += config.step_images
            ema.update(model.generator, progress.images, config.step_images)
            for name, average in others.items():
                average.update(model.averaged[name], progress.images, config.step_images)
            if observer:
                observer.advance(config.step_images)

            # 5. A tick, and what a stop leaves, which is no tick.
            is_stopped = distributed.any_of(stop.requested)
            is_tick = progress.images % config.tick < config.step_images or progress.images >= config.total_images
            if is_tick:
                means = statistics.read(progress.images)
                with distributed.first_before_others():
                    if observer:
                        figures = measure(ema.module) if measure else {}
                        named = {f"validation/{name}": figure for name, figure in figures.items()}
                        observer.tick(progress.images, progress.step, {**means, **named}, ema.module)
                        if _is_best(figures, progress):
                            kept = {"progress", "ema", *(f"{name}/ema" for name in others)}
                            kept |= {f"{phase.name}/net" for phase in model.phases}
                            best = {name: each.state_dict() for name, each in state.items() if name in kept}
                            checkpoint.save(place.best, best, origin)
            if is_tick or is_stopped:
                statistics.means(progress.images)  # what has diverged is not saved
                now = {name: thing.state_dict() for name, thing in state.items()}
                with distributed.first_before_others():
                    if observer:
                        checkpoint.save_generation(place.checkpoints, progress.images, now, origin)
    if is_stopped:
        raise Interrupted(f"stopped after {progress.images:,} images; the same command goes on from there")
    return place.grid(progress.images)


def _step(
    phases: list[Phase],
    step: int,
    batches: Generator[Any, Any, None],
    rate: float,
    precision: torch.autocast,
    statistics: Statistics,
) -> None:
    """Lets the net of each phase learn, as often as the phase says; adds what is to be reported."""
    outputs: tuple[torch.Tensor, ...] | None = None
    for phase in (each for each in phases if step % each.every == 0 for _ in range(each.repeats)):
        batch = distributed.own_share(batches.send(outputs))
        _freeze_all_but(phase, phases)
        with precision:
            loss = phase.loss(batch)
        phase.optimizer.zero_grad()
        loss.value.backward()
        distributed.average_gradients(phase.module)
        _set_learning_rate(phase.optimizer, rate)
        phase.optimizer.step()
        if phase.after:
            with torch.no_grad():
                phase.after(phase.module)
        outputs = tuple(map(distributed.gathered, loss.outputs))
        named = {"loss": loss.value, **loss.statistics}
        statistics.add({f"{phase.name}/{name}": value for name, value in named.items()})


def _is_best(figures: dict[str, float], progress: Progress) -> bool:
    """Whether the first figure is the lowest so far; then it is remembered."""
    if not figures:
        return False
    figure = next(iter(figures.values()))
    if progress.best is not None and not figure < progress.best:
        return False
    progress.best = figure
    return True


def _refuse_unequal_shares(batch: int) -> None:
    processes = distributed.count()
    if batch % processes:
        raise ConfigError(
            f"--batch {batch}: {processes} processes cannot share it equally; give a multiple of {processes}"
        )


def _tell_of_another_machine(before: dict[str, Any], now: dict[str, Any]) -> None:
    differing = [f"{name} was {before[name]} and is {now[name]}" for name in now if before[name] != now[name]]
    if differing:
        distributed.say(f"warning: {', '.join(differing)}: the run goes on, but not bit for bit as it would have")


def _set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = optimizer.defaults["lr"] * factor


def _freeze_all_but(learning: Phase, phases: list[Phase]) -> None:
    """By module, since several phases may share one."""
    for phase in phases:
        phase.module.requires_grad_(False)
    learning.module.requires_grad_(True)


def _is_to_compile(config: RunConfig, device: torch.device) -> bool:
    if not (device.type == "cuda" if config.compile is None else config.compile):
        return False
    if problem := compiler_problem(device):
        distributed.say(f"warning: training without torch.compile: {problem}")
        return False
    return True


def _compiled(phases: list[Phase]) -> list[Phase]:
    distributed.say("compiling… (up to a few minutes)")
    return [dataclasses.replace(phase, loss=torch.compile(phase.loss)) for phase in phases]
