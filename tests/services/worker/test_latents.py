"""Latents, drawn labels and drawn codes: functions of their seeds alone."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.v1 import worker_pb2
from services.worker.latents import (
    draw_attribute,
    draw_category,
    draw_label,
    draw_latent,
    draw_number,
    find_latent_fault,
    latent_of,
    slerp,
)

Work = worker_pb2.GenerateWork
Slerp, LatentSum, LatentTerm = worker_pb2.Slerp, worker_pb2.LatentSum, worker_pb2.LatentTerm


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


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 9)), min_size=1, max_size=5))
def test_what_was_drawn_before_leaves_nothing_behind(draws: list[tuple[int, int]]) -> None:
    for seed, size in draws:
        # An odd number of 32-bit draws leaves half a word in the generator.
        draw_category(seed, 0, 3)
        fresh = np.random.Generator(np.random.Philox(key=seed))
        assert np.array_equal(draw_latent(seed, size), fresh.standard_normal(size, dtype=np.float32))


def test_threads_draw_at_once() -> None:
    seeds = range(400)
    with ThreadPoolExecutor(4) as threads:
        drawn = list(threads.map(lambda seed: draw_latent(seed, 2000), seeds))
    assert all(np.array_equal(latent, draw_latent(seed, 2000)) for seed, latent in zip(seeds, drawn, strict=True))


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


@pytest.mark.parametrize(
    ("seed", "categories", "numbers"),
    [
        (0, [6, 9, 5], [-0.04968168, 0.175166, 0.1689924]),
        (1, [7, 8, 2], [0.2729963, 0.59771, 0.8429835]),
        (2**64 - 1, [7, 9, 9], [-0.1651987, -0.8891687, -0.850238]),
    ],
)
def test_golden_values_of_codes(seed: int, categories: list[int], numbers: list[float]) -> None:
    assert [draw_category(seed, code, 10) for code in range(3)] == categories
    assert [draw_number(seed, code, -1.0, 1.0) for code in range(3)] == pytest.approx(numbers, rel=1e-6)


def test_golden_values_of_attributes() -> None:
    assert [draw_attribute(7, place, 18.0, 80.0) for place in range(2)] == pytest.approx([65.40352, 63.04995], rel=1e-6)


def test_categories_are_uniform() -> None:
    counts = np.bincount([draw_category(seed, 1, 10) for seed in range(5000)], minlength=10)
    chi_squared = ((counts - 500) ** 2 / 500).sum()
    # The 99.9 % point of chi-squared with 9 degrees of freedom.
    assert chi_squared < 27.9


def test_numbers_are_uniform() -> None:
    numbers = np.array([draw_number(seed, 0, -2.0, 6.0) for seed in range(5000)])
    assert -2 <= numbers.min() < -1.99
    assert 5.99 < numbers.max() <= 6
    # Four standard errors of the mean and of the variance of 5,000 uniform values.
    assert abs(numbers.mean() - 2) < 4 * math.sqrt(64 / 12 / 5000)
    assert abs(numbers.var() - 64 / 12) < 4 * 64 * math.sqrt(1 / 180 / 5000)


def test_a_number_is_one_of_float32_within_its_range() -> None:
    # Rounded to the nearest float32, many would lie over a range as narrow as this.
    low, high = float(np.float32(0.1)), float(np.nextafter(np.float32(0.1), np.float32(1)))
    numbers = {draw_number(seed, 0, low, high) for seed in range(50)}
    assert numbers == {low, high}


def test_codes_of_a_seed_are_independent() -> None:
    seeds = range(4000)
    drawn = [
        [draw_number(seed, 0, -1.0, 1.0) for seed in seeds],
        [draw_number(seed, 1, -1.0, 1.0) for seed in seeds],
        [draw_attribute(seed, 0, 18.0, 80.0) for seed in seeds],
        [draw_attribute(seed, 1, 18.0, 80.0) for seed in seeds],
        [draw_category(seed, 0, 2) for seed in seeds],
        [draw_category(seed, 1, 2) for seed in seeds],
        [draw_label(seed, 2) for seed in seeds],
        [draw_latent(seed, 1)[0] for seed in seeds],
    ]
    assert np.abs(np.corrcoef(drawn) - np.eye(len(drawn))).max() < 4 / math.sqrt(4000)


def test_the_latent_of_a_seed() -> None:
    assert np.array_equal(latent_of(Work(seed=7), 16), draw_latent(7, 16))


@given(seeds=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), size=st.integers(1, 100))
def test_slerp_begins_and_ends_at_its_ends(seeds: tuple[int, int], size: int) -> None:
    for position, seed in zip((0.0, 1.0), seeds, strict=True):
        work = Work(slerp=Slerp(from_seed=seeds[0], to_seed=seeds[1], position=position))
        assert np.array_equal(latent_of(work, size), draw_latent(seed, size))


def test_slerp_turns_evenly_and_keeps_the_length() -> None:
    start, end = np.array([3.0, 0, 0], np.float32), np.array([0, 3.0, 0], np.float32)
    for position in (0.0, 0.25, 1 / 3, 0.5, 1.0):
        angle = position * math.pi / 2
        expected = [3 * math.cos(angle), 3 * math.sin(angle), 0]
        assert slerp(start, end, position) == pytest.approx(expected, abs=1e-6)


def test_slerp_keeps_the_distribution_of_latents() -> None:
    """A straight line would lead through latents that are too short: half the variance in the middle."""
    latents = np.stack([slerp(draw_latent(seed, 64), draw_latent(seed + 1, 64), 0.5) for seed in range(0, 2000, 2)])
    assert latents.var() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_slerp_is_a_straight_line_where_there_is_no_arc(factor: float) -> None:
    start = draw_latent(1, 32)
    end = start * np.float32(factor)
    assert slerp(start, end, 0.25) == pytest.approx(0.75 * start + 0.25 * end, rel=1e-5)


def test_a_sum_is_of_weighted_means() -> None:
    terms = [LatentTerm(seeds=[1, 2], weight=1), LatentTerm(seeds=[3], weight=-1), LatentTerm(seeds=[4, 4], weight=0.5)]
    one, two, three, four = (draw_latent(seed, 16).astype(np.float64) for seed in (1, 2, 3, 4))
    latent = latent_of(Work(sum=LatentSum(terms=terms)), 16)
    assert latent.dtype == np.float32
    assert latent == pytest.approx((one + two) / 2 - three + four / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        (Work(), "latent: must be a seed, slerp or sum"),
        (Work(slerp=Slerp(position=-0.1)), "slerp.position -0.1: must be 0 to 1"),
        (Work(slerp=Slerp(position=1.5)), "slerp.position 1.5: must be 0 to 1"),
        (Work(slerp=Slerp(position=math.nan)), "slerp.position nan: must be 0 to 1"),
        (Work(sum=LatentSum()), "sum.terms: must be at least one"),
        (Work(sum=LatentSum(terms=[LatentTerm(weight=1)])), "sum.terms[0].seeds: must be at least one"),
        (
            Work(sum=LatentSum(terms=[LatentTerm(seeds=[1], weight=1), LatentTerm(seeds=[1], weight=math.inf)])),
            "sum.terms[1].weight inf: must be finite",
        ),
    ],
)
def test_faults_are_named(work: Work, fault: str) -> None:
    assert find_latent_fault(work) == fault


@pytest.mark.parametrize(
    "work", [Work(seed=0), Work(slerp=Slerp(position=1)), Work(sum=LatentSum(terms=[LatentTerm(seeds=[0], weight=-3)]))]
)
def test_sound_work_has_no_fault(work: Work) -> None:
    assert find_latent_fault(work) == ""
