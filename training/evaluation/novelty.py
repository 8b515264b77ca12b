"""Whether samples repeat training pictures; of every model that makes pictures from noise."""

import torch

from training.evaluation.neighbours import exact_copies, nearest, novelty
from training.evaluation.page import headed
from training.evaluation.result import Metric
from training.evaluation.subject import SHOWN, Section, Subject, chosen
from training.grids import enlarged_grid

_QUERIES = 2000


def measure_novelty(subject: Subject) -> Section:
    """Measures how near samples and, for reference, test pictures are to their nearest training pictures."""
    fake, real, shown = subject.samples, subject.test, subject.shown
    some = shown[chosen(len(shown), subject.extractor.most, "novelty")]
    features = subject.extractor.extract(some).features
    spaces = {
        "pixel": [pictures.float() / 255 for pictures in (fake.images[:_QUERIES], real.images[:_QUERIES], shown)],
        "feature": [fake.features[:_QUERIES], real.features[:_QUERIES], features],
    }
    copies, real_copies = (exact_copies(pictures.images, shown) for pictures in (fake, real))
    metrics, neighbours = [], []
    for space, (ours, held_out, training) in spaces.items():
        found = nearest(ours, training)
        neighbours.append(found.indices[: 2 * SHOWN])
        figures = novelty(found.distances, nearest(held_out, training).distances)
        prefix = f"nearest_training_{space}s"
        metrics += [
            Metric(name=f"{prefix}_median", value=figures.median, reference=figures.held_out_median),
            Metric(name=f"{prefix}_ratio", value=figures.ratio, reference=1),
            Metric(name=f"{prefix}_share_below", value=figures.share_below, reference=0.01),
        ]
    protocol = {
        "nearest_training": f"Euclidean distance of up to {_QUERIES:,} samples and test images to the nearest of "
        f"{len(shown):,} training images, pixels in [0, 1], and of {len(some):,}, features; share_below: nearer than "
        "the test images' 1st percentile; exact_copies: of all samples, reference: of the test images",
    }
    images = torch.cat([fake.images[: 2 * SHOWN], shown[neighbours[0]], some[neighbours[1]]])
    sheet = enlarged_grid(images, 2 * SHOWN, rows=("sample", "nearest, pixels", "nearest, features"))
    panel = headed("Samples, and the training images nearest to them", sheet)
    return Section([*metrics, Metric(name="exact_copies", value=copies, reference=real_copies)], protocol, [panel])
