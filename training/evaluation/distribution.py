"""How near the distribution of samples is to that of the data; of every model that makes pictures from noise."""

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from training.evaluation.metrics import frechet_distance, kernel_distance, overlap
from training.evaluation.page import beside, headed
from training.evaluation.result import Metric
from training.evaluation.subject import SHOWN, Pictures, Section, Subject, share
from training.grids import enlarged_grid

K = 5
"""Which neighbour the balls of precision, recall, density and coverage reach to."""

_MOST_ROWS = 20


def measure_distribution(subject: Subject) -> Section:
    """Measures samples against the test split, beside as many validation pictures against it."""
    fake, real, baseline = subject.samples, subject.test, subject.validation
    is_label = subject.source.condition.kind == "label"
    names = subject.train.class_names[:_MOST_ROWS] if is_label else ()
    sheets = (
        headed("Samples" + (", one row a class" if names else ""), _sheet(fake, names)),
        headed("Real images of the test split", _sheet(real, names)),
    )
    return Section(tuple(_metrics(fake, real, baseline)), _protocol(subject), [beside(*sheets)])


def _metrics(fake: Pictures, real: Pictures, baseline: Pictures) -> Iterator[Metric]:
    held_out, ours, theirs = real.features, fake.features, baseline.features
    for name, distance in (("frechet_distance", frechet_distance), ("kernel_distance", kernel_distance)):
        yield Metric(name=name, value=distance(held_out, ours), reference=distance(held_out, theirs))
    values, references = overlap(held_out, ours, K), overlap(held_out, theirs, K)
    for name in values._fields:
        yield Metric(name=name, value=getattr(values, name), reference=getattr(references, name))


def _sheet(pictures: Pictures, names: tuple[str, ...]) -> Image.Image:
    """The first pictures: of each class in a row, where classes have names."""
    if not names or pictures.labels is None:
        return enlarged_grid(pictures.images[: SHOWN * SHOWN], SHOWN)
    rows = [_padded(pictures.images[pictures.labels == label][:SHOWN]) for label in range(len(names))]
    return enlarged_grid(torch.cat(rows), SHOWN, rows=names)


def _padded(row: Tensor) -> Tensor:
    return torch.cat([row, row.new_full((SHOWN - len(row), *row.shape[1:]), 255)])


def _protocol(subject: Subject) -> dict[str, str]:
    fake, test, held_out, size = subject.samples, subject.test, subject.validation, subject.train.info.size
    seen = ""
    if subject.extractor.knows_classes:
        seen = f"; validation accuracy {share(held_out.right):.2%}, test accuracy {share(test.right):.2%}"
    channels = subject.train.info.channels
    return {
        "data": f"{subject.train.name}: samples against the test split, {len(test.images):,} images; choices were made "
        f"on the validation split, {len(held_out.images):,} images held out of the training split",
        "samples": f"{len(fake.images):,}, rounded to 8 bits",
        "seeds": f"0 to {len(fake.images) - 1:,}: latent i, then its condition, under torch.Generator().manual_seed(i)"
        + ("; sample i is of class i mod the number of classes" if fake.labels is not None else ""),
        "resolution": f"{size}x{size}, {channels} channel{'s' if channels > 1 else ''}",
        "features": subject.extractor.description + seen,
        "frechet_distance": "Heusel et al. 2017 on these features, float64; not comparable with Inception's",
        "kernel_distance": "Binkowski et al. 2018 on these features: unbiased squared MMD, kernel (x.y / D + 1)^3",
        "overlap": f"precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020), k = {K}",
        "real_baseline": f"reference of distances and overlap: the {len(held_out.images):,} validation images, which "
        "neither the model nor the classifier was trained on, against the test split; fewer images raise the Frechet "
        "distance",
    }
