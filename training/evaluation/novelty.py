"""Whether samples repeat training pictures; of every model that makes pictures from noise."""

import math

import torch
from torch import Tensor

from training import distributed
from training.evaluation.findings import Findings, share
from training.evaluation.page import headed
from training.evaluation.subject import SHOWN, Subject, chosen
from training.grids import enlarged_grid

_BYTES = 1 << 28  # of training pictures that samples are compared with at most; larger sets are drawn from
_QUERIES = 2000
_ROWS = 500  # queries compared at once: 500 x 60,000 distances in float32 are 120 MB


def measure_novelty(subject: Subject, found: Findings) -> None:
    """Measures how near samples and, for reference, test pictures are to their nearest training pictures.

    The ratio is that of the medians: far below 1 the model repeats what it was shown. The share is of samples that are
    nearer than the test pictures' 1st percentile: real pictures would have 0.01.
    """
    fake, real, train = subject.samples, subject.test, subject.train.images
    shown = train[chosen(len(subject.train), _BYTES // math.prod(train.shape[1:]))]
    distributed.say(f"comparing samples with {len(shown):,} training images…")
    some = shown[chosen(len(shown), subject.most, "novelty")]
    spaces = {
        "pixel": [pictures.float() / 255 for pictures in (fake.images[:_QUERIES], real.images[:_QUERIES], shown)],
        "feature": [fake.features[:_QUERIES], real.features[:_QUERIES], subject.pictures(some).features],
    }
    neighbours = []
    for space, (ours, held_out, training) in spaces.items():
        indices, distances = nearest(ours, training)
        neighbours.append(indices[: 2 * SHOWN])
        _, references = nearest(held_out, training)
        median, reference = float(distances.median()), float(references.median())
        ratio = median / max(reference, torch.finfo(torch.float32).tiny)
        prefix = f"nearest_training_{space}s"
        found.add(f"{prefix}_median", median, reference)
        found.add(f"{prefix}_ratio", ratio, 1)
        found.add(f"{prefix}_share_below", share(distances < references.quantile(0.01)), 0.01)
    found.add("exact_copies", *(exact_copies(pictures.images, shown) for pictures in (fake, real)))
    found.protocol["nearest_training"] = (
        f"Euclidean distance of up to {_QUERIES:,} samples and test images to the nearest of {len(shown):,} training "
        f"images, pixels in [0, 1], and of {len(some):,}, features; share_below: nearer than the test images' 1st "
        "percentile; exact_copies: of all samples, reference: of the test images"
    )
    images = torch.cat([fake.images[: 2 * SHOWN], shown[neighbours[0]], some[neighbours[1]]])
    sheet = enlarged_grid(images, 2 * SHOWN, rows=("sample", "nearest, pixels", "nearest, features"))
    found.panels.append(headed("Samples, and the training images nearest to them", sheet))


def nearest(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the nearest reference, [M, ...] of any dtype, of each query, [N, ...], by brute force.

    Returns:
        Indices, int64 [N], and Euclidean distances, float32 [N]; exact: 0 if and only if the two are equal.
    """
    queries, references = queries.flatten(1).float(), references.flatten(1).float()
    # The matrix product is fast but rounds, so it only finds the neighbour; the distance is taken anew.
    mode = "use_mm_for_euclid_dist"
    indices = torch.cat([torch.cdist(rows, references, compute_mode=mode).argmin(1) for rows in queries.split(_ROWS)])
    return indices, torch.linalg.vector_norm(queries - references[indices], dim=1)


def exact_copies(queries: Tensor, references: Tensor) -> int:
    """Counts the queries, uint8 [N, ...], that equal one of the references, uint8 [M, ...], byte for byte."""
    known = {image.numpy().tobytes() for image in references}
    return sum(image.numpy().tobytes() in known for image in queries)
