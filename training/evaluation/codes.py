"""What codes mean, how surely Q reads them, and whether served pictures obey them; of models whose condition is codes.

What is chosen (the class that a value stands for) is chosen on the validation split; the figures are of the test split.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from training.evaluation.attributes import ATTRIBUTES, measured_attributes, names_of, rank_correlations
from training.evaluation.findings import Findings, share
from training.evaluation.page import beside, headed
from training.evaluation.result import CodeNumber, Codes, CodeValues
from training.evaluation.sample import Sampler
from training.evaluation.subject import MeasuredPictures, Subject
from training.evaluation.sweeps import STOPS, SWEEPS, measured_sweeps, traversal
from training.nets.posterior import Reading
from training.terms.information import UNIFORM_ENTROPY, categorical_entropy

_BATCH = 250
_NOUNS = {"digits": "digit", "mnist": "digit", "fashion-mnist": "garment"}


def measure_codes(subject: Subject, found: Findings) -> None:
    """Measures what the codes mean and how well they are read and obeyed."""
    of_samples, of_test, of_validation = (
        read_codes(subject, pictures.images) for pictures in (subject.samples, subject.test, subject.validation)
    )
    matched = [_matched(logits, subject) for logits in of_validation.categorical]
    best = None
    if subject.test.labels is not None and matched:
        best = _add_errors(found, subject, matched, of_validation, of_test)
    categorical = tuple(
        _described(classes, logits.argmax(1), subject, has_name=code == best)
        for code, (classes, logits) in enumerate(zip(matched, of_test.categorical, strict=True))
    )
    _add_information(found, of_samples, subject.inputs.draws)
    found.codes = Codes(categorical=categorical, continuous=_add_correlations(found, subject.sampler))
    panels, (rows, titles) = [], _rows(found.codes, matched)
    for number, code in enumerate(found.codes.continuous):
        shown = traversal(subject.sampler, rows, "continuous", number, titles)
        found.figures[f"traversal-c{number + 1}.png"] = shown
        panels.append(headed(f"c{number + 1} {code.name} from -1 to 1", shown))
    if panels:
        found.panels.append(beside(*panels))


@torch.inference_mode()
def read_codes(subject: Subject, images: Tensor) -> Reading:
    """Has Q read the codes of pictures, uint8 [N, C, H, W]; on the CPU."""
    assert subject.posterior is not None
    parts = [subject.posterior(part.to(subject.sampler.device).float() / 127.5 - 1) for part in images.split(_BATCH)]
    categorical, *continuous = zip(*parts, strict=True)
    return Reading(
        [torch.cat(logits).cpu() for logits in zip(*categorical, strict=True)],
        *(torch.cat(numbers).cpu() for numbers in continuous),
    )


def _matched(logits: Tensor, subject: Subject) -> Tensor:
    """The class that each value of a code stands for, one to one, int64 [values]; -1 where none was left."""
    classes = torch.full((logits.shape[1],), -1)
    if subject.validation.labels is not None:
        read = functional.one_hot(logits.argmax(1), len(classes))
        table = read.T @ functional.one_hot(subject.validation.labels, len(subject.train.class_names))
        values, labels = linear_sum_assignment(table.numpy(), maximize=True)
        classes[values] = torch.from_numpy(labels)
    return classes


def _add_errors(
    found: Findings, subject: Subject, matched: list[Tensor], of_validation: Reading, of_test: Reading
) -> int:
    """What Q reads on real pictures and what served pictures show; returns the code that the classes are read from."""

    def errors(reading: Reading, pictures: MeasuredPictures) -> list[float]:
        pairs = zip(matched, reading.categorical, strict=True)
        return [share(~pictures.are(classes[logits.argmax(1)])) for classes, logits in pairs]

    for number, error in enumerate(errors(of_test, subject.test), 1):
        found.add(f"classification_error/k{number}", error)
    found.protocol["classification_error"] = (
        "what Q reads on real pictures: share of the test split whose class is not that of the value read; values were "
        "matched one to one to classes by the Hungarian method on the validation split; no label was used in training"
    )
    best = int(np.argmin(errors(of_validation, subject.validation)))
    if subject.can_judge:
        asked = matched[best][subject.inputs.draws["categorical"][:, best]]
        shown = share(subject.samples.classes != asked)
        found.add(f"served_code_error/k{best + 1}", shown, share(~subject.test.right))
        found.protocol["served_code_error"] = (
            "what served pictures show: share of samples that the classifier takes for another class than their "
            "code's; reference: its error on real test images"
        )
    return best


def _described(classes: Tensor, read: Tensor, subject: Subject, *, has_name: bool) -> CodeValues:
    """The classes of a code's values, and how much of each is read; one that is best known has a name."""
    names, recalls, labels = [], [], subject.test.labels
    for value, label in enumerate(classes.tolist()):
        of_class = read[:0] if labels is None else read[labels == label]
        recalls.append(share(of_class == value) if len(of_class) else None)
        names.append(subject.train.class_names[label] if label >= 0 else f"value-{value}")
    name = _NOUNS.get(subject.train.name, "class") if has_name else ""
    return CodeValues(name=name, values=tuple(names), recalls=tuple(recalls))


