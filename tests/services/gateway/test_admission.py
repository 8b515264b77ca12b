"""What is admitted, what is refused, and when it is asked to come back: with a clock that is driven by hand."""

import asyncio

import pytest

from services.backends.base import BackendFailedError
from services.gateway.call import Caller
from services.gateway.errors import QueueFullError, TooExpensiveError
from services.gateway.queues import abandon
from tests.services.gateway.bench import OTHER, QUEUE_ITEMS, TINY, Bench, card
from tests.services.gateway.fakes import settled


async def test_a_full_queue_refuses_all_items_of_a_request_or_none(bench: Bench) -> None:
    await bench.occupy()
    bench.submit(*range(QUEUE_ITEMS - 1))
    with pytest.raises(QueueFullError, match=r"model tiny: 9 of 10 places") as refusal:
        bench.submit(1, 2)
    assert refusal.value.retry_seconds > 0
    bench.submit(1)
    with pytest.raises(QueueFullError):
        bench.submit(2)
    bench.submit(1, key=OTHER)


async def test_the_expected_wait_is_shown(bench: Bench) -> None:
    envelope = await bench.occupy(seconds=2.0)
    bench.submit(1, 2, 3)
    # Items of a second each leave one by one, and half of what one alone took is held to be its envelope's.
    assert bench.metric("gantry_queue_wait_seconds", version="1.0.0") == pytest.approx(6.0)
    envelope.come_back()
    while bench.metric("gantry_queue_items", version="1.0.0"):
        (await bench.backend.away.get()).come_back()
        await settled()
    assert bench.metric("gantry_queue_wait_seconds", version="1.0.0") == 0


