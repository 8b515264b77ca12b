"""Distances between two sets of features: Fréchet, kernel, and precision, recall, density and coverage."""

import torch
from torch import Tensor

_ROWS = 1000  # of a distance matrix held at once: 1,000 x 10,000 in float32 are 40 MB


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance of the Gaussians with the sets' means and covariances (Heusel et al. 2017, FID), in float64.

    The sets are features [N, D] and [M, D] of at least two; the distance is in squared feature units.
    """
    real, fake = real.double(), fake.double()
    shift = (real.mean(0) - fake.mean(0)).square().sum()
    one, other = real.T.cov(), fake.T.cov()
    root_trace = torch.linalg.eigvals(one @ other).sqrt().real.sum()
    return float(shift + one.trace() + other.trace() - 2 * root_trace)


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD under the kernel (a·b / D + 1)³ (Bińkowski et al. 2018, KID, over whole sets), in float64.

    The sets are features [M, D] and [N, D] of at least two each. Two samples of one distribution have a distance of 0
    in the mean, so it may be slightly negative.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() @ b.double().T / a.shape[1] + 1) ** 3

    def within(points: Tensor) -> Tensor:  # the mean over pairs of two different points
        values, count = kernel(points, points), len(points)
        return (values.sum() - values.trace()) / (count * (count - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def overlap(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A ball reaches from each point to its k-th neighbour in its own set; a point lies in it if it is strictly nearer.
    The sets are features [N, D] and [M, D] of more than k.

    Returns:
        precision: The share of fakes inside a ball of the real set: are samples plausible?
        recall: The share of reals inside a ball of the fake set: does the model reach all of the data?
        density: The mean number of real balls that a fake lies in, over k: precision that an outlier cannot inflate;
            1 in the mean for equal distributions, at most N / k.
        coverage: The share of real balls that hold a fake: recall that an outlier cannot inflate.
    """
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    balls_around = torch.zeros(len(fake), dtype=torch.float64)
    recalled = covered = 0
    for rows, radii in zip(real.split(_ROWS), real_radii.split(_ROWS), strict=True):
        distances = _distances(rows, fake)
        in_real_ball = distances < radii[:, None]
        balls_around += in_real_ball.sum(0)
        covered += int(in_real_ball.any(1).sum())
        recalled += int((distances < fake_radii).any(1).sum())
    return {
        "precision": float((balls_around > 0).double().mean()),
        "recall": recalled / len(real),
        "density": float(balls_around.mean()) / k,
        "coverage": covered / len(real),
    }


def _radii(points: Tensor, k: int) -> Tensor:
    """The distance from each point to its k-th nearest other point, [N]; itself takes the first of k + 1 places."""
    return torch.cat([_distances(rows, points).kthvalue(k + 1).values for rows in points.split(_ROWS)])


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Euclidean distances [N, M], summed term by term: the matrix product's shortcut is inexact for near points."""
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
