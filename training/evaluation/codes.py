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
from training.evaluation.subject import Pictures, Section, Subject, share
from training.grids import enlarged_grid

SWEEPS = 500
"""Sweeps over which a correlation is the mean; each has its own noise and its own other codes."""

STOPS = 21
"""Stops of such a sweep, from -1 to 1."""

SHOWN_STOPS = 9
"""Columns of a traversal."""

_BATCH = 250
_NOUNS = {"digits": "digit", "mnist": "digit", "fashion-mnist": "garment"}


class ReadCodes(NamedTuple):
    """What Q reads from pictures.

    Attributes:
        categorical: Of each categorical code the logits, float32 [N, values].
        mean: Of all continuous numbers, float32 [N, numbers].
    """

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
    validation, test = subject.validation, subject.test
    of_samples, of_test = read_codes(subject, subject.samples.images), read_codes(subject, test.images)
    categorical, continuous = subject.draws["categorical"], subject.draws["continuous"]
    matchings = _matchings(read_codes(subject, validation.images), validation, subject.train.class_names)
    best = max(range(len(matchings)), key=lambda code: matchings[code].right, default=-1)
    correlations = _correlations(subject.source)
    codes = Codes(
        categorical=tuple(
            _described(matching, of_test.categorical[code], test, subject, noun=code == best)
            for code, matching in enumerate(matchings)
        )
        or tuple(CodeValues(name="", values=_unmatched(n), recalls=(None,) * n) for n in _sizes(of_samples)),
        continuous=tuple(
            CodeNumber(name=name, correlations=dict(zip(ATTRIBUTES, row.tolist(), strict=True)))
            for name, row in zip(names_of(correlations), correlations, strict=True)
        ),
    )
    metrics = [
        *_errors(matchings, of_test, test),
        *([_served(best, matchings[best], categorical, subject.samples, test)] if matchings else []),
        *_information(of_samples, categorical, continuous),
        *(
            Metric(name=f"spearman_{attribute}/c{number + 1}", value=float(correlations[number, column]))
            for number in range(len(correlations))
            for column, attribute in enumerate(ATTRIBUTES)
        ),
    ]
    figures = traversals(subject.source, codes, matchings[0].classes if matchings else None)
    panels = [
        headed(f"c{number} {code.name} from -1 to 1", figure)
        for number, (code, figure) in enumerate(zip(codes.continuous, figures.values(), strict=True), 1)
    ]
    return Section(metrics, _protocol(matchings), [beside(*panels)] if panels else [], codes, figures)


@torch.inference_mode()
def read_codes(subject: Subject, images: Tensor) -> ReadCodes:
    """Has Q read the codes of pictures, uint8 [N, C, H, W]."""
    assert subject.posterior is not None
    parts = [subject.posterior(part.to(subject.device).float() / 127.5 - 1) for part in images.split(_BATCH)]
    categorical = zip(*(part.categorical for part in parts), strict=True)
    return ReadCodes([torch.cat(logits).cpu() for logits in categorical], torch.cat([p.mean for p in parts]).cpu())


def _sizes(reading: ReadCodes) -> list[int]:
    return [logits.shape[1] for logits in reading.categorical]


def _unmatched(values: int) -> tuple[str, ...]:
    return tuple(f"value-{value}" for value in range(values))


def _matchings(reading: ReadCodes, chosen_on: Pictures, class_names: tuple[str, ...]) -> list[Matching]:
    """The best one-to-one matching of each categorical code's values to classes; none where there are no classes."""
    if chosen_on.labels is None or not class_names:
        return []
    matchings = []
    for logits in reading.categorical:
        values = logits.shape[1]
        pairs = torch.bincount(
            logits.argmax(1) * len(class_names) + chosen_on.labels, minlength=values * len(class_names)
        )
        table = pairs.reshape(values, len(class_names)).numpy()
        matched = linear_sum_assignment(table, maximize=True)
        classes = torch.full((values,), -1)
        classes[torch.from_numpy(matched[0])] = torch.from_numpy(matched[1])
        matchings.append(Matching(classes, float(table[matched].sum() / table.sum())))
    return matchings


