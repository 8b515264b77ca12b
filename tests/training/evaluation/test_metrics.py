"""The metrics against closed forms, and against formulas written out in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.metrics import frechet_distance, kernel_distance, overlap


def normal(seed, count, size, scale=1.0, shift=0.0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) * scale + shift


def overlap_by_definition(real, fake, k):
    """The papers' sums, one term after another."""

    def radius(points, i):
        return np.sort(np.linalg.norm(points - points[i], axis=1))[k]  # place 0 is the point itself

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    distance = np.linalg.norm(real[:, None] - fake[None], axis=2)
    in_real = np.array([[distance[i, j] < real_radii[i] for j in range(len(fake))] for i in range(len(real))])
    in_fake = np.array([[distance[i, j] < fake_radii[j] for j in range(len(fake))] for i in range(len(real))])
    nearest_covers = [distance[i].min() < real_radii[i] for i in range(len(real))]
    density = in_real.sum() / (k * len(fake))
    return [in_real.any(0).mean(), in_fake.any(1).mean(), density, np.mean(nearest_covers)]


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    reals=st.integers(6, 40),
    fakes=st.integers(6, 40),
    k=st.integers(1, 5),
    shift=st.floats(0, 4),
    scale=st.floats(0.1, 3),
)
def test_overlap_is_what_the_papers_define(seed, reals, fakes, k, shift, scale):
    # float64, so that the two ways of rounding cannot decide a comparison.
    real, fake = normal(seed, reals, 3).double(), normal(seed + 1, fakes, 3, scale, shift).double()
    np.testing.assert_allclose([*overlap(real, fake, k).values()], overlap_by_definition(real.numpy(), fake.numpy(), k))


@settings(max_examples=20, deadline=None)
@given(seed=seeds, count=st.integers(7, 60), k=st.integers(1, 6))
def test_equal_sets_overlap_wholly(seed, count, k):
    points = normal(seed, count, 4)
    # Each point lies in its own ball and those of k - 1 others on average: density is 1, not only near it.
    assert [*overlap(points, points, k).values()] == pytest.approx([1, 1, 1, 1])


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_far_sets_do_not_overlap(seed):
    assert not any(overlap(normal(seed, 30, 4), normal(seed + 1, 20, 4, shift=1e3)).values())


def test_a_collapsed_model_is_plausible_but_covers_little():
    real = torch.cat([normal(0, 50, 2), normal(1, 50, 2, shift=100.0)])
    fake = normal(2, 100, 2)  # one of two modes

    figures = overlap(real, fake)

    assert figures["precision"] > 0.9
    assert figures["recall"] <= 0.5
    assert figures["coverage"] <= 0.5


def test_sets_larger_than_one_block_of_rows_give_the_same(monkeypatch):
    real, fake = normal(0, 50, 3), normal(1, 43, 3, scale=1.2)
    whole = overlap(real, fake)
    monkeypatch.setattr("training.evaluation.metrics._ROWS", 7)
    assert overlap(real, fake) == pytest.approx(whole)


@settings(max_examples=10, deadline=None)
@given(seed=seeds, shift=st.floats(-5, 5), scale=st.floats(0.5, 2))
def test_frechet_distance_of_a_shifted_and_scaled_set(seed, shift, scale):
    """With y = s x + d: |mean difference|² + (1 - s)² tr(cov), exactly, since the two covariances commute."""
    size = 5
    real = normal(seed, 200, size).double()
    fake = real * scale + shift

    mean_term = (real.mean(0) - fake.mean(0)).square().sum()
    expected = mean_term + (1 - scale) ** 2 * torch.cov(real.T).trace()

    assert frechet_distance(real, fake) == pytest.approx(float(expected), rel=1e-6, abs=1e-6)


def test_frechet_distance_is_symmetric_and_zero_for_equal_sets():
    one, other = normal(0, 300, 6), normal(1, 200, 6, scale=1.5, shift=0.3)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))
    assert frechet_distance(one, other) > 0.5


def kernel_distance_by_definition(x, y):
    """The paper's sums over pairs of different points, one term after another."""

    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    within = [np.mean([kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


@settings(max_examples=20, deadline=None)
@given(seed=seeds, xs=st.integers(2, 25), ys=st.integers(2, 25), shift=st.floats(-2, 2))
def test_kernel_distance_is_what_the_paper_defines_for_sets_of_any_sizes(seed, xs, ys, shift):
    x, y = normal(seed, xs, 4), normal(seed + 1, ys, 4, shift=shift)
    expected = kernel_distance_by_definition(x.double().numpy(), y.double().numpy())
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert kernel_distance(y, x) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_kernel_distance_of_unequal_samples_of_one_distribution_is_nothing():
    """120 and 140 points, as horse2zebra's test split has: sums divided by one set's size gave 0.3 and more here."""
    distances = [
        kernel_distance(normal(seed, 120, 64, shift=0.5), normal(seed + 1, 140, 64, shift=0.5))
        for seed in range(0, 40, 2)
    ]
    assert np.mean(distances) == pytest.approx(0, abs=0.003)
    assert kernel_distance(normal(0, 120, 64, shift=0.5), normal(1, 140, 64, shift=1.0)) > 0.3
