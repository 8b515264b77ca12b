"""Whether samples are training images: how near the nearest one is, against how near it is to unseen real images."""

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS = 500
"""Queries compared at once: 500 x 60,000 distances in float32 are 120 MB."""


class Nearest(NamedTuple):
    """The nearest reference of each query: its position, int64 [N], and its Euclidean distance, float32 [N]."""

    indices: Tensor
    distances: Tensor


def nearest(queries: Tensor, references: Tensor) -> Nearest:
    """Finds the nearest reference of each query by brute force.

    Args:
        queries: [N, D], or of any further dimensions, which are flattened; any dtype.
        references: [M, D], likewise.

    Returns:
        Indices and distances. The distances are exact: 0 if and only if the two are equal.
    """
    queries, references = queries.flatten(1).float(), references.flatten(1).float()
    # The matrix product is fast but rounds, so it only finds the neighbour; the distance is taken anew.
    mode = "use_mm_for_euclid_dist"
    indices = torch.cat([torch.cdist(rows, references, compute_mode=mode).argmin(1) for rows in queries.split(_ROWS)])
    return Nearest(indices, torch.linalg.vector_norm(queries - references[indices], dim=1))


class Novelty(NamedTuple):
    """Samples' distances to their nearest training images, beside those of held-out real images.

    Attributes:
        median: Median distance of the samples.
        held_out_median: Median distance of the held-out images.
        ratio: The first over the second; far below 1 means that the model repeats what it was shown.
        share_below: Share of samples nearer than the held-out images' 1st percentile; 0.01 is what reals would have.
    """

    median: float
    held_out_median: float
    ratio: float
    share_below: float


def novelty(samples: Tensor, held_out: Tensor) -> Novelty:
    """Compares distances to the nearest training image: of samples, [N], and of real images not trained on, [M]."""
    median, held_out_median = float(samples.median()), float(held_out.median())
    ratio = median / max(held_out_median, torch.finfo(torch.float32).tiny)
    return Novelty(median, held_out_median, ratio, float((samples < held_out.quantile(0.01)).double().mean()))


def exact_copies(queries: Tensor, references: Tensor) -> int:
    """Counts the queries, uint8 [N, ...], that equal one of the references, uint8 [M, ...], byte for byte."""
    known = {image.numpy().tobytes() for image in references}
    return sum(image.numpy().tobytes() in known for image in queries)
