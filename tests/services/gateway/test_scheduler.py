"""The scheduler with a clock and a backend driven by hand: nothing here waits for time to pass."""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gantry.v1 import worker_pb2
from services.backends.base import (
    BackendFailedError,
    BackendUnavailableError,
    WorkerLostError,
)
from services.gateway.call import Caller, CallerLimits
from services.gateway.errors import (
    DeadlineError,
    ItemFailedError,
    LimitError,
    QueueFullError,
    ShuttingDownError,
    TooExpensiveError,
    UnknownModelError,
)
from services.gateway.queues import Share, abandon
from tests.services.gateway.bench import BATCH_ITEMS, NEW, OTHER, QUEUE_ITEMS, TINY, Bench, Results, card, item
from tests.services.gateway.fakes import reply_to, settled


def pixels(results: Results) -> list[int]:
    return [result.result().result.image.data[0] for result in results]


async def test_an_item_leaves_at_once(bench: Bench) -> None:
    results = bench.submit(7)
    envelope = await bench.backend.away.get()
    assert (envelope.key, envelope.seeds, envelope.timeout) == (TINY, [7], None)
    envelope.come_back()
    await asyncio.gather(*results)
    assert pixels(results) == [7]


async def test_what_waits_leaves_together_up_to_the_batch_size_in_order(bench: Bench) -> None:
    away = await bench.occupy()
    first, second, third = bench.submit(1), bench.submit(2, 3), bench.submit(4, 5, 6)
    away.come_back()
    batch = await bench.backend.away.get()
    assert batch.seeds == [1, 2, 3, 4]
    batch.come_back()
    rest = await bench.backend.away.get()
    assert rest.seeds == [5, 6]
    assert not third[1].done()
    rest.come_back()
    await asyncio.gather(*first, *second, *third)
    assert (pixels(first), pixels(second), pixels(third)) == ([1], [2, 3], [4, 5, 6])


async def test_items_ride_in_envelopes_no_larger_than_they_ask_for(bench: Bench) -> None:
    away = await bench.occupy()
    bench.submit(1, 2, 3, batch_items=2)
    bench.submit(4, 5, 6, 7)
    bench.submit(8, batch_items=2)
    taken = []
    while sum(map(len, taken)) < 8:
        away.come_back()
        away = await bench.backend.away.get()
        taken.append([item.generate.seed for item in away.request.items])

    assert taken == [[1, 2], [3, 4], [5, 6, 7], [8]]


async def test_several_envelopes_may_be_away() -> None:
    bench = Bench(slots=2)
    bench.scheduler.start()
    bench.submit(1)
    one = await bench.backend.away.get()
    bench.submit(2)
    two = await bench.backend.away.get()
    bench.submit(3)
    await settled()
    assert bench.backend.away.empty()
    two.come_back()
    three = await bench.backend.away.get()
    for envelope in (one, three):
        envelope.come_back()
    await bench.scheduler.stop()


async def test_models_do_not_wait_for_each_other(bench: Bench) -> None:
    await bench.occupy()
    bench.submit(1, key=OTHER)
    envelope = await bench.backend.away.get()
    assert envelope.key == OTHER


async def test_an_output_says_how_long_it_waited_and_how_long_its_envelope_was_away(bench: Bench) -> None:
    envelope = await bench.occupy()
    (first,) = bench.submit(1)
    bench.clock.now += 0.02
    (second,) = bench.submit(2)
    envelope.come_back()
    envelope = await bench.backend.away.get()
    bench.clock.now += 0.03
    envelope.come_back()
    outputs = await asyncio.gather(first, second)
    assert [output.queue_seconds for output in outputs] == pytest.approx([0.02, 0.0])
    assert outputs[0].run is outputs[1].run
    assert outputs[0].run.seconds == pytest.approx(0.03)


async def test_an_envelope_shrinks_to_its_tightest_deadline(bench: Bench) -> None:
    away = await bench.occupy(seconds=0.02)
    bench.submit(1, deadline=0.06)
    bench.submit(2, 3, 4, deadline=1.0)
    bench.clock.now += 0.02
    away.come_back()
    # 0.01 for the envelope and 0.01 an item: by 0.04 after its departure two or three are back, but not four.
    assert len((await bench.backend.away.get()).seeds) == 3


