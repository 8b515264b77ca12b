"""How samples follow the attributes that were asked for, and these alone; of models whose condition is attributes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from training.evaluation.attributes import rank_correlations
from training.evaluation.findings import Findings
from training.evaluation.page import headed
from training.evaluation.regressor import regressor_for
from training.evaluation.subject import Subject
from training.evaluation.sweeps import STOPS, SWEEPS, measured_sweeps, traversal

_RANGE = 2  # from the least value of an attribute, -1, to its greatest, 1

Measure = Callable[[Tensor, Tensor | None], Tensor]
"""As of `ImageDataset.measure`."""


def measure_attributes(subject: Subject, found: Findings) -> None:
    """Measures attributes on samples beside those asked for, and along sweeps of each."""
    measure, names = _measure_of(subject, found), tuple(subject.train.attribute_meanings)
    for name, ours, theirs in zip(names, *_explained(subject, measure), strict=True):
        if ours is not None:
            found.add(f"attribute_r2/{name}", ours, theirs)
    found.protocol["attribute_r2"] = (
        "1 - squared error / variance of an attribute, measured on samples against what was asked for; reference: "
        "measured on real test images against what is known of them"
    )
    _add_sweeps(subject, found, measure, names)
    rows = subject.sampler.condition.shown_classes(subject.sampler.info)
    classes = subject.sampler.condition.class_names(subject.sampler.info)
    titles = [classes[label] for label in rows.tolist()] if classes else [""]
    draws = {"labels": rows, "attributes": torch.zeros(len(rows), len(names))}
    for number, name in enumerate(names):
        found.figures[f"traversal-{name}.png"] = shown = traversal(subject.sampler, draws, "attributes", number, titles)
        found.panels.append(headed(f"{name} from -1 to 1", shown))


def _measure_of(subject: Subject, found: Findings) -> Measure:
    """The data set's own function, else a network that has learnt to read its attributes."""
    if subject.train.measure:
        found.protocol["attributes"] = "measured on the pixels, by the function that the data set's are measured by"
        return subject.train.measure
    read = regressor_for(subject.train, subject.cache_dir, subject.settings, subject.sampler.device)
    found.protocol["attributes"] = (
        f"read by a network trained on {len(subject.train):,} training images, as the classifier is but without "
        "shifts; how well it reads is the reference of attribute_r2"
    )
    return lambda images, _: read(images)


def _explained(subject: Subject, measure: Measure) -> list[list[float | None]]:
    """R² of each attribute on samples and on test images; None where it is always the same."""
    shares = []
    for pictures in (subject.samples, subject.test):
        assert pictures.attributes is not None
        errors = (measure(pictures.images, pictures.labels) - pictures.attributes).double().square().mean(0)
        variances = pictures.attributes.double().var(0, correction=0)
        pairs = zip(errors.tolist(), variances.tolist(), strict=True)
        shares.append([1 - error / variance if variance else None for error, variance in pairs])
    return shares


def _add_sweeps(subject: Subject, found: Findings, measure: Measure, names: tuple[str, ...]) -> None:
    """How a swept attribute moves, and how much the others move with it."""

    def measured_on(images: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        return measure(images, draws.get("labels"))

    for number, measured in enumerate(measured_sweeps(subject.sampler, "attributes", measured_on)):
        found.add(f"spearman/{names[number]}", float(rank_correlations(measured.double().numpy())[number]))
        if len(names) > 1:
            changes = (measured[:, -1] - measured[:, 0]).abs().mean(0) / _RANGE
            found.add(f"side_effect/{names[number]}", float((changes.sum() - changes[number]) / (len(names) - 1)))
    found.protocol["spearman"] = (
        f"mean over {SWEEPS} sweeps (seed 1, each with its own noise, classes in turn, the other attributes those of a "
        f"validation image) of Spearman's rho between {STOPS} stops from -1 to 1 and the attribute measured on the "
        "pictures"
    )
    found.protocol["side_effect"] = (
        "of the same sweeps: mean absolute change of the other attributes between the first stop and the last, as a "
        "share of their range"
    )
