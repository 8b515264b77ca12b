"""Measures a class-conditional generator against the held-out split of its data; the whole protocol stands here."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training import seeds
from training.data import ImageDataset, load
from training.evaluation.judging import JudgeConfig, Judgement, judge_for, judged
from training.evaluation.metrics import frechet_distance, overlap
from training.evaluation.neighbours import exact_copies, nearest, novelty
from training.evaluation.result import CONSISTENCY, Evaluation, Metric
from training.grids import to_uint8

Generator = Callable[[Tensor, Tensor], Tensor]
"""(z float32 [B, latent_size], labels int64 [B]) -> images [B, C, H, W] in [-1, 1]."""

K = 5
"""Which neighbour the balls of precision, recall, density and coverage reach to."""

_BATCH = 250
_COLUMNS = 10
_NOVELTY_QUERIES = 2000


class TooFewSamplesError(ValueError):
    """Fewer samples were asked for than an evaluation needs."""


@dataclass(frozen=True)
class Judged:
    """Images with what the judge makes of them.

    Attributes:
        images: uint8 [N, C, H, W].
        labels: The class that each is of, or that was asked for, int64 [N].
        judgement: Features and classes, on the CPU.
    """

    images: Tensor
    labels: Tensor
    judgement: Judgement


@dataclass(frozen=True)
class Exhibits:
    """The images that a report shows, all uint8 [N, C, H, W].

    Attributes:
        title: What is evaluated.
        class_names: In the order of the labels.
        columns: Images in a row of the two grids.
        samples: Generated, `columns` of each class, class after class.
        reals: Held-out images, likewise.
        queries: A few generated images ...
        nearest_by_pixels: ... the training image nearest to each in pixels ...
        nearest_by_features: ... and the one nearest in features.
    """

    title: str
    class_names: Sequence[str]
    columns: int
    samples: Tensor
    reals: Tensor
    queries: Tensor
    nearest_by_pixels: Tensor
    nearest_by_features: Tensor


def evaluate_generator(
    generator: Generator,
    latent_size: int,
    data_name: str,
    *,
    cache_dir: Path,
    data_dir: Path | None = None,
    samples: int = 10_000,
    config: JudgeConfig | None = None,
    device: torch.device | None = None,
    title: str = "Evaluation",
) -> tuple[Evaluation, Exhibits]:
    """Measures any class-conditional generator of the images of a known data set.

    Args:
        generator: Takes latents and labels, gives images; on the CPU, in evaluation mode.
        latent_size: Size of its standard normal latent.
        data_name: One of `training.data.DATASETS`.
        cache_dir: Where judges are kept.
        data_dir: Where the data set is, if not where `load` finds it.
        samples: How many to draw, balanced over the classes; at least 10 a class.
        config: How the judge is trained.
        device: Where the judge runs, the CPU where None.
        title: Heads the report.

    Returns:
        The figures, and the images for the report.

    Raises:
        TooFewSamplesError: If there are not 10 samples of each class.
        ValueError: If the generator's images are not of the data set's shape.
        MissingDataError: If the data set is not to be found.
    """
    config = config or JudgeConfig()
    train, test = load(data_name, "train", data_dir), load(data_name, "test", data_dir)
    if samples < _COLUMNS * len(train.class_names):
        raise TooFewSamplesError(
            f"--samples {samples}: at least {_COLUMNS * len(train.class_names)} are needed, "
            f"{_COLUMNS} of each of {len(train.class_names)} classes"
        )
    images, labels = draw_samples(generator, latent_size, len(train.class_names), samples)
    if images.shape[1:] != train.images.shape[1:]:
        raise ValueError(
            f"the generator makes images of {list(images.shape[1:])}, {data_name} has {list(train.images.shape[1:])}"
        )
    judge = judge_for(train, cache_dir, config, device)
    fake = Judged(images, labels, judged(judge, images))
    real = Judged(test.images, test.labels, judged(judge, test.images))
    shown = Judged(train.images, train.labels, judged(judge, train.images))
    ceiling = subset(shown, samples)
    metrics = (
        *_consistency(fake, real, train.class_names),
        *distribution(fake, real, ceiling),
        *_novelty(fake, real, shown),
    )
    evaluation = Evaluation(metrics=metrics, protocol=_protocol(fake, real, train, len(ceiling.labels), config))
    return evaluation, _exhibits(fake, real, shown, train.class_names, title)


@torch.inference_mode()
def draw_samples(generator: Generator, latent_size: int, classes: int, count: int) -> tuple[Tensor, Tensor]:
    """Draws samples that are a function of their seeds: sample i has seed i and class i mod `classes`.

    Args:
        generator: What to draw from, on the CPU.
        latent_size: Size of its latent, which is standard normal.
        classes: Number of its classes.
        count: How many to draw.

    Returns:
        Images rounded to bytes as a caller would get them, uint8 [N, C, H, W], and the labels asked for, int64 [N].
    """
    labels = torch.arange(count) % classes
    latents = torch.stack([torch.randn(latent_size, generator=torch.Generator().manual_seed(i)) for i in range(count)])
    batches = zip(latents.split(_BATCH), labels.split(_BATCH), strict=True)
    return torch.cat([to_uint8(generator(z, y)) for z, y in batches]), labels


def _consistency(fake: Judged, real: Judged, class_names: tuple[str, ...]) -> Iterator[Metric]:
    fake_right, real_right = (side.judgement.labels == side.labels for side in (fake, real))
    yield Metric(name=CONSISTENCY, value=_share(fake_right), reference=_share(real_right))
    for label, name in enumerate(class_names):
        yield Metric(
            name=f"{CONSISTENCY}/{name}",
            value=_share(fake_right[fake.labels == label]),
            reference=_share(real_right[real.labels == label]),
        )


def distribution(fake: Judged, real: Judged, ceiling: Judged) -> Iterator[Metric]:
    """Fréchet distance and overlap in the judge's features.

    Args:
        fake: The samples, measured against ...
        real: ... the test split ...
        ceiling: ... as are, for reference, as many training images.

    Yields:
        The figures.
    """
    held_out, ours, theirs = (side.judgement.features for side in (real, fake, ceiling))
    yield Metric(
        name="frechet_distance",
        value=frechet_distance(held_out, ours),
        reference=frechet_distance(held_out, theirs),
    )
    values, references = overlap(held_out, ours, K), overlap(held_out, theirs, K)
    for name in values._fields:
        yield Metric(name=name, value=getattr(values, name), reference=getattr(references, name))


def _novelty(fake: Judged, real: Judged, shown: Judged) -> Iterator[Metric]:
    queries = slice(_NOVELTY_QUERIES)
    spaces = {
        "pixel": [side.images.float() / 255 for side in (fake, real, shown)],
        "feature": [side.judgement.features for side in (fake, real, shown)],
    }
    for space, (ours, held_out, training) in spaces.items():
        figures = novelty(nearest(ours[queries], training).distances, nearest(held_out[queries], training).distances)
        prefix = f"nearest_training_{space}s"
        yield Metric(name=f"{prefix}_median", value=figures.median, reference=figures.held_out_median)
        yield Metric(name=f"{prefix}_ratio", value=figures.ratio, reference=1)
        yield Metric(name=f"{prefix}_share_below", value=figures.share_below, reference=0.01)
    yield Metric(
        name="exact_copies",
        value=exact_copies(fake.images, shown.images),
        reference=exact_copies(real.images, shown.images),
    )


def _protocol(fake: Judged, real: Judged, train: ImageDataset, ceiling: int, config: JudgeConfig) -> dict[str, str]:
    channels, height, width = train.images.shape[1:]
    accuracy = _share(real.judgement.labels == real.labels)
    return {
        "data": f"{train.name}: samples against the test split of {len(real.labels):,} images",
        "samples": f"{len(fake.labels):,}, sample i of class i mod {len(train.class_names)}, rounded to 8 bits",
        "seeds": f"0 to {len(fake.labels) - 1:,}: latent i is torch.randn under torch.Generator().manual_seed(i)",
        "resolution": f"{width}x{height}, {channels} channel{'s' if channels > 1 else ''}",
        "features": f"judge's penultimate layer, {config.features} values after ReLU, float32",
        "judge": f"convolutional classifier trained on {len(train):,} training images, test accuracy {accuracy:.2%}",
        "judge_config": config.model_dump_json(),
        "frechet_distance": "Heusel et al. 2017 on these features, float64; not comparable with Inception's",
        "overlap": f"precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020), k = {K}",
        "reference": f"class consistency: test split; distribution: {ceiling:,} training images "
        "against the test split; nearest training image: test split",
        "nearest_training": f"Euclidean distance of up to {_NOVELTY_QUERIES:,} samples and test images to the "
        f"nearest of {len(train):,} training images, pixels in [0, 1]; share_below: nearer than the test "
        "images' 1st percentile; exact_copies: of all samples",
        "torch": torch.__version__,
    }


def _exhibits(fake: Judged, real: Judged, shown: Judged, class_names: tuple[str, ...], title: str) -> Exhibits:
    queries = torch.arange(2 * len(class_names))  # two of each class, since sample i is of class i mod classes
    by_pixels = nearest(fake.images[queries], shown.images).indices
    by_features = nearest(fake.judgement.features[queries], shown.judgement.features).indices
    return Exhibits(
        title=title,
        class_names=class_names,
        columns=_COLUMNS,
        samples=_class_rows(fake, len(class_names)),
        reals=_class_rows(real, len(class_names)),
        queries=fake.images[queries],
        nearest_by_pixels=shown.images[by_pixels],
        nearest_by_features=shown.images[by_features],
    )


def _class_rows(side: Judged, classes: int) -> Tensor:
    """The first images of each class, class after class."""
    return torch.cat([side.images[side.labels == label][:_COLUMNS] for label in range(classes)])


def subset(side: Judged, count: int) -> Judged:
    """Draws up to `count` images without replacement, always the same.

    Args:
        side: What to draw from.
        count: The most to draw.

    Returns:
        The drawn ones.
    """
    chosen = torch.randperm(len(side.labels), generator=seeds.random_source(0, "evaluation", "subset"))[:count]
    features, labels = side.judgement
    return Judged(side.images[chosen], side.labels[chosen], Judgement(features[chosen], labels[chosen]))


def _share(right: Tensor) -> float:
    return float(right.double().mean())