async def test_what_cannot_meet_its_deadline_any_more_is_not_run(bench: Bench) -> None:
    away = await bench.occupy(seconds=2.0)
    late, patient = bench.submit(1, deadline=5.0), bench.submit(2, deadline=50.0)
    bench.clock.now += 3.5
    away.come_back()
    assert (await bench.backend.away.get()).seeds == [2]
    with pytest.raises(DeadlineError, match="could not be met any more"):
        await late[0]
    assert not patient[0].done()
    assert bench.metric("gantry_items_total", outcome="expired") == 1


async def test_a_model_that_is_down_is_refused_at_once(bench: Bench) -> None:
    bench.backend.check_fault = BackendUnavailableError("set aside", retry_seconds=4.0)
    with pytest.raises(BackendUnavailableError, match="set aside"):
        bench.submit(1)
    with pytest.raises(BackendUnavailableError):
        await bench.scheduler.probe(TINY)


async def test_free_slots_share_what_waits_in_whole_chunks() -> None:
    bench = Bench(slots=2, cards=[card(TINY, chunk_items=2, batch_items=8)])
    bench.scheduler.start()
    bench.submit(*range(7))
    assert (await bench.backend.away.get()).seeds == [0, 1, 2, 3]
    assert (await bench.backend.away.get()).seeds == [4, 5, 6]


async def test_a_worker_whose_graph_takes_single_items_is_never_waited_for() -> None:
    bench = Bench(slots=2, cards=[card(TINY, chunk_items=4)])
    bench.scheduler.start()
    bench.submit(900)
    first = await bench.backend.away.get()
    bench.clock.now += 0.02
    first.come_back(chunk_items=1)
    bench.submit(1)
    await bench.backend.away.get()
    bench.clock.now += 0.015
    bench.submit(2)
    assert (await bench.backend.away.get()).seeds == [2]


async def test_less_than_a_chunk_waits_for_an_envelope_that_is_soon_back() -> None:
    bench = Bench(slots=2, cards=[card(TINY, chunk_items=4)])
    bench.scheduler.start()
    await bench.learn(0.02)
    bench.submit(1)
    away = await bench.backend.away.get()
    bench.clock.now += 0.015
    bench.submit(2)
    await settled()
    assert bench.backend.away.empty()
    bench.submit(3, 4, 5)
    full = await bench.backend.away.get()
    assert full.seeds == [2, 3, 4, 5]
    bench.submit(6)
    away.come_back()
    await settled()
    assert bench.backend.away.empty()
    full.come_back()
    assert (await bench.backend.away.get()).seeds == [6]


async def test_few_callers_do_not_wait_for_each_other() -> None:
    bench = Bench(slots=2, cards=[card(TINY, chunk_items=8)])
    bench.scheduler.start()
    await bench.learn(0.02)
    bench.submit(1)
    await bench.backend.away.get()
    bench.clock.now += 0.005
    bench.submit(2)
    assert (await bench.backend.away.get()).seeds == [2]


async def test_what_would_miss_its_deadline_does_not_wait_for_more() -> None:
    bench = Bench(slots=2, cards=[card(TINY, chunk_items=4)])
    bench.scheduler.start()
    await bench.learn(0.02)
    bench.submit(1)
    await bench.backend.away.get()
    bench.clock.now += 0.015
    bench.submit(2, deadline=0.024)
    assert (await bench.backend.away.get()).seeds == [2]


# SHARES


async def test_a_quiet_caller_is_served_before_a_loud_one(bench: Bench) -> None:
    away = await bench.occupy(seconds=0.02)
    bench.submit(1, 2, 3, 4, 5, 6, 7, caller=Caller("loud"))
    bench.submit(8, caller=Caller("quiet"))
    away.come_back()
    assert 8 in (await bench.backend.away.get()).seeds


async def test_a_quiet_caller_rides_in_no_more_than_a_chunk_of_a_loud_one() -> None:
    bench = Bench(cards=(card(TINY, chunk_items=2, batch_items=8),))
    bench.scheduler.start()
    away = await bench.occupy()
    loud, quiet = bench.submit(*range(8), caller=Caller("loud")), bench.submit(9, caller=Caller("quiet"))
    away.come_back()
    first = await bench.backend.away.get()
    assert len(first.seeds) == 2
    assert 9 in first.seeds
    first.come_back()
    second = await bench.backend.away.get()
    assert len(second.seeds) == 7
    second.come_back()
    await asyncio.gather(*loud, *quiet)
    await bench.scheduler.stop()


