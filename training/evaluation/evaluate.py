"""Evaluates a training run of any family: figures and a report into the run's folder."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from PIL import Image

from training.config import CganConfig, CycleGanConfig, InfoGanConfig
from training.engine import Run, load_net, load_run
from training.engine.precision import resolve_device
from training.evaluation.codes import Model, evaluate_codes
from training.evaluation.conditional import TooFewSamplesError, evaluate_generator
from training.evaluation.report import draw_classes, draw_codes, draw_translations, traversal_grid
from training.evaluation.result import Evaluation
from training.evaluation.translation import evaluate_translators
from training.steps import FAMILIES
from training.steps.cgan import one_hot
from training.steps.infogan import build_discriminator

__all__ = ["EVALUATION_FILE", "REPORT_FILE", "TooFewSamplesError", "evaluate_run", "figures_of", "trained_on"]

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.png"

_FIGURES_FOLDER = "figures"


class _Measured(NamedTuple):
    """What an evaluation comes to.

    Attributes:
        evaluation: The figures.
        draw: Makes the report of them.
        figures: Pictures for the model card, by the names of their files.
    """

    evaluation: Evaluation
    draw: Callable[[Evaluation], Image.Image]
    figures: Mapping[str, Image.Image] = MappingProxyType({})


def evaluate_run(
    run_dir: Path,
    data_dir: Path | None = None,
    samples: int = 10_000,
    cache_dir: Path | None = None,
    inception_weights: Path | None = None,
) -> Evaluation:
    """Measures a training run's generator, and writes `EVALUATION_FILE`, `REPORT_FILE` and figures into its folder.

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
            measured = _evaluate_cgan(run, run.config, title, cache_dir, data_dir, samples)
        case InfoGanConfig():
            measured = _evaluate_infogan(run, run.config, run_dir, title, cache_dir, data_dir, samples)
        case CycleGanConfig():
            measured = _evaluate_cyclegan(run, run.config, title, data_dir, inception_weights)
        case _:
            raise TypeError(f"no evaluation of {run.config.family}")
    evaluation = measured.evaluation.with_protocol(training=trained_on(run))
    _replace_figures(run_dir, measured.figures)
    evaluation.save(run_dir / EVALUATION_FILE)
    measured.draw(evaluation).save(run_dir / REPORT_FILE)
    return evaluation


def trained_on(run: Run) -> str:
    """The protocol's entry "training": tells of which checkpoint of a run figures are.

    The images seen alone would not: a run that was started over may have seen as many.
    """
    digest = hashlib.sha256()
    for value in run.generator.state_dict().values():
        digest.update(value.numpy().tobytes())
    return f"{run.images_seen:,} training images seen; SHA-256 of the weights begins with {digest.hexdigest()[:16]}"


def figures_of(run_dir: Path) -> list[Path]:
    """The pictures of an evaluated run that go into its model card."""
    return sorted((run_dir / _FIGURES_FOLDER).glob("traversal-*.png"))


def _replace_figures(run_dir: Path, figures: Mapping[str, Image.Image]) -> None:
    for earlier in figures_of(run_dir):
        earlier.unlink()
    for name, figure in figures.items():
        path = run_dir / _FIGURES_FOLDER / name
        path.parent.mkdir(exist_ok=True)
        figure.save(path, optimize=True)


def _evaluate_cgan(
    run: Run, config: CganConfig, title: str, cache_dir: Path, data_dir: Path | None, samples: int
) -> _Measured:
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
    return _Measured(evaluation, lambda final: draw_classes(exhibits, final))


def _evaluate_infogan(
    run: Run, config: InfoGanConfig, run_dir: Path, title: str, cache_dir: Path, data_dir: Path | None, samples: int
) -> _Measured:
    discriminator = load_net(run_dir, "discriminator", build_discriminator(config, run.data))
    model = Model(run.generator, discriminator, config)
    evaluation, traversals = evaluate_codes(model, cache_dir=cache_dir, data_dir=data_dir, samples=samples)
    figures = {f"traversal-c{traversal.number + 1}.png": traversal_grid(traversal) for traversal in traversals}
    return _Measured(evaluation, lambda final: draw_codes(title, traversals, final), figures)


def _evaluate_cyclegan(
    run: Run, config: CycleGanConfig, title: str, data_dir: Path | None, inception_weights: Path | None
) -> _Measured:
    test = FAMILIES[config.family].load(config, "test", data_dir)
    evaluation, directions = evaluate_translators(run.generator, test, config, inception_weights)
    return _Measured(evaluation, lambda final: draw_translations(title, directions, final))
