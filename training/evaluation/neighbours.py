"""Whether samples are training images: how near the nearest one is, against how near it is to unseen real images."""

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS = 500
"""Queries compared at once: 500 x 60,000 distances in float32 are 120 MB."""


class Nearest(NamedTuple):
    """The nearest reference of each query.

    Attributes:
        indices: Its position among the references, int64 [N].
        distances: Its Euclidean distance, float32 [N].
    """

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
    flat_references = references.flatten(1).float()
    parts = []
    for rows in queries.flatten(1).float().split(_ROWS):
        # The matrix product is fast but rounds, so it only finds the neighbour; the distance is taken anew.
        indices = torch.cdist(rows, flat_references, compute_mode="use_mm_for_euclid_dist").argmin(1)
        parts.append((indices, torch.linalg.vector_norm(rows - flat_references[indices], dim=1)))
    indices, distances = (torch.cat(column) for column in zip(*parts, strict=True))
    return Nearest(indices, distances)


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
    """Compares two sets of distances to the nearest training image.

    Args:
        samples: Distances of generated images, [N].
        held_out: Distances of real images that were not trained on, [M].

    Returns:
        Medians, their ratio and the share of suspiciously near samples.
    """
    median, held_out_median = float(samples.median()), float(held_out.median())
    threshold = held_out.float().quantile(0.01)
    return Novelty(
        median=median,
        held_out_median=held_out_median,
        ratio=median / max(held_out_median, torch.finfo(torch.float32).tiny),
        share_below=float((samples < threshold).double().mean()),
    )


def exact_copies(queries: Tensor, references: Tensor) -> int:
    """Counts the queries that equal a reference byte for byte.

    Args:
        queries: uint8 [N, ...].
        references: uint8 [M, ...], of the same further dimensions.

    Returns:
        A number in [0, N].
    """
    known = {image.numpy().tobytes() for image in references.cpu().contiguous()}
    return sum(image.numpy().tobytes() in known for image in queries.cpu().contiguous())