async def test_callers_are_served_by_their_weights_and_in_order() -> None:
    bench = Bench(cards=[card(TINY, batch_items=1)])
    bench.scheduler.start()
    away = await bench.occupy(seconds=0.02)
    bench.submit(1, 2, 3, 4, 5, 6, caller=Caller("heavy", limits=CallerLimits(weight=2.0)))
    bench.submit(11, 12, 13, caller=Caller("light"))
    taken = []
    for _ in range(9):
        away.come_back()
        away = await bench.backend.away.get()
        taken += away.seeds
    for count in (3, 6, 9):
        assert len([seed for seed in taken[:count] if seed < 10]) == pytest.approx(count * 2 / 3, abs=1)
    assert [seed for seed in taken if seed < 10] == [1, 2, 3, 4, 5, 6]
    assert [seed for seed in taken if seed > 10] == [11, 12, 13]


async def test_nobody_saves_up_shares(bench: Bench) -> None:
    idle = Caller("idle")
    envelope = await bench.occupy(seconds=0.02)
    for _ in range(20):
        bench.submit(1, caller=Caller("busy"))
        envelope.come_back()
        envelope = await bench.backend.away.get()
    bench.submit(11, 12, 13, caller=idle)
    bench.submit(2, 3, caller=Caller("busy"))
    taken = []
    for _ in range(2):
        envelope.come_back()
        envelope = await bench.backend.away.get()
        taken += envelope.seeds
    assert taken != [11, 12, 13, 2, 3]
    envelope.come_back()


async def test_callers_who_call_once_are_forgotten(bench: Bench) -> None:
    await bench.learn(2.0)
    for number in range(1000):
        results = bench.submit(number, caller=Caller(f"10.0.{number // 256}.{number % 256}"))
        (await bench.backend.away.get()).come_back()
        await asyncio.gather(*results)
    assert sum(type(thing) is Share for thing in gc.get_objects()) < 500


async def test_limits_of_a_caller_are_kept(bench: Bench) -> None:
    strict = Caller("strict", limits=CallerLimits(concurrent_images=2))
    results = bench.submit(1, 2, caller=strict)
    with pytest.raises(LimitError, match="concurrent_images") as refusal:
        bench.submit(3, caller=strict)
    assert refusal.value.retry_seconds == pytest.approx(0.05), "until what it has is expected back"
    (await bench.backend.away.get()).come_back()
    await asyncio.gather(*results)
    bench.submit(3, caller=strict)


async def test_a_caller_at_its_limit_is_told_when_its_own_are_back_whatever_their_model() -> None:
    bench = Bench(slots=1, workers=2)
    bench.scheduler.start()
    await bench.learn(4.0, OTHER)
    await bench.learn(0.1)
    strict = Caller("strict", limits=CallerLimits(concurrent_images=1))
    (slow,) = bench.submit(1, key=OTHER, caller=strict)
    envelope = await bench.backend.away.get()
    bench.clock.now += 1.0
    with pytest.raises(LimitError, match="concurrent_images") as refusal:
        bench.submit(2, caller=strict)
    assert refusal.value.retry_seconds == pytest.approx(3.0)
    envelope.come_back()
    await slow


async def test_models_share_workers_and_the_caller_served_least_comes_first() -> None:
    bench = Bench(slots=2, workers=3)
    bench.scheduler.start()
    for key in (TINY, OTHER):
        await bench.learn(0.02, key)
    bench.submit(*range(10), batch_items=1, caller=Caller("loud"))
    one, two = await bench.backend.away.get(), await bench.backend.away.get()
    assert (one.key, two.key) == (TINY, TINY)
    await settled()
    assert bench.backend.away.empty(), "a model never holds all workers"
    heavy = Caller("quiet", limits=CallerLimits(weight=2.0))
    bench.submit(5, 6, key=OTHER, batch_items=1, caller=heavy)
    three = await bench.backend.away.get()
    assert three.key == OTHER
    await settled()
    assert bench.backend.away.empty()
    one.come_back()
    four = await bench.backend.away.get()
    assert four.key == OTHER


