"""Evaluates a training run: figures and a report into the run's folder, put together by what the model has."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.conditions.codes import HEAD
from training.config import ConfigError
from training.config.gan import GanConfig
from training.data import DataError
from training.engine import Run, load_net, load_run
from training.engine.precision import resolve_device
from training.evaluation.classes import measure_classes
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.codes import measure_codes
from training.evaluation.directions import measure_directions
from training.evaluation.distribution import measure_distribution
from training.evaluation.findings import EvaluationError, Findings, share
from training.evaluation.guesses import measure_guesses
from training.evaluation.novelty import measure_novelty
from training.evaluation.page import page
from training.evaluation.result import Evaluation
from training.evaluation.sample import Sampler
from training.evaluation.steering import measure_attributes
from training.evaluation.subject import Subject
from training.nets.posterior import Reading

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.png"

_FIGURES_FOLDER = "figures"


def evaluate_run(
    run_dir: Path,
    data_dir: Path | None = None,
    samples: int = 10_000,
    cache_dir: Path | None = None,
    inception_weights: Path | None = None,
    *,
    best: bool = False,
    truncation: float | None = None,
) -> Evaluation:
    """Measures a training run's generator, and writes `EVALUATION_FILE`, `REPORT_FILE` and figures into its folder.

    Under truncation the two files have names of their own, see `named`, and there are no figures: what is packed is
    measured without.

    Args:
        run_dir: Where the run was trained.
        data_dir: Where its data set is; where its recipe finds it, or where it was trained from, if None.
        samples: How many to draw; of a model that translates pictures none are.
        cache_dir: Where classifiers are kept; `.cache` beside the run's folder where None.
        inception_weights: For translators, torch-fidelity's file of Inception-v3 weights, where the user has it.
        best: Whether to measure the checkpoint with the lowest validation figure instead of the last one.
        truncation: The largest absolute value in a latent, see `truncated_normal`; None for latents as trained on.

    Raises:
        ConfigError: If there is no run in the folder.
        CheckpointError: If it has no readable checkpoint.
        EvaluationError: If there are too few samples or pictures, the data are not the run's, or the truncation is not
            allowed.
        DataError: If the data set is not to be found, or not usable.
    """
    run, device = load_run(run_dir, best=best), resolve_device("auto")
    config, provenance, generator = run.config, trained_on(run), run.generator.to(device)
    if truncation is not None and not (truncation > 0 and isinstance(config, GanConfig)):
        raise EvaluationError(
            f"--truncation {truncation:g}: must be more than 0, of a model that makes pictures from noise"
        )
    train, place = _training_split(run, data_dir)
    if isinstance(config, GanConfig):
        validation, test = (config.load(split, place) for split in ("validation", "test"))
        subject = Subject(
            sampler=Sampler(
                generator, config.condition, config.latent_size, run.data, device, validation.known, truncation
            ),
            splits={"train": train, "validation": validation, "test": test},
            posterior=_posterior(config, run, run_dir, best=best),
            class_logits=_class_logits(config, run, run_dir, best=best),
            count=samples,
            cache_dir=cache_dir or run_dir.parent / ".cache",
            settings=ClassifierConfig(),
        )
        found = measure(subject)
    else:
        found = measure_directions(generator, config, config.load("test", place), device, inception_weights)
    found.protocol |= {"training": provenance, "torch": f"{torch.__version__} on {device.type}"}
    title = f"{run_dir.resolve().name} after {run.images_seen:,} training images"
    if truncation is None:
        _keep_figures(run_dir, found)
    else:
        title += f", truncation {truncation:g}"
        found.protocol["truncation"] = (
            f"values of latents beyond {truncation:g} drawn again (Brock et al. 2018, section 3.1); not the truncation "
            "of serving, which shrinks latents"
        )
    found.evaluation.save(named(run_dir / EVALUATION_FILE, truncation))
    page(title, found.evaluation, found.panels).save(named(run_dir / REPORT_FILE, truncation))
    return found.evaluation


def named(path: Path, truncation: float | None) -> Path:
    """Where a file of an evaluation lies: under truncation it has that in its name."""
    return path if truncation is None else path.with_stem(f"{path.stem}-truncation-{truncation:g}")


def measure(subject: Subject) -> Findings:
    """Measures a model that makes pictures from noise, by all that it has."""
    found = Findings()
    if subject.is_labelled and subject.can_judge:
        measure_classes(subject, found)
    if subject.posterior:
        measure_codes(subject, found)
    if subject.class_logits:
        measure_guesses(subject, found)
    if subject.samples.attributes is not None:
        measure_attributes(subject, found)
    measure_distribution(subject, found)
    measure_novelty(subject, found)
    if subject.classifier and not subject.can_judge:
        right = share(subject.validation.right)
        found.protocol["class_figures"] = f"left out: the classifier is near chance, {right:.0%} right on validation"
    return found


def trained_on(run: Run) -> str:
    """The protocol's entry "training": tells of which checkpoint of a run figures are.

    The images seen alone would not: a run that was started over may have seen as many.
    """
    digest = hashlib.sha256()
    for value in run.generator.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return f"{run.images_seen:,} training images seen; SHA-256 of the weights begins with {digest.hexdigest()[:16]}"


def _keep_figures(run_dir: Path, found: Findings) -> None:
    """Puts the pictures that a model card shows where `figures_of` finds them, in place of earlier ones."""
    for earlier in figures_of(run_dir):
        earlier.unlink()
    for name, figure in found.figures.items():
        path = run_dir / _FIGURES_FOLDER / name
        path.parent.mkdir(exist_ok=True)
        figure.save(path, optimize=True)


def figures_of(run_dir: Path) -> list[Path]:
    """The pictures of an evaluated run that go into its model card."""
    return sorted((run_dir / _FIGURES_FOLDER).glob("traversal-*.png"))


def _training_split(run: Run, data_dir: Path | None) -> tuple[Any, Path | None]:
    """The split that a run was trained on, and the folder it is in; figures on other data would be of another model."""
    places = [data_dir] if data_dir or run.data_dir is None else [None, run.data_dir]
    for place in places:
        try:
            train = run.config.load("train", place)
        except (ConfigError, DataError):
            if place == places[-1]:
                raise
        else:
            if train.info.fingerprint == run.data.fingerprint:
                return train, place
    where = f"--data-dir {data_dir}: " if data_dir else ""
    raise EvaluationError(f"{where}{run.data.name} is not the data that this run was trained on: they differ")


def _posterior(config: GanConfig, run: Run, run_dir: Path, *, best: bool) -> Callable[[Tensor], Reading] | None:
    """Q of a model with codes, as it was trained beside the generator."""
    if config.condition.kind != "codes":
        return None
    net = load_net(run_dir, "discriminator/net", config.build_discriminator(run.data), best=best)
    net.to(resolve_device("auto"))
    return lambda images: net.heads[HEAD](net(images)[1])


def _class_logits(config: GanConfig, run: Run, run_dir: Path, *, best: bool) -> Callable[[Tensor], Tensor] | None:
    """The moving average of a discriminator that is a classifier."""
    if not config.classifies:
        return None
    net = load_net(run_dir, "discriminator/ema", config.build_discriminator(run.data), best=best)
    net.to(resolve_device("auto"))
    return lambda images: net(images)[0]
