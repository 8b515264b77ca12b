"""Evaluates a training run: figures and a report into the run's folder, put together by what the model has."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.conditions.codes import HEAD
from training.config.gan import GanConfig
from training.data import Split
from training.engine import Run, load_net, load_run
from training.engine.precision import resolve_device
from training.evaluation.classes import measure_classes
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.codes import measure_codes
from training.evaluation.directions import measure_directions
from training.evaluation.distribution import measure_distribution
from training.evaluation.novelty import measure_novelty
from training.evaluation.page import page
from training.evaluation.result import Evaluation
from training.evaluation.sample import Sampler
from training.evaluation.subject import EvaluationError, Section, Subject
from training.nets.posterior import Reading

__all__ = ["EVALUATION_FILE", "REPORT_FILE", "EvaluationError", "evaluate", "evaluate_run", "figures_of", "trained_on"]

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.png"

_FIGURES_FOLDER = "figures"

SECTIONS: tuple[tuple[Callable[[Subject], bool], Callable[[Subject], Section]], ...] = (
    (lambda subject: subject.sampler is not None and subject.sampler.condition.kind == "label", measure_classes),
    (lambda subject: subject.posterior is not None, measure_codes),
    (lambda subject: subject.sampler is not None, measure_distribution),
    (lambda subject: subject.sampler is not None, measure_novelty),
    (lambda subject: subject.sampler is None, measure_directions),
)
"""The parts of an evaluation in order: what a model must have, and what measures it."""


def evaluate(subject: Subject, **protocol: str) -> tuple[Evaluation, Section]:
    """Measures a model.

    Args:
        subject: The model and its data.
        **protocol: Further entries of the protocol.

    Returns:
        The figures, and all sections as one, with the report's panels and the card's figures.

    Raises:
        EvaluationError: If there are too few samples or pictures, or the data are not the model's.
        DataError: If the data set is not to be found, or not usable.
    """
    sections = [measure(subject) for needs, measure in SECTIONS if needs(subject)]
    protocol["torch"] = f"{torch.__version__} on {subject.device.type}"
    whole = Section(
        metrics=[metric for section in sections for metric in section.metrics],
        protocol={name: text for section in sections for name, text in section.protocol.items()} | protocol,
        panels=[panel for section in sections for panel in section.panels],
        codes=next((section.codes for section in sections if section.codes), None),
        figures={name: figure for section in sections for name, figure in section.figures.items()},
    )
    return Evaluation(metrics=tuple(whole.metrics), protocol=dict(whole.protocol), codes=whole.codes), whole


def evaluate_run(
    run_dir: Path,
    data_dir: Path | None = None,
    samples: int = 10_000,
    cache_dir: Path | None = None,
    inception_weights: Path | None = None,
    *,
    best: bool = False,
) -> Evaluation:
    """Measures a training run's generator, and writes `EVALUATION_FILE`, `REPORT_FILE` and figures into its folder.

    Args:
        run_dir: Where the run was trained.
        data_dir: Where its data set is, if not where its recipe finds it.
        samples: Samples to draw; of a model that translates pictures none are.
        cache_dir: Where classifiers are kept; `.cache` beside the run's folder where None.
        inception_weights: For translators, torch-fidelity's file of Inception-v3 weights, where the user has it.
        best: Whether to measure the checkpoint with the lowest validation figure instead of the last one.

    Returns:
        The figures.

    Raises:
        ConfigError: If there is no run in the folder.
        CheckpointError: If it has no readable checkpoint.
        EvaluationError: As of `evaluate`.
        DataError: If the data set is not to be found, or not usable.
    """
    run, device = load_run(run_dir, best=best), resolve_device("auto")
    config, provenance, generator = run.config, trained_on(run), run.generator.to(device)
    subject = Subject(
        generator=generator,
        config=config,
        load=lambda split: _load(run, split, data_dir),
        sampler=Sampler(generator, config.condition, config.latent_size, run.data, device)
        if isinstance(config, GanConfig)
        else None,
        posterior=_posterior(run, run_dir, device, best=best),
        count=samples,
        cache_dir=cache_dir or run_dir.parent / ".cache",
        classifier=ClassifierConfig(),
        device=device,
        inception_weights=inception_weights,
    )
    evaluation, whole = evaluate(subject, training=provenance)
    for earlier in figures_of(run_dir):
        earlier.unlink()
    for name, figure in whole.figures.items():
        path = run_dir / _FIGURES_FOLDER / name
        path.parent.mkdir(exist_ok=True)
        figure.save(path, optimize=True)
    evaluation.save(run_dir / EVALUATION_FILE)
    title = f"{run_dir.resolve().name} after {run.images_seen:,} training images"
    page(title, evaluation, whole.panels).save(run_dir / REPORT_FILE)
    return evaluation


def _load(run: Run, split: Split, data_dir: Path | None) -> Any:
    """Loads a split; refuses other data than the run was trained on, whose figures would be of another model."""
    dataset = run.config.load(split, data_dir)
    if split == "train" and dataset.info.fingerprint != run.data.fingerprint:
        where = f"--data-dir {data_dir}: " if data_dir else ""
        raise EvaluationError(f"{where}{dataset.name} is not the data that this run was trained on: they differ")
    return dataset


def _posterior(run: Run, run_dir: Path, device: torch.device, *, best: bool) -> Callable[[Tensor], Reading] | None:
    """Q of a model with codes, as it was trained beside the generator."""
    config = run.config
    if not isinstance(config, GanConfig) or config.condition.kind != "codes":
        return None
    net = load_net(run_dir, "discriminator", config.build_discriminator(run.data), best=best).to(device)
    return lambda images: net.heads[HEAD](net(images)[1])


def trained_on(run: Run) -> str:
    """The protocol's entry "training": tells of which checkpoint of a run figures are.

    The images seen alone would not: a run that was started over may have seen as many.
    """
    digest = hashlib.sha256()
    for value in run.generator.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return f"{run.images_seen:,} training images seen; SHA-256 of the weights begins with {digest.hexdigest()[:16]}"


def figures_of(run_dir: Path) -> list[Path]:
    """The pictures of an evaluated run that go into its model card."""
    return sorted((run_dir / _FIGURES_FOLDER).glob("traversal-*.png"))
