"""Latents and drawn labels: functions of the seed alone."""

import numpy as np
import pytest

from services.worker.latents import draw_label, draw_latent


def test_same_seed_same_latent() -> None:
    assert np.array_equal(draw_latent(7, 64), draw_latent(7, 64))
    assert draw_latent(7, 64).dtype == np.float32


def test_a_longer_latent_begins_with_the_shorter() -> None:
    assert np.array_equal(draw_latent(7, 64)[:8], draw_latent(7, 8))


# Archives in the field were judged on these values: a numpy that draws others changes every picture.
@pytest.mark.parametrize(
    ("seed", "latent", "label"),
    [
        (0, [0.05991104, 0.01555963, -1.164438, -0.1326471], 9),
        (1, [1.091689, 0.4558267, 0.7017897, 0.2849434], 2),
        (2**64 - 1, [-1.744479, -0.4871583, 1.544984, -0.9327644], 4),
    ],
)
def test_golden_values(seed: int, latent: list[float], label: int) -> None:
    assert draw_latent(seed, 4).tolist() == pytest.approx(latent, rel=1e-6)
    assert draw_label(seed, 10) == label


def test_latents_of_many_seeds_are_standard_normal() -> None:
    latents = np.stack([draw_latent(seed, 32) for seed in range(4000)]).astype(np.float64)
    # Four standard errors of the moments of 128,000 independent normal values.
    assert abs(latents.mean()) < 4 / np.sqrt(latents.size)
    assert abs(latents.var() - 1) < 4 * np.sqrt(2 / latents.size)
    assert abs((latents**3).mean()) < 4 * np.sqrt(15 / latents.size)
    assert abs((latents**4).mean() - 3) < 4 * np.sqrt(96 / latents.size)


def test_latents_of_different_seeds_are_uncorrelated() -> None:
    latents = np.stack([draw_latent(seed, 2000) for seed in [*range(20), *(1 << bit for bit in range(5, 64))]])
    correlations = np.corrcoef(latents) - np.eye(len(latents))
    assert np.abs(correlations).max() < 6 / np.sqrt(2000)


def test_labels_are_uniform() -> None:
    counts = np.bincount([draw_label(seed, 10) for seed in range(5000)], minlength=10)
    chi_squared = ((counts - 500) ** 2 / 500).sum()
    # The 99.9 % point of chi-squared with 9 degrees of freedom.
    assert chi_squared < 27.9


def test_labels_and_latents_of_a_seed_are_independent() -> None:
    labels = np.array([draw_label(seed, 2) for seed in range(4000)])
    first = np.array([draw_latent(seed, 1)[0] for seed in range(4000)])
    assert abs(np.corrcoef(labels, first)[0, 1]) < 4 / np.sqrt(4000)


def test_the_whole_range_of_seeds_is_used() -> None:
    seeds = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
    assert len({draw_latent(seed, 4).tobytes() for seed in seeds}) == len(seeds)