async def test_a_deadline_that_passed_while_waiting_is_not_run(bench: Bench) -> None:
    away = await bench.occupy()
    late, patient = bench.submit(1, deadline=5.0), bench.submit(2, deadline=50.0)
    bench.clock.now += 5.0
    away.come_back()
    assert (await bench.backend.away.get()).seeds == [2]
    with pytest.raises(DeadlineError):
        await late[0]
    assert not patient[0].done()


async def test_an_envelope_may_take_until_its_last_deadline(bench: Bench) -> None:
    away = await bench.occupy()
    bench.submit(1, deadline=5.0)
    bench.submit(2, deadline=9.0)
    bench.clock.now += 0.01
    away.come_back()
    envelope = await bench.backend.away.get()
    assert envelope.timeout == pytest.approx(8.99)
    bench.submit(3, deadline=5.0)
    bench.submit(4)
    envelope.come_back()
    assert (await bench.backend.away.get()).timeout is None


async def test_a_cancelled_item_is_not_run_and_frees_its_place(bench: Bench) -> None:
    away = await bench.occupy()
    gone = bench.submit(*range(QUEUE_ITEMS - 2))
    bench.submit(50)
    abandon(gone)
    # Nine places were taken when the caller went: not full, but without room for this.
    results = bench.submit(*range(60, 69))
    away.come_back()
    assert (await bench.backend.away.get()).seeds == [50, 60, 61, 62]
    assert not any(result.cancelled() for result in results)
    assert all(result.cancelled() for result in gone)


