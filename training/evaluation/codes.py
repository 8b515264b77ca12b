"""Measures an InfoGAN: what its codes mean, how surely Q reads them, and how good the images are.

The whole protocol stands here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from training.config import CodesConfig, InfoGanConfig
from training.data import ImageDataset, load
from training.evaluation.conditional import Judged, distribution, subset
from training.evaluation.factors import FACTORS, measured, names_of, rank_correlations
from training.evaluation.judging import JudgeConfig, judge_for, judged
from training.evaluation.result import CodeNumber, Codes, CodeValues, Evaluation, Metric
from training.grids import to_uint8
from training.nets.infogan import Guess, InfoDiscriminator
from training.objectives.information import UNIFORM_ENTROPY, categorical_entropy
from training.steps.infogan import code_vector, draw_codes

SWEEPS = 500
"""Sweeps over which a correlation is the mean; each has its own noise and its own other codes."""

STOPS = 21
"""Stops of such a sweep, from -1 to 1."""

SHOWN_STOPS = 9
"""Columns of a traversal grid."""

_BATCH = 250
_NOUNS = {"digits": "digit", "mnist": "digit", "fashion-mnist": "garment"}


@dataclass(frozen=True)
class Traversal:
    """What a continuous number does, to be looked at.

    Attributes:
        number: Its place among the continuous numbers, counted from 0.
        images: uint8 [rows * SHOWN_STOPS, C, H, W]: a row for each value of the first categorical code.
        rows: Names of the rows.
    """

    number: int
    images: Tensor
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """An InfoGAN to be measured, on the CPU, in evaluation mode.

    Attributes:
        generator: The averaged generator: (noise, code vector) → images.
        discriminator: Holds Q.
        config: Its codes.
    """

    generator: nn.Module
    discriminator: InfoDiscriminator
    config: InfoGanConfig


def evaluate_codes(
    model: Model,
    *,
    cache_dir: Path,
    data_dir: Path | None = None,
    samples: int = 10_000,
    config: JudgeConfig | None = None,
) -> tuple[Evaluation, list[Traversal]]:
    """Measures an InfoGAN.

    Args:
        model: What to measure.
        cache_dir: Where judges are kept.
        data_dir: Where the data set is, if not where `load` finds it.
        samples: How many to draw; at least 100.
        config: How the judge is trained.

    Returns:
        The figures with the codes' meaning, and a traversal for each continuous number.

    Raises:
        MissingDataError: If the data set is not to be found.
    """
    config = config or JudgeConfig()
    name, codes = model.config.data, model.config.codes
    train, test = load(name, "train", data_dir), load(name, "test", data_dir)
    judge = judge_for(train, cache_dir, config)
    drawn = draw_codes(codes, samples, torch.Generator().manual_seed(0))
    images = _generated(model, *drawn)
    fake = Judged(images, torch.empty(0, dtype=torch.int64), judged(judge, images))
    real = Judged(test.images, test.labels, judged(judge, test.images))
    ceiling_images = subset(Judged(train.images, train.labels, judged(judge, train.images)), samples)

    read, guess = _guessed(model.discriminator, test.images), _guessed(model.discriminator, images)
    values, errors = zip(*_matchings(read, test, name), strict=True) if codes.categorical else ((), ())
    correlations = _swept(model)
    found = Codes(
        categorical=tuple(values),
        continuous=tuple(
            CodeNumber(name=found, correlations=dict(zip(FACTORS, row.tolist(), strict=True)))
            for found, row in zip(names_of(correlations), correlations, strict=True)
        ),
    )
    metrics = [
        *(Metric(name=f"classification_error/k{k + 1}", value=error) for k, error in enumerate(errors)),
        *_information(guess, drawn[1], drawn[2]),
        *(
            Metric(name=f"spearman_{factor}/c{number + 1}", value=float(correlations[number, column]))
            for number in range(len(correlations))
            for column, factor in enumerate(FACTORS)
        ),
        *_obedience(found, fake.judgement.labels, drawn[1], real, test),
        *distribution(fake, real, ceiling_images),
    ]
    protocol = _protocol(model, test, samples, len(ceiling_images.labels), _share(real.judgement.labels == test.labels))
    return Evaluation(metrics=tuple(metrics), protocol=protocol, codes=found), _traversals(model, found)


@torch.inference_mode()
def _generated(model: Model, noise: Tensor, categorical: Tensor, continuous: Tensor) -> Tensor:
    condition = code_vector(model.config.codes, categorical, continuous)
    parts = zip(noise.split(_BATCH), condition.split(_BATCH), strict=True)
    return torch.cat([to_uint8(model.generator(z, c)) for z, c in parts])


@torch.inference_mode()
def _guessed(discriminator: InfoDiscriminator, images: Tensor) -> Guess:
    parts = [discriminator.guess(discriminator(part.float() / 127.5 - 1)[1]) for part in images.split(_BATCH)]
    categorical = [torch.cat(logits) for logits in zip(*(part.categorical for part in parts), strict=True)]
    return Guess(categorical, torch.cat([p.mean for p in parts]), torch.cat([p.log_variance for p in parts]))


def _matchings(guess: Guess, test: ImageDataset, data: str) -> Iterator[tuple[CodeValues, float]]:
    """For each categorical code the best one-to-one matching of its values to the classes, and its error."""
    tables = [
        _counts(logits.argmax(1), test.labels, logits.shape[1], len(test.class_names)) for logits in guess.categorical
    ]
    matchings = [linear_sum_assignment(table, maximize=True) for table in tables]
    rights = [table[matching].sum() for table, matching in zip(tables, matchings, strict=True)]
    best = int(np.argmax(rights))
    for code, (table, matching, right) in enumerate(zip(tables, matchings, rights, strict=True)):
        of_value = dict(zip(*matching, strict=True))
        in_class = table.sum(0)
        names, recalls = [], []
        for value in range(len(table)):
            matched = of_value.get(value)
            names.append(f"value-{value}" if matched is None else test.class_names[matched])
            recalls.append(None if matched is None else float(table[value, matched] / in_class[matched]))
        noun = _NOUNS.get(data, "class") if code == best else ""
        yield CodeValues(name=noun, values=tuple(names), recalls=tuple(recalls)), 1 - float(right / table.sum())


def _counts(guesses: Tensor, labels: Tensor, values: int, classes: int) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = torch.bincount(guesses * classes + labels, minlength=values * classes).numpy()
    return counts.reshape(values, classes)


def _information(guess: Guess, categorical: Tensor, continuous: Tensor) -> Iterator[Metric]:
    """The variational bound of each code on generated images, and the code's entropy as a reference.

    A continuous number's Q is taken with the variance that fits best, that of its own errors.
    """
    for code, logits in enumerate(guess.categorical):
        entropy = categorical_entropy(logits.shape[1])
        loss = float(nn.functional.cross_entropy(logits, categorical[:, code]))
        yield Metric(name=f"mutual_information_nats/k{code + 1}", value=entropy - loss, reference=entropy)
    for number in range(continuous.shape[1]):
        variance = float((guess.mean[:, number] - continuous[:, number]).square().mean())
        noise = 0.5 * math.log(2 * math.pi * math.e * variance)
        yield Metric(name=f"mutual_information_nats/c{number + 1}", value=UNIFORM_ENTROPY - noise)


def _swept(model: Model) -> NDArray[np.float64]:
    """Correlations of each continuous number with each factor, [numbers, factors]."""
    codes = model.config.codes
    noise, categorical, continuous = draw_codes(codes, SWEEPS, torch.Generator().manual_seed(1))
    stops = torch.linspace(-1, 1, STOPS)
    rows = []
    for number in range(continuous.shape[1]):
        swept = continuous.repeat_interleave(STOPS, dim=0)
        swept[:, number] = stops.repeat(SWEEPS)
        images = _generated(
            model, noise.repeat_interleave(STOPS, dim=0), categorical.repeat_interleave(STOPS, dim=0), swept
        )
        factors = measured(images[:, :1]).reshape(SWEEPS, STOPS, len(FACTORS))
        rows.append(rank_correlations(stops.double().numpy(), factors))
    return np.array(rows).reshape(-1, len(FACTORS))


def _obedience(
    found: Codes, judged_as: Tensor, categorical: Tensor, real: Judged, test: ImageDataset
) -> Iterator[Metric]:
    """Share of generated images that the judge takes for the class that their code was matched to."""
    for number, code in enumerate(found.categorical):
        if code.name:
            labels = {name: label for label, name in enumerate(test.class_names)}
            wanted = torch.tensor([labels.get(value, -1) for value in code.values])[categorical[:, number]]
            yield Metric(
                name=f"code_consistency/k{number + 1}",
                value=_share(judged_as == wanted),
                reference=_share(real.judgement.labels == real.labels),
            )


def _traversals(model: Model, found: Codes) -> list[Traversal]:
    codes = model.config.codes
    values = codes.categorical[0] if codes.categorical else 1
    names = found.categorical[0].values if found.categorical else ("",)
    order = sorted(range(values), key=lambda value: names[value])
    noise, _, _ = draw_codes(codes, 1, torch.Generator().manual_seed(2))
    count = values * SHOWN_STOPS
    categorical = torch.zeros(count, len(codes.categorical), dtype=torch.int64)
    if codes.categorical:
        categorical[:, 0] = torch.tensor(order).repeat_interleave(SHOWN_STOPS)
    traversals = []
    for number in range(sum(codes.continuous)):
        continuous = torch.zeros(count, sum(codes.continuous))
        continuous[:, number] = torch.linspace(-1, 1, SHOWN_STOPS).repeat(values)
        images = _generated(model, noise.expand(count, -1), categorical, continuous)
        traversals.append(Traversal(number, images, tuple(names[value] for value in order)))
    return traversals


def _protocol(model: Model, test: ImageDataset, samples: int, ceiling: int, accuracy: float) -> dict[str, str]:
    codes: CodesConfig = model.config.codes
    channels, height, width = test.images.shape[1:]
    return {
        "data": f"{test.name}: test split of {len(test):,} images",
        "samples": f"{samples:,} with noise and codes drawn anew under torch.Generator().manual_seed(0), 8 bits",
        "resolution": f"{width}x{height}, {channels} channel{'s' if channels > 1 else ''}",
        "classification_error": "Q's guess of the code on the real test split, values matched one to one to classes "
        "by the Hungarian method on the same split; no label was used in training",
        "mutual_information": "variational lower bound on the samples (Chen et al. 2016, eq. 5), in nats; a continuous "
        "code's Q with the variance of its own errors; reference: the code's entropy",
        "spearman": f"mean over {SWEEPS} sweeps (seed 1, each with its own noise and other codes) of Spearman's rho "
        f"between {STOPS} stops from -1 to 1 and the factor measured on the pictures: slant from second moments, "
        "stroke width as twice the ink over its outline, size as radius of gyration",
        "code_consistency": f"the judge (test accuracy {accuracy:.2%}) takes a sample for the class of its code",
        "distribution": f"judge's features; samples, and for reference {ceiling:,} training images, against the test "
        "split; Frechet distance not comparable with Inception's; k = 5",
        "codes": f"{codes.noise} noise values, categorical {list(codes.categorical)}, "
        f"continuous {list(codes.continuous)}",
        "torch": torch.__version__,
    }


def _share(right: Tensor) -> float:
    return float(right.double().mean())