def _add_information(found: Findings, reading: Reading, draws: Mapping[str, Tensor]) -> None:
    """The variational bound of each code on samples, and the code's entropy as a reference."""
    for code, logits in enumerate(reading.categorical):
        entropy = categorical_entropy(logits.shape[1])
        loss = float(functional.cross_entropy(logits, draws["categorical"][:, code]))
        found.add(f"mutual_information_nats/k{code + 1}", entropy - loss, entropy)
    variances = (reading.mean - draws["continuous"]).square().mean(0).clamp_min(1e-12)
    for number, variance in enumerate(variances.tolist(), 1):
        noise = 0.5 * math.log(2 * math.pi * math.e * variance)
        found.add(f"mutual_information_nats/c{number}", UNIFORM_ENTROPY - noise)
    found.protocol["mutual_information"] = (
        "variational lower bound on the samples (Chen et al. 2016, eq. 5), in nats; a continuous code's Q with the "
        "variance of its own errors; reference: the code's entropy"
    )


def _add_correlations(found: Findings, sampler: Sampler) -> tuple[CodeNumber, ...]:
    """Sweeps each continuous number and measures the attributes; returns what it was found to move."""

    def measure(images: Tensor, _: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(measured_attributes(images))

    sweeps = measured_sweeps(sampler, "continuous", measure)
    correlations = np.array([rank_correlations(measured.numpy()) for measured in sweeps]).reshape(-1, len(ATTRIBUTES))
    for number, row in enumerate(correlations):
        for attribute, value in zip(ATTRIBUTES, row.tolist(), strict=True):
            found.add(f"spearman_{attribute}/c{number + 1}", value)
    found.protocol["spearman"] = (
        f"mean over {SWEEPS} sweeps (seed 1, each with its own noise and other codes) of Spearman's rho between "
        f"{STOPS} stops from -1 to 1 and the attribute measured on the pictures: slant from second moments, stroke "
        "width as twice the ink over its outline, size as radius of gyration"
    )
    named = zip(names_of(correlations), correlations.tolist(), strict=True)
    return tuple(CodeNumber(name=name, correlations=dict(zip(ATTRIBUTES, row, strict=True))) for name, row in named)


def _rows(codes: Codes, matched: list[Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The rows of a traversal and their titles: the values of the first categorical code.

    They are in the order of the classes, the unknown last.
    """
    names, classes = (codes.categorical[0].values, matched[0].tolist()) if matched else (("",), [0])
    order = sorted(range(len(names)), key=lambda value: (classes[value] < 0, classes[value]))
    categorical = torch.zeros(len(names), len(codes.categorical), dtype=torch.int64)
    categorical[:, :1] = torch.tensor(order)[:, None]
    continuous = torch.zeros(len(names), len(codes.continuous))
    return {"categorical": categorical, "continuous": continuous}, [names[value] for value in order]