async def test_items_of_callers_that_have_gone_are_not_waited_for(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    abandon(bench.submit(1, 2, 3, 4))
    bench.submit(5, deadline=4.1)


async def test_a_queue_of_cancelled_items_runs_nothing(bench: Bench) -> None:
    away = await bench.occupy()
    abandon(bench.submit(1, 2, 3))
    away.come_back()
    await settled()
    assert len(bench.backend.envelopes) == 1
    assert bench.metric("gantry_queue_items", version="1.0.0") == 0


async def test_an_envelope_that_was_not_run_fails_its_items_only(bench: Bench) -> None:
    away = await bench.occupy()
    failing, sound = bench.submit(1, 2, 3, 4), bench.submit(5)
    away.come_back()
    error = BackendUnavailableError("down")
    (await bench.backend.away.get()).outcome.set_exception(error)
    (await bench.backend.away.get()).come_back()
    outcomes = await asyncio.gather(*failing, return_exceptions=True)
    assert all(outcome is error for outcome in outcomes)
    await asyncio.gather(*sound)
    assert pixels(sound) == [5]


async def test_the_queue_outlives_an_unexpected_error(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    results = bench.submit(1)
    with caplog.at_level(logging.CRITICAL, "services.gateway.scheduler"):
        (await bench.backend.away.get()).outcome.set_exception(ZeroDivisionError("a secret"))
        with pytest.raises(BackendFailedError) as failure:
            await results[0]
    assert "secret" not in str(failure.value)
    bench.submit(2)
    assert (await bench.backend.away.get()).seeds == [2]


async def test_the_queue_outlives_an_envelope_that_the_backend_cancels(bench: Bench) -> None:
    """A gRPC channel that is closed cancels its calls."""
    results = bench.submit(1)
    (await bench.backend.away.get()).outcome.cancel()
    with pytest.raises(BackendUnavailableError):
        await results[0]
    bench.submit(2)
    assert (await bench.backend.away.get()).seeds == [2]


@pytest.mark.parametrize("results", [0, 2])
async def test_a_wrong_number_of_results_is_no_answer(bench: Bench, results: int) -> None:
    items = bench.submit(1)
    reply = worker_pb2.WorkReply(results=[worker_pb2.WorkResult()] * results)
    (await bench.backend.away.get()).outcome.set_result(reply)
    with pytest.raises(BackendFailedError, match=f"1 items went out and {results} results came back"):
        await items[0]
    bench.submit(3)
    assert (await bench.backend.away.get()).seeds == [3]


async def test_an_envelope_that_loses_its_worker_is_run_again_item_by_item(bench: Bench) -> None:
    results = bench.submit(1, 2, 3)
    (await bench.backend.away.get()).outcome.set_exception(WorkerLostError("lost"))
    for seed in (1, 2, 3):
        envelope = await bench.backend.away.get()
        assert envelope.seeds == [seed]
        if seed == 2:
            envelope.outcome.set_exception(WorkerLostError("lost"))
        else:
            envelope.come_back()
    with pytest.raises(ItemFailedError, match="2 workers were lost"):
        await results[1]
    await results[2]
    assert pixels([results[0], results[2]]) == [1, 3]


async def test_what_has_cost_two_workers_is_refused_for_a_while(bench: Bench) -> None:
    (result,) = bench.submit(7)
    for _ in range(2):
        (await bench.backend.away.get()).outcome.set_exception(WorkerLostError("lost"))
    with pytest.raises(ItemFailedError):
        await result
    with pytest.raises(ItemFailedError, match="a short while ago"):
        bench.submit(6, 7)
    bench.submit(7, key=OTHER)
    (await bench.backend.away.get()).come_back()
    bench.submit(6)
    (await bench.backend.away.get()).come_back()
    bench.clock.now += 301.0
    bench.submit(7)


async def test_what_lost_its_worker_for_another_is_run_again_without_a_loss(bench: Bench) -> None:
    (result,) = bench.submit(7)
    for is_to_blame in (False, False, True, False):
        lost = WorkerLostError("lost", is_to_blame=is_to_blame)
        (await bench.backend.away.get()).outcome.set_exception(lost)
    (await bench.backend.away.get()).come_back()
    assert (await result).result.image.data == bytes([7])


async def test_what_lost_its_worker_once_and_then_fails_alone_fails_for_good(bench: Bench) -> None:
    (result,) = bench.submit(7)
    (await bench.backend.away.get()).outcome.set_exception(WorkerLostError("lost"))
    (await bench.backend.away.get()).outcome.set_exception(BackendFailedError("the model failed"))
    with pytest.raises(BackendFailedError):
        await result
    bench.submit(7)


async def test_an_envelope_that_failed_is_run_again_item_by_item(bench: Bench) -> None:
    results = bench.submit(1, 2)
    error = BackendFailedError("the model failed")
    (await bench.backend.away.get()).outcome.set_exception(error)
    (await bench.backend.away.get()).outcome.set_exception(error)
    (await bench.backend.away.get()).come_back()
    with pytest.raises(BackendFailedError):
        await results[0]
    assert (await results[1]).result.image.data == bytes([2])


async def test_who_goes_while_an_item_runs_is_noticed_by_its_worker(bench: Bench) -> None:
    results = bench.submit(1, 2, 3)
    envelope = await bench.backend.away.get()
    abandon([results[1]])
    await settled()
    assert envelope.abandoned == {1}
    envelope.come_back()
    await asyncio.gather(results[0], results[2])
    assert bench.metric("gantry_unawaited_items_total") == 1
    assert bench.metric("gantry_items_total", outcome="abandoned") == 1


async def test_items_that_a_worker_left_unrun_were_late(bench: Bench) -> None:
    results = bench.submit(1, 2)
    envelope = await bench.backend.away.get()
    reply = reply_to(envelope.request)
    reply.results[0].Clear()
    reply.results[0].unrun = True
    envelope.outcome.set_result(reply)
    with pytest.raises(DeadlineError):
        await results[0]
    await results[1]
    assert pixels([results[1]]) == [2]
    assert not bench.metric("gantry_unawaited_items_total")


async def test_a_caller_learns_of_its_deadline_on_time_whatever_hangs(bench: Bench) -> None:
    results = bench.submit(1, 2, deadline=0.01)
    envelope = await bench.backend.away.get()
    with pytest.raises(DeadlineError):
        await results[0]
    assert not envelope.outcome.done()
    await settled()
    assert envelope.abandoned == {0, 1}
    bench.submit(3)
    await settled()
    assert bench.backend.away.empty(), "its slot is taken until the worker has answered"


async def test_a_probe_goes_before_all_others_and_alone(bench: Bench) -> None:
    away = await bench.occupy(seconds=0.02)
    bench.submit(1, 2, 3)
    probing = asyncio.create_task(bench.scheduler.probe(TINY))
    await settled()
    away.come_back()
    envelope = await bench.backend.away.get()
    assert envelope.seeds == [0]
    envelope.come_back()
    await probing


async def test_the_first_probe_tells_what_a_model_costs(bench: Bench) -> None:
    probing = asyncio.create_task(bench.scheduler.probe(TINY))
    sizes = []
    while not probing.done():
        envelope = await bench.backend.away.get()
        sizes.append(len(envelope.seeds))
        bench.clock.now += 0.010 + 0.002 * sizes[-1]
        envelope.come_back()
        await settled()
    assert sizes == [1, 1, 2, 1, 2]
    # 0.010 for the envelope, 0.002 for the item.
    with pytest.raises(TooExpensiveError, match=r"this takes about 0\.012 s"):
        bench.submit(1, deadline=0.011)
    probing = asyncio.create_task(bench.scheduler.probe(TINY))
    (await bench.backend.away.get()).come_back()
    await probing


async def test_a_probe_without_a_picture_has_failed(bench: Bench) -> None:
    probing = asyncio.create_task(bench.scheduler.probe(TINY))
    fault = worker_pb2.WorkReply(results=[worker_pb2.WorkResult(error="no")])
    (await bench.backend.away.get()).outcome.set_result(fault)
    with pytest.raises(BackendFailedError, match="brought no picture back"):
        await probing


async def test_stop_finishes_what_was_admitted_and_refuses_the_rest(bench: Bench) -> None:
    away = await bench.occupy()
    results = bench.submit(*range(6))
    stopping = asyncio.create_task(bench.scheduler.stop())
    await settled()
    with pytest.raises(ShuttingDownError):
        bench.submit(7)
    away.come_back()
    for _ in range(2):
        assert not stopping.done()
        (await bench.backend.away.get()).come_back()
    await stopping
    assert pixels(results) == list(range(6))


async def test_stop_does_not_wait_for_what_nobody_awaits() -> None:
    """Else a backend that hangs would keep the gateway from ending after its grace."""
    bench = Bench()
    bench.scheduler.start()
    results = bench.submit(1, 2)
    envelope = await bench.backend.away.get()
    abandon([*results, *bench.submit(3)])
    await bench.scheduler.stop()
    assert envelope.outcome.cancelled()


async def test_stop_of_an_idle_scheduler_ends_at_once() -> None:
    bench = Bench(slots=3)
    bench.scheduler.start()
    await settled()
    await bench.scheduler.stop()


async def test_a_model_that_came_is_served_and_one_that_left_is_not(bench: Bench) -> None:
    away, (waiting,) = await bench.occupy(), bench.submit(1)
    left = bench.backend.replace(card(OTHER), card(NEW))

    bench.scheduler.follow(bench.backend.models)

    for gone in (waiting, bench.awaited[0]):
        with pytest.raises(UnknownModelError, match=r"model tiny 1\.0\.0 is not loaded any more"):
            await gone
    with pytest.raises(UnknownModelError):
        bench.scheduler.submit(Caller("one"), left[TINY], [item(2)], None)
    assert away.outcome.cancelled()
    assert bench.metric("gantry_queue_items", version="1.0.0") is None
    (result,) = bench.submit(3, key=NEW)
    envelope = await bench.backend.away.get()
    assert (envelope.key, envelope.seeds) == (NEW, [3])
    envelope.come_back()
    assert (await result).result.image.data


async def test_no_work_for_an_archive_comes_back_from_another(bench: Bench) -> None:
    away, (waiting,) = await bench.occupy(), bench.submit(1)
    other = bench.submit(5, key=OTHER)
    before = bench.backend.replace(card(TINY), card(OTHER), digest="e" * 64)
    bench.backend.models[OTHER].digest = before[OTHER].digest

    away.come_back()
    bench.scheduler.follow(bench.backend.models)

    for gone in (waiting, bench.awaited[0]):
        with pytest.raises(BackendUnavailableError, match=r"model tiny 1\.0\.0 has another archive now"):
            await gone
    with pytest.raises(BackendUnavailableError, match="another archive"):
        bench.scheduler.submit(Caller("one"), before[TINY], [item(2)], None)
    assert bench.metric("gantry_queue_items", version="1.0.0") == 0
    (result,) = bench.submit(3)
    while (envelope := await bench.backend.away.get()).seeds != [3]:
        assert envelope.seeds == [5]
        envelope.come_back()
    envelope.come_back()
    await asyncio.gather(result, *other)


async def test_metrics(bench: Bench) -> None:
    away = await bench.occupy()
    bench.submit(1, 2, 3)
    assert bench.metric("gantry_queue_items", version="1.0.0") == 3
    bench.clock.now += 0.26
    away.outcome.set_result(reply_to(away.request))
    envelope = await bench.backend.away.get()
    envelope.outcome.set_result(reply_to(envelope.request))
    await settled()
    assert bench.metric("gantry_queue_items", version="1.0.0") == 0
    assert bench.metric("gantry_items_total", outcome="answered") == 4
    assert bench.metric("gantry_batch_items_sum") == 4
    assert bench.metric("gantry_batch_items_count") == 2
    assert bench.metric("gantry_queue_seconds_count") == 4
    assert bench.metric("gantry_queue_seconds_sum") == pytest.approx(0.78)
    assert bench.metric("gantry_backend_seconds_sum") == pytest.approx(0.26)
    assert bench.metric("gantry_encode_seconds_sum") == pytest.approx(0.5)


def _act(bench: Bench, kind: str, number: int, submitted: list[tuple[float | None, Results]]) -> None:
    """One step of the interleavings below."""
    if kind == "submit":
        deadline = None if number % 3 == 0 else number / 2
        seeds = range(len(submitted) * 100, len(submitted) * 100 + number % 7 + 1)
        try:
            submitted.append((deadline, bench.submit(*seeds, deadline=deadline)))
        except (QueueFullError, TooExpensiveError):
            submitted.append((deadline, []))
    elif kind == "abandon" and submitted:
        abandon(submitted[number % len(submitted)][1])
    elif kind == "time":
        bench.clock.now += number / 4
    elif kind == "return" and not bench.backend.away.empty():
        envelope = bench.backend.away.get_nowait()
        endings: list[Callable[[], Any]] = [
            envelope.come_back,
            envelope.come_back,
            lambda: envelope.outcome.set_exception(BackendUnavailableError("down")),
            lambda: envelope.outcome.set_exception(ZeroDivisionError()),
            envelope.outcome.cancel,
            lambda: envelope.outcome.set_result(worker_pb2.WorkReply()),
        ]
        endings[number % len(endings)]()


_ACTS = st.lists(
    st.tuples(st.sampled_from(["submit", "submit", "abandon", "time", "return", "return"]), st.integers(0, 20)),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(acts=_ACTS, slots=st.integers(1, 3))
def test_every_item_has_one_outcome_whatever_happens(acts: list[tuple[str, int]], slots: int) -> None:
    async def play() -> None:
        bench = Bench(slots)
        bench.scheduler.start()
        submitted: list[tuple[float | None, Results]] = []
        for kind, number in acts:
            _act(bench, kind, number, submitted)
            await settled()
            assert bench.backend.away.qsize() <= slots
            assert (bench.metric("gantry_queue_items", version="1.0.0") or 0) <= QUEUE_ITEMS
        stopping = asyncio.create_task(bench.scheduler.stop())
        await settled()
        while not bench.backend.away.empty():
            envelope = bench.backend.away.get_nowait()
            # One that nobody awaited any more was called back.
            if not envelope.outcome.done():
                envelope.come_back()
            await settled()
        await asyncio.wait_for(stopping, timeout=10)
        ran = [seed for envelope in bench.backend.envelopes for seed in envelope.seeds]
        # Only what failed among others runs again, alone; items run in the order in which they came.
        assert list(dict.fromkeys(ran)) == sorted(set(ran))
        assert all(ran.count(seed) <= 2 for seed in ran)
        first: set[int] = set()
        for envelope in bench.backend.envelopes:
            assert len(envelope.seeds) == 1 or not first & set(envelope.seeds)
            first |= set(envelope.seeds)
        assert all(len(envelope.seeds) <= BATCH_ITEMS for envelope in bench.backend.envelopes)
        for number, (_, results) in enumerate(submitted):
            for index, result in enumerate(results):
                assert result.done()
                seed = number * 100 + index
                if result.cancelled():
                    continue
                if isinstance(result.exception(), DeadlineError):
                    continue
                if result.exception() is None:
                    assert result.result().result.image.data[0] == seed % 256
                else:
                    assert seed in ran

    logging.disable(logging.ERROR)
    try:
        asyncio.run(play())
    finally:
        logging.disable(logging.NOTSET)