async def test_what_would_be_back_after_its_deadline_is_refused_and_admitted_after_the_delay(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    bench.submit(1, 2, 3)
    # Two seconds of what is away, six of what waits, two of its own.
    with pytest.raises(QueueFullError, match=r"wait of about 8\.00 s would outlast the deadline") as refusal:
        bench.submit(4, deadline=9.9)
    assert refusal.value.retry_seconds == pytest.approx(0.1 + 2.0)
    bench.clock.now += refusal.value.retry_seconds
    bench.submit(4, deadline=9.9)


async def test_what_is_admitted_meets_its_deadline(bench: Bench) -> None:
    away = await bench.occupy(seconds=2.0)
    admitted = [result for seed in range(3) for result in bench.submit(seed, deadline=9.0)]
    with pytest.raises(QueueFullError):
        bench.submit(3, deadline=9.0)
    for _ in admitted:
        bench.clock.now += 2.0
        away.come_back()
        away = await bench.backend.away.get()
    bench.clock.now += 2.0
    away.come_back()
    await asyncio.gather(*admitted)


async def test_who_waits_has_the_time_to_ride_with_others() -> None:
    """Else the first in line would have time for a small envelope only, and all behind it would be late for that."""
    bench = Bench(cards=(card(TINY, batch_items=64),))
    bench.scheduler.start()
    await bench.occupy(seconds=0.012)
    # The envelope and an item cost 6 ms each. 12 are away; an envelope of three takes 24, so that an item costs 8.
    admitted = bench.submit(1, deadline=0.049) + bench.submit(2, deadline=0.049)
    with pytest.raises(QueueFullError, match=r"wait of about 0\.03 s"):
        bench.submit(3, deadline=0.049)
    abandon([*admitted, *bench.awaited])
    await bench.scheduler.stop()


async def test_who_is_refused_is_asked_back_behind_those_refused_before(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    bench.submit(*range(QUEUE_ITEMS))
    delays = []
    for _ in range(3):
        with pytest.raises(QueueFullError) as refusal:
            bench.submit(1)
        delays.append(refusal.value.retry_seconds)
    assert delays[1] - delays[0] == pytest.approx(2.0)
    assert delays[2] - delays[1] == pytest.approx(2.0)


async def test_who_comes_back_as_asked_is_let_in_before_others_who_come_unasked(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    with pytest.raises(QueueFullError) as refusal:
        bench.submit(1, deadline=3.9)
    bench.clock.now += refusal.value.retry_seconds
    with pytest.raises(QueueFullError):
        bench.submit(2, deadline=3.6, caller=Caller("other"))
    results = bench.submit(1, deadline=3.8)
    abandon(results)


async def test_a_free_slot_is_kept_for_nobody(bench: Bench) -> None:
    away = await bench.occupy(seconds=2.0)
    with pytest.raises(QueueFullError) as refusal:
        bench.submit(1, deadline=3.9)
    bench.clock.now += refusal.value.retry_seconds
    away.come_back()
    await settled()
    abandon(bench.submit(2, deadline=2.5, caller=Caller("other")))


async def test_nothing_is_kept_for_those_who_never_come_back(bench: Bench) -> None:
    away = await bench.occupy(seconds=2.0)
    for _ in range(100):
        with pytest.raises(QueueFullError) as refusal:
            bench.submit(1, deadline=3.9)
    bench.clock.now += 2.0
    away.come_back()
    await settled()
    bench.clock.now += 2 * refusal.value.retry_seconds
    abandon(bench.submit(2, deadline=2.1, caller=Caller("other")))


async def test_who_is_asked_back_finds_room_where_predictions_are_off(bench: Bench) -> None:
    await bench.learn(2.0)
    await bench.occupy(seconds=3.0)
    bench.submit(*range(QUEUE_ITEMS))
    each = (bench.metric("gantry_queue_wait_seconds", version="1.0.0") or 0.0) / QUEUE_ITEMS
    delays = []
    for _ in range(2):
        with pytest.raises(QueueFullError) as refusal:
            bench.submit(1)
        delays.append(refusal.value.retry_seconds)
    # The second item took half as long again as predicted, and that counts for a fifth.
    assert delays[1] - delays[0] == pytest.approx(each * 1.1)


async def test_a_deadline_that_the_item_alone_cannot_meet_is_no_matter_of_waiting(bench: Bench) -> None:
    await bench.learn(2.0)
    with pytest.raises(TooExpensiveError, match=r"this takes about 2\.000 s, and the deadline is in 1\.500 s"):
        bench.submit(1, deadline=1.5)
    assert bench.metric("gantry_items_total", outcome="refused") == 1


async def test_where_others_wait_a_deadline_that_is_too_near_gets_a_delay(bench: Bench) -> None:
    await bench.learn(2.0)
    await bench.occupy(seconds=2.0)
    admitted = bench.submit(1)
    # The gateway may have lost the time itself, before it read the call.
    with pytest.raises(QueueFullError) as refusal:
        bench.submit(2, deadline=1.5)
    assert refusal.value.retry_seconds > 1.0
    abandon(admitted)


async def test_a_request_of_too_many_seconds_is_refused() -> None:
    bench = Bench(request_seconds=3.0)
    bench.scheduler.start()
    await bench.learn(2.0)
    admitted = bench.submit(1, 2, 3)
    with pytest.raises(TooExpensiveError, match=r"would take about 4\.0 s; the most of one request is 3 s"):
        bench.submit(1, 2, 3, 4)
    abandon(admitted)
    await bench.scheduler.stop()


async def test_a_caller_waits_for_its_fair_share_of_what_waits_only(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    bench.submit(*range(8), caller=Caller("loud"))
    # Two seconds are away; one item of the loud caller comes before the quiet one's.
    (result,) = bench.submit(9, deadline=6.5, caller=Caller("quiet"))
    with pytest.raises(QueueFullError):
        bench.submit(10, deadline=6.5, caller=Caller("loud"))
    abandon([result])


async def test_work_that_waits_for_another_models_slots_refuses_nobody() -> None:
    """Nor work of the same caller: it may be all who come from one address."""
    bench = Bench(slots=2, workers=3)
    bench.scheduler.start()
    await bench.learn(5.0, OTHER)
    await bench.learn(0.02)
    slow = bench.submit(*range(4), key=OTHER, batch_items=1)
    for _ in range(2):
        assert (await bench.backend.away.get()).key == OTHER
    results = bench.submit(5, deadline=0.5)
    envelope = await bench.backend.away.get()
    assert envelope.key == TINY
    envelope.come_back()
    await asyncio.gather(*results)
    abandon(slow)
    await bench.scheduler.stop()


async def test_who_never_comes_back_makes_nobody_wait(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    for _ in range(100):
        with pytest.raises(QueueFullError):
            bench.submit(1, deadline=3.9)
    bench.clock.now += 100.0
    bench.submit(*range(QUEUE_ITEMS))
    with pytest.raises(QueueFullError) as first:
        bench.submit(1)
    with pytest.raises(QueueFullError) as second:
        bench.submit(1)
    assert second.value.retry_seconds - first.value.retry_seconds < 0.1


async def test_nobody_is_asked_to_wait_for_longer_than_a_minute(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    bench.submit(*range(QUEUE_ITEMS))
    for number in range(100):
        with pytest.raises(QueueFullError) as refusal:
            bench.submit(1, caller=Caller(f"caller-{number}"))
    assert refusal.value.retry_seconds == 60.0


async def test_what_runs_again_is_waited_for() -> None:
    bench = Bench(cards=(card(TINY, batch_items=2),))
    bench.scheduler.start()
    away = await bench.occupy(seconds=0.02)
    results = bench.submit(1, 2)
    away.come_back()
    both = await bench.backend.away.get()
    assert both.seeds == [1, 2]
    both.outcome.set_exception(BackendFailedError("broken"))
    assert (await bench.backend.away.get()).seeds == [1]
    assert bench.metric("gantry_queue_items", version="1.0.0") == 1
    assert (bench.metric("gantry_queue_wait_seconds", version="1.0.0") or 0.0) > 0.001
    abandon(results)
    await bench.scheduler.stop()
