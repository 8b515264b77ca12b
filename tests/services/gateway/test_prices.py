"""Prices learn what a model costs from envelopes that come back, and are not led astray by a slow one."""

import random

import pytest

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.gateway.prices import Prices, Work, work_of

PNG, WEBP = generation_pb2.IMAGE_FORMAT_PNG, generation_pb2.IMAGE_FORMAT_WEBP
ONE = Work(1, 0.0, 0.0, PNG)


def learnt(*envelopes: tuple[int, float]) -> Prices:
    """Prices after envelopes of so many items, that took so many seconds."""
    prices = Prices()
    for items, seconds in envelopes:
        prices.learn([ONE] * items, seconds, 0.0)
    return prices


def test_a_picture_from_a_latent_has_one_place() -> None:
    card = models_pb2.ModelCard(image=models_pb2.ImageSpec(height=1000, width=500))
    item = worker_pb2.WorkItem(generate=worker_pb2.GenerateWork(), format=PNG)
    assert work_of(card, item) == Work(1, 0.0, 0.5, PNG)


def test_a_translation_has_a_place_and_its_megapixels_each_way() -> None:
    work = worker_pb2.TranslateWork(pixels=4_000_000, graph_pixels=1_000_000)
    item = worker_pb2.WorkItem(translate=work, format=WEBP)
    assert work_of(models_pb2.ModelCard(), item) == Work(1, 1.0, 4.0, WEBP)
    work.cycle = True
    assert work_of(models_pb2.ModelCard(), worker_pb2.WorkItem(translate=work, format=WEBP)) == Work(2, 2.0, 8.0, WEBP)


def test_everything_is_free_until_an_envelope_is_back() -> None:
    assert Prices().envelope([Work(5, 5.0, 5.0, PNG)]) == 0.0


def test_two_sizes_tell_the_fixed_part_from_the_others() -> None:
    prices = learnt((1, 0.012), (16, 0.042))
    assert prices.fixed == pytest.approx(0.010, rel=0.01)
    assert prices.seconds(ONE) == pytest.approx(0.002, rel=0.01)


def test_three_kinds_of_envelope_tell_what_a_translation_costs_by_itself_and_by_the_pixel() -> None:
    draw, prices = random.Random(0), Prices()
    small, large = Work(1, 0.001, 0.0, PNG), Work(1, 0.1, 0.0, PNG)

    def seconds(works: list[Work]) -> float:
        return 0.002 + sum(0.06 + 8 * work.units for work in works)

    for works in ([small], [small, small], [large]) * 2:
        prices.learn(works, seconds(works) * draw.uniform(0.95, 1.05), 0.0)
    for works in ([small], [small] * 4, [large], [large, small]):
        assert prices.envelope(works) == pytest.approx(seconds(works), rel=0.1)


def test_prices_follow_a_machine_that_becomes_slower_and_noise_moves_them_little() -> None:
    draw, prices = random.Random(0), learnt((1, 0.012), (16, 0.042))
    for factor in (1.0, 3.0, 1.0):
        for _ in range(200):
            items = draw.choice([1, 2, 4, 8, 16, 32])
            seconds = factor * (0.010 + 0.002 * items) * draw.uniform(0.9, 1.1)
            prices.learn([ONE] * items, seconds, 0.0)
        for items in (1, 8, 32):
            assert prices.envelope([ONE] * items) == pytest.approx(factor * (0.010 + 0.002 * items), rel=0.2)
        assert prices.deviation < 0.15


def test_one_very_slow_envelope_is_taken_for_a_mishap() -> None:
    prices = learnt(*[(1, 0.012), (16, 0.042)] * 10)
    before = prices.envelope([ONE])
    prices.learn([ONE], 10.0, 0.0)
    assert prices.envelope([ONE]) < 1.5 * before


def test_parts_of_a_price_never_become_negative() -> None:
    prices = learnt((1, 1.0), (2, 0.1), *[(100, 0.01)] * 50, *[(1, 0.0)] * 50)
    assert prices.fixed >= 0.0
    assert prices.seconds(ONE) > 0.0


def test_the_empty_places_of_a_chunk_cost_as_much_as_full_ones() -> None:
    prices = Prices(chunk_items=8)
    for _ in range(30):
        for items in (1, 5, 8, 16, 20):
            prices.learn([ONE] * items, 0.001 + 0.011 * -(-items // 8), 0.0)
    assert [prices.envelope([ONE] * items) for items in (1, 8, 9, 16)] == pytest.approx(
        [0.012, 0.012, 0.023, 0.023], rel=0.05
    )
    assert prices.padding(5) == pytest.approx(3 * prices.seconds(ONE))
    assert prices.padding(8) == 0.0
    assert prices.deviation < 0.05


def test_encoding_is_learnt_by_format() -> None:
    prices = Prices()
    for _ in range(50):
        prices.learn([Work(1, 0.0, 0.1, PNG)], 0.05, 0.04)
    free = prices.seconds(ONE)
    png, webp = (prices.seconds(Work(1, 0.0, 1.0, kind)) - free for kind in (PNG, WEBP))
    assert png == pytest.approx(0.4)
    assert webp != png
