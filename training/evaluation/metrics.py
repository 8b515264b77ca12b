"""Distances between two sets of features: Fréchet, kernel, and precision, recall, density and coverage."""

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS = 1000
"""Rows of a distance matrix held at once: 1,000 x 10,000 in float32 are 40 MB."""


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance of the two Gaussians with the sets' means and covariances (Heusel et al. 2017, FID).

    Args:
        real: Features [N, D], N >= 2.
        fake: Features [M, D], M >= 2.

    Returns:
        At least 0 but for rounding, in squared feature units; computed in float64.
    """
    real, fake = real.double(), fake.double()
    shift = (real.mean(0) - fake.mean(0)).square().sum()
    one, other = real.T.cov(), fake.T.cov()
    root_trace = torch.linalg.eigvals(one @ other).sqrt().real.sum()
    return float(shift + one.trace() + other.trace() - 2 * root_trace)


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD under the kernel (a·b / D + 1)³ (Bińkowski et al. 2018, KID, over whole sets).

    The sets may differ in size. Two samples of one distribution have a distance of 0 in the mean, so it may be
    slightly negative.

    Args:
        x: Features [M, D], M >= 2.
        y: Features [N, D], N >= 2.

    Returns:
        The distance; symmetric in the sets, computed in float64.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() @ b.double().T / a.shape[1] + 1) ** 3

    def within(points: Tensor) -> Tensor:  # the mean over pairs of two different points
        values, count = kernel(points, points), len(points)
        return (values.sum() - values.trace()) / (count * (count - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


class Overlap(NamedTuple):
    """How far two sets overlap, by the balls that reach from each point to its k-th neighbour in its own set.

    Attributes:
        precision: Share of fakes inside a ball of the real set: are samples plausible?
        recall: Share of reals inside a ball of the fake set: does the model reach all of the data?
        density: Mean number of real balls that a fake lies in, over k: precision that an outlier cannot inflate; its
            expectation is 1 for equal distributions, and it may exceed 1.
        coverage: Share of real balls that hold a fake: recall that an outlier cannot inflate.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def overlap(real: Tensor, fake: Tensor, k: int = 5) -> Overlap:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A point lies in a ball if it is strictly nearer than the radius; a point is no neighbour of itself.

    Args:
        real: Features [N, D], N > k.
        fake: Features [M, D], M > k.
        k: Which neighbour a ball reaches to, at least 1.

    Returns:
        The four figures; all in [0, 1] but density, which is in [0, N / k].
    """
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    balls_around = torch.zeros(len(fake), device=fake.device)
    recalled = covered = 0.0
    for rows, radii in zip(real.split(_ROWS), real_radii.split(_ROWS), strict=True):
        distances = _distances(rows, fake)
        in_real_ball = distances < radii[:, None]
        balls_around += in_real_ball.sum(0)
        covered += float(in_real_ball.any(1).sum())
        recalled += float((distances < fake_radii).any(1).sum())
    precision, density = float((balls_around > 0).double().mean()), float(balls_around.double().mean()) / k
    return Overlap(precision, recalled / len(real), density, covered / len(real))


def _radii(points: Tensor, k: int) -> Tensor:
    """The distance from each point to its k-th nearest other point, [N]; itself takes the first of k + 1 places."""
    parts = [_distances(rows, points).topk(k + 1, largest=False).values[:, -1] for rows in points.split(_ROWS)]
    return torch.cat(parts)


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Euclidean distances [N, M], summed term by term: the matrix product's shortcut is inexact for near points."""
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
