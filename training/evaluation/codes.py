"""What codes mean, how surely Q reads them, and whether served pictures obey them; of models whose condition is codes.

What is chosen (the class that a value stands for) is chosen on the validation split; the figures are of the test split.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from training.evaluation.attributes import ATTRIBUTES, measured_attributes, names_of, rank_correlations
from training.evaluation.page import beside, headed
from training.evaluation.result import CodeNumber, Codes, CodeValues, Metric
from training.evaluation.sample import Sampler
from training.evaluation.subject import Section, Subject, share
from training.grids import enlarged_grid
from training.terms.information import UNIFORM_ENTROPY, categorical_entropy

SWEEPS = 500
"""Sweeps over which a correlation is the mean; each has its own noise and its own other codes."""

STOPS = 21
"""Stops of such a sweep, from -1 to 1."""

SHOWN_STOPS = 9
"""Columns of a traversal."""

_BATCH = 250
_NOUNS = {"digits": "digit", "mnist": "digit", "fashion-mnist": "garment"}


class ReadCodes(NamedTuple):
    """What Q reads from N pictures: of each categorical code logits [N, values], and all numbers [N, numbers]."""

    categorical: list[Tensor]
    mean: Tensor


class Matching(NamedTuple):
    """What the values of a categorical code stand for.

    Attributes:
        classes: The label of each value, -1 where none was left, int64 [values].
        right: Share of the pictures it was chosen on that agree.
    """

    classes: Tensor
    right: float


def measure_codes(subject: Subject) -> Section:
    """Measures what the codes mean and how well they are read and obeyed."""
    fake, test, draws = subject.samples, subject.test, subject.inputs.draws
    of_samples, of_test, of_validation = (
        read_codes(subject, pictures.images) for pictures in (fake, test, subject.validation)
    )
    matchings = [_matching(logits, subject) for logits in of_validation.categorical]
    metrics: list[Metric] = []
    if test.labels is not None:
        for number, (matching, logits) in enumerate(zip(matchings, of_test.categorical, strict=True), 1):
            wrong = share(matching.classes[logits.argmax(1)].ne(test.labels))
            metrics.append(Metric(name=f"classification_error/k{number}", value=wrong))
    best = max(range(len(matchings)), key=lambda code: matchings[code].right, default=-1)
    if test.classes is not None and fake.classes is not None and matchings:
        shown = share(fake.classes.ne(matchings[best].classes[draws["categorical"][:, best]]))
        metrics.append(Metric(name=f"served_code_error/k{best + 1}", value=shown, reference=share(~test.right)))
    metrics += _information(of_samples, draws["categorical"], draws["continuous"])
    correlations = _correlations(subject.source)
    for number, row in enumerate(correlations.tolist(), 1):
        pairs = zip(ATTRIBUTES, row, strict=True)
        metrics += [Metric(name=f"spearman_{attribute}/c{number}", value=value) for attribute, value in pairs]
    codes = Codes(
        categorical=tuple(
            _described(matching, logits, subject, noun=matching is matchings[best])
            for matching, logits in zip(matchings, of_test.categorical, strict=True)
        ),
        continuous=tuple(
            CodeNumber(name=name, correlations=dict(zip(ATTRIBUTES, row, strict=True)))
            for name, row in zip(names_of(correlations), correlations.tolist(), strict=True)
        ),
    )
    figures = traversals(subject.source, codes, matchings[0].classes if matchings else torch.zeros(1))
    panels = [
        headed(f"c{number} {code.name} from -1 to 1", figure)
        for number, (code, figure) in enumerate(zip(codes.continuous, figures.values(), strict=True), 1)
    ]
    matched = bool(matchings) and test.labels is not None
    return Section(metrics, _protocol(matched=matched), [beside(*panels)] if panels else [], codes, figures)


@torch.inference_mode()
def read_codes(subject: Subject, images: Tensor) -> ReadCodes:
    """Has Q read the codes of pictures, uint8 [N, C, H, W]."""
    assert subject.posterior is not None
    parts = [subject.posterior(part.to(subject.device).float() / 127.5 - 1) for part in images.split(_BATCH)]
    categorical = zip(*(part.categorical for part in parts), strict=True)
    return ReadCodes([torch.cat(logits).cpu() for logits in categorical], torch.cat([p.mean for p in parts]).cpu())


def _matching(logits: Tensor, subject: Subject) -> Matching:
    """The best one-to-one matching of a code's values to classes; to none where there are no classes."""
    classes = torch.full((logits.shape[1],), -1)
    if subject.validation.labels is None:
        return Matching(classes, 0)
    read = functional.one_hot(logits.argmax(1), len(classes))
    table = (read.T @ functional.one_hot(subject.validation.labels, len(subject.train.class_names))).numpy()
    values, labels = linear_sum_assignment(table, maximize=True)
    classes[values] = torch.from_numpy(labels)
    return Matching(classes, float(table[values, labels].sum() / table.sum()))


