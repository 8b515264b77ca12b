"""Evaluates a training run of any family: figures and a report into the run's folder."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from training.config import CganConfig, CycleGanConfig, InfoGanConfig
from training.engine import Run, load_net, load_run
from training.engine.precision import resolve_device
from training.evaluation.codes import Model, evaluate_codes
from training.evaluation.conditional import TooFewSamplesError, evaluate_generator
from training.evaluation.report import (
    draw_classes,
    draw_codes,
    draw_translations,
    traversal_grid,
)
from training.evaluation.result import Evaluation
from training.evaluation.translation import evaluate_translators
from training.steps import FAMILIES
from training.steps.cgan import one_hot
from training.steps.infogan import build_discriminator

__all__ = ["EVALUATION_FILE", "FIGURES_FOLDER", "REPORT_FILE", "TooFewSamplesError", "evaluate_run", "trained_on"]

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.png"
FIGURES_FOLDER = "figures"
"""Pictures that go into the model card."""


def evaluate_run(
    run_dir: Path,
    data_dir: Path | None = None,
    samples: int = 10_000,
    cache_dir: Path | None = None,
    inception_weights: Path | None = None,
) -> Evaluation:
    """Measures a training run's generator, and writes `EVALUATION_FILE` and `REPORT_FILE` into its folder.

    Args:
        run_dir: Where the run was trained.
        data_dir: Where its data set is, if not where its family finds it.
        samples: Samples to draw; of the families that translate none are.
        cache_dir: Where judges are kept; `.cache` beside the run's folder where None.
        inception_weights: For translators, torch-fidelity's file of Inception-v3 weights, where the user has it.

    Returns:
        The figures.

    Raises:
        ConfigError: If there is no run in the folder.
        CheckpointError: If it has no readable checkpoint.
        TooFewSamplesError: If there are not 10 samples of each class.
        MissingDataError: If the data set is not to be found.
        UnpairedDataError: If a data set of two domains is not usable.
    """
    run = load_run(run_dir)
    title = f"{run_dir.resolve().name} after {run.images_seen:,} training images"
    cache_dir = cache_dir or run_dir.parent / ".cache"
    match run.config:
        case CganConfig():
            evaluation, draw = _evaluate_cgan(run, run.config, title, cache_dir, data_dir, samples)
        case InfoGanConfig():
            evaluation, draw = _evaluate_infogan(run, run.config, run_dir, title, cache_dir, data_dir, samples)
        case CycleGanConfig():
            evaluation, draw = _evaluate_cyclegan(run, run.config, title, data_dir, inception_weights)
        case _:
            raise TypeError(f"no evaluation of {run.config.family}")
    evaluation = evaluation.with_protocol(training=trained_on(run))
    evaluation.save(run_dir / EVALUATION_FILE)
    draw(evaluation).save(run_dir / REPORT_FILE)
    return evaluation


def trained_on(run: Run) -> str:
    """The protocol's entry "training": tells of which checkpoint of a run figures are."""
    return f"{run.images_seen:,} training images seen"


_Drawing = Callable[[Evaluation], Image.Image]


def _evaluate_cgan(
    run: Run, config: CganConfig, title: str, cache_dir: Path, data_dir: Path | None, samples: int
) -> tuple[Evaluation, _Drawing]:
    classes = len(run.data.class_names)

    def generator(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = run.generator(z, one_hot(labels, classes))
        return images

    evaluation, exhibits = evaluate_generator(
        generator,
        config.generator.latent_size,
        config.data,
        cache_dir=cache_dir,
        data_dir=data_dir,
        samples=samples,
        device=resolve_device("auto"),
        title=title,
    )
    return evaluation, lambda measured: draw_classes(exhibits, measured)


def _evaluate_infogan(
    run: Run, config: InfoGanConfig, run_dir: Path, title: str, cache_dir: Path, data_dir: Path | None, samples: int
) -> tuple[Evaluation, _Drawing]:
    discriminator = load_net(run_dir, "discriminator", build_discriminator(config, run.data))
    model = Model(run.generator, discriminator, config)
    evaluation, traversals = evaluate_codes(model, cache_dir=cache_dir, data_dir=data_dir, samples=samples)
    folder = run_dir / FIGURES_FOLDER
    folder.mkdir(exist_ok=True)
    for traversal in traversals:
        traversal_grid(traversal).save(folder / f"traversal-c{traversal.number + 1}.png", optimize=True)
    return evaluation, lambda measured: draw_codes(title, traversals, measured)


def _evaluate_cyclegan(
    run: Run, config: CycleGanConfig, title: str, data_dir: Path | None, inception_weights: Path | None
) -> tuple[Evaluation, _Drawing]:
    test = FAMILIES[config.family].load(config, "test", data_dir)
    evaluation, directions = evaluate_translators(run.generator, test, config, inception_weights)
    return evaluation, lambda measured: draw_translations(title, directions, measured)