def _described(matching: Matching, logits: Tensor, test: Pictures, subject: Subject, *, noun: bool) -> CodeValues:
    assert test.labels is not None
    names, recalls = list(_unmatched(len(matching.classes))), []
    for value, label in enumerate(matching.classes.tolist()):
        read = logits.argmax(1)[test.labels == label] == value
        recalls.append(share(read) if len(read) else None)
        if label >= 0:
            names[value] = subject.train.class_names[label]
    name = _NOUNS.get(subject.train.name, "class") if noun else ""
    return CodeValues(name=name, values=tuple(names), recalls=tuple(recalls))


def _errors(matchings: list[Matching], reading: ReadCodes, test: Pictures) -> Iterator[Metric]:
    """What Q reads on real pictures: the share of the test split whose class is not that of the value read."""
    for number, (matching, logits) in enumerate(zip(matchings, reading.categorical, strict=False), 1):
        assert test.labels is not None
        wrong = share(matching.classes[logits.argmax(1)].ne(test.labels))
        yield Metric(name=f"classification_error/k{number}", value=wrong)


def _served(best: int, matching: Matching, categorical: Tensor, fake: Pictures, real: Pictures) -> Metric:
    """What served pictures show: the share that the classifier takes for another class than their code's."""
    assert fake.classes is not None
    return Metric(
        name=f"served_code_error/k{best + 1}",
        value=share(fake.classes.ne(matching.classes[categorical[:, best]])),
        reference=share(~real.right),
    )


def _information(reading: ReadCodes, categorical: Tensor, continuous: Tensor) -> Iterator[Metric]:
    """The variational bound of each code on samples, and the code's entropy as a reference.

    A continuous number's Q is taken with the variance that fits best, that of its own errors.
    """
    for code, logits in enumerate(reading.categorical):
        entropy = math.log(logits.shape[1])
        loss = float(functional.cross_entropy(logits, categorical[:, code]))
        yield Metric(name=f"mutual_information_nats/k{code + 1}", value=entropy - loss, reference=entropy)
    for number in range(continuous.shape[1]):
        variance = float((reading.mean[:, number] - continuous[:, number]).square().mean().clamp_min(1e-12))
        noise = 0.5 * math.log(2 * math.pi * math.e * variance)
        yield Metric(name=f"mutual_information_nats/c{number + 1}", value=math.log(2) - noise)


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


def traversals(sampler: Sampler, codes: Codes, classes: Tensor | None) -> Mapping[str, Image.Image]:
    """What each continuous number does to one latent, to be looked at.

    Args:
        sampler: Draws from the generator.
        codes: What the codes mean.
        classes: The label of each value of the first categorical code, if known; rows are in the order of the labels.

    Returns:
        Grids by the names of their files: a row for each value of the first categorical code, a column for each stop.
    """
    names = codes.categorical[0].values if codes.categorical else ("",)
    labels = [label if label >= 0 else len(names) for label in classes.tolist()] if classes is not None else []
    order = sorted(range(len(names)), key=lambda value: (labels or range(len(names)))[value])
    count, numbers = len(names) * SHOWN_STOPS, len(codes.continuous)
    latent = torch.randn(1, sampler.latent_size, generator=torch.Generator().manual_seed(2))
    categorical = torch.zeros(count, len(codes.categorical), dtype=torch.int64)
    if codes.categorical:
        categorical[:, 0] = torch.tensor(order).repeat_interleave(SHOWN_STOPS)
    stops = torch.linspace(-1, 1, SHOWN_STOPS)
    figures = {}
    for number in range(numbers):
        continuous = torch.zeros(count, numbers)
        continuous[:, number] = stops.repeat(len(names))
        images = sampler.make(latent.expand(count, -1), {"categorical": categorical, "continuous": continuous})
        rows, heads = [names[value] for value in order], [f"{stop:g}" for stop in stops.tolist()]
        figures[f"traversal-c{number + 1}.png"] = enlarged_grid(images, SHOWN_STOPS, rows=rows, heads=heads)
    return figures


def _protocol(matchings: list[Matching]) -> dict[str, str]:
    entries = {
        "mutual_information": "variational lower bound on the samples (Chen et al. 2016, eq. 5), in nats; a continuous "
        "code's Q with the variance of its own errors; reference: the code's entropy",
        "spearman": f"mean over {SWEEPS} sweeps (seed 1, each with its own noise and other codes) of Spearman's rho "
        f"between {STOPS} stops from -1 to 1 and the attribute measured on the pictures: slant from second moments, "
        "stroke width as twice the ink over its outline, size as radius of gyration",
    }
    if matchings:
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