def _described(matching: Matching, logits: Tensor, subject: Subject, *, noun: bool) -> CodeValues:
    """The classes of a code's values, and how much of each is read; one that is best known has a name."""
    names, recalls, read, labels = [], [], logits.argmax(1), subject.test.labels
    for value, label in enumerate(matching.classes.tolist()):
        of_class = read[:0] if labels is None else read[labels == label]
        recalls.append(share(of_class.eq(value)) if len(of_class) else None)
        names.append(subject.train.class_names[label] if label >= 0 else f"value-{value}")
    name = _NOUNS.get(subject.train.name, "class") if noun and subject.test.labels is not None else ""
    return CodeValues(name=name, values=tuple(names), recalls=tuple(recalls))


def _information(reading: ReadCodes, categorical: Tensor, continuous: Tensor) -> Iterator[Metric]:
    """The variational bound of each code on samples, and the code's entropy as a reference.

    A continuous number's Q is taken with the variance that fits best, that of its own errors.
    """
    for code, logits in enumerate(reading.categorical):
        entropy = categorical_entropy(logits.shape[1])
        loss = float(functional.cross_entropy(logits, categorical[:, code]))
        yield Metric(name=f"mutual_information_nats/k{code + 1}", value=entropy - loss, reference=entropy)
    variances = (reading.mean - continuous).square().mean(0).clamp_min(1e-12)
    for number, variance in enumerate(variances.tolist(), 1):
        noise = 0.5 * math.log(2 * math.pi * math.e * variance)
        yield Metric(name=f"mutual_information_nats/c{number}", value=UNIFORM_ENTROPY - noise)


def _correlations(sampler: Sampler) -> NDArray[np.float64]:
    """Correlations of each continuous number with each measured attribute, [numbers, attributes]."""
    source = torch.Generator().manual_seed(1)
    latents = torch.randn(SWEEPS, sampler.latent_size, generator=source).repeat_interleave(STOPS, dim=0)
    drawn = sampler.condition.draw(None, SWEEPS, source)
    draws = {name: values.repeat_interleave(STOPS, dim=0) for name, values in drawn.items()}
    stops = torch.linspace(-1, 1, STOPS)
    rows = []
    for number in range(draws["continuous"].shape[1]):
        swept = draws["continuous"].clone()
        swept[:, number] = stops.repeat(SWEEPS)
        images = sampler.make(latents, {**draws, "continuous": swept})
        measured = measured_attributes(images).reshape(SWEEPS, STOPS, len(ATTRIBUTES))
        rows.append(rank_correlations(stops.double().numpy(), measured))
    return np.array(rows).reshape(-1, len(ATTRIBUTES))


def traversals(sampler: Sampler, codes: Codes, classes: Tensor) -> Mapping[str, Image.Image]:
    """What each continuous number does to one latent, to be looked at.

    Args:
        sampler: Draws from the generator.
        codes: What the codes mean.
        classes: The label of each value of the first categorical code, -1 where unknown; rows are in the order of the
            labels, the unknown last.

    Returns:
        Grids by the names of their files: a row for each value of the first categorical code, a column for each stop.
    """
    names = codes.categorical[0].values if codes.categorical else ("",)
    order = sorted(range(len(names)), key=lambda value: (bool(classes[value] < 0), int(classes[value])))
    count, numbers = len(names) * SHOWN_STOPS, len(codes.continuous)
    latent = torch.randn(1, sampler.latent_size, generator=torch.Generator().manual_seed(2))
    categorical = torch.zeros(count, len(codes.categorical), dtype=torch.int64)
    categorical[:, :1] = torch.tensor(order).repeat_interleave(SHOWN_STOPS)[:, None]
    stops = torch.linspace(-1, 1, SHOWN_STOPS)
    rows, heads = [names[value] for value in order], [f"{stop:g}" for stop in stops.tolist()]
    figures = {}
    for number in range(numbers):
        continuous = torch.zeros(count, numbers)
        continuous[:, number] = stops.repeat(len(names))
        images = sampler.make(latent.expand(count, -1), {"categorical": categorical, "continuous": continuous})
        figures[f"traversal-c{number + 1}.png"] = enlarged_grid(images, SHOWN_STOPS, rows=rows, heads=heads)
    return figures


def _protocol(*, matched: bool) -> dict[str, str]:
    entries = {
        "mutual_information": "variational lower bound on the samples (Chen et al. 2016, eq. 5), in nats; a continuous "
        "code's Q with the variance of its own errors; reference: the code's entropy",
        "spearman": f"mean over {SWEEPS} sweeps (seed 1, each with its own noise and other codes) of Spearman's rho "
        f"between {STOPS} stops from -1 to 1 and the attribute measured on the pictures: slant from second moments, "
        "stroke width as twice the ink over its outline, size as radius of gyration",
    }
    if matched:
        entries["classification_error"] = (
            "what Q reads on real pictures: share of the test split whose class is not that of the value read; values "
            "were matched one to one to classes by the Hungarian method on the validation split; no label was used in "
            "training"
        )
        entries["served_code_error"] = (
            "what served pictures show: share of samples that the classifier takes for another class than their "
            "code's; reference: its error on real test images"
        )
    return entries
