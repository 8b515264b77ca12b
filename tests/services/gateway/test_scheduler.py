"""The scheduler with a clock and a backend driven by hand: nothing here waits for time to pass."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import (
    BackendFailedError,
    BackendTimeoutError,
    BackendUnavailableError,
    ModelKey,
)
from services.gateway.errors import DeadlineError, QueueFullError, ShuttingDownError, UnknownModelError
from services.gateway.scheduler import Made, Scheduler, abandon
from services.gateway.telemetry.metrics import Metrics
from tests.services.gateway.fakes import Away, Clock, DrivenBackend, settled

BATCH_ITEMS = 4
QUEUE_ITEMS = 10
QUEUE_BYTES = 1000
TINY, OTHER, NEW = ModelKey("tiny", "1.0.0"), ModelKey("other", "2.0.0"), ModelKey("tiny", "1.1.0")

Results = list[asyncio.Future[Made]]


def item(seed: int) -> worker_pb2.WorkItem:
    return worker_pb2.WorkItem(generate=worker_pb2.GenerateWork(seed=seed))


def card(key: ModelKey) -> models_pb2.ModelCard:
    execution = models_pb2.ExecutionSpec(chunk_items=1, max_batch_items=BATCH_ITEMS)
    return models_pb2.ModelCard(name=key.name, version=key.version, execution=execution)


class Bench:
    """A scheduler with all that it stands on."""

    def __init__(self, envelopes_in_flight: int = 1) -> None:
        self.clock, self.metrics = Clock(), Metrics()
        self.backend = DrivenBackend(card(TINY), card(OTHER))
        self.scheduler = Scheduler(
            self.backend,
            self.metrics,
            queue_items=QUEUE_ITEMS,
            queue_bytes=QUEUE_BYTES,
            envelopes_in_flight=envelopes_in_flight,
            clock=self.clock,
        )
        self.awaited: Results = []

    def submit(
        self, *seeds: int, deadline: float | None = None, key: ModelKey = TINY, batch_items: int | None = None
    ) -> Results:
        """Submit one item per seed; the deadline counts from now."""
        until = None if deadline is None else self.clock.now + deadline
        return self.scheduler.submit(self.backend.models[key], [item(seed) for seed in seeds], until, batch_items)

    async def occupy(self, seconds: float = 0.0) -> Away:
        """Send the backend away with one item, after it has learnt how long an item takes."""
        if seconds:
            await self.learn(seconds)
        self.awaited = self.submit(901)
        return await self.backend.away.get()

    async def learn(self, seconds: float, key: ModelKey = TINY) -> None:
        """Let an item of a model take so long."""
        items = self.submit(900, key=key)
        envelope = await self.backend.away.get()
        self.clock.now += seconds
        envelope.come_back()
        await asyncio.gather(*items)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"model": "tiny", **labels})


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.scheduler.start()
    yield bench
    # Whatever is still away comes back, else the scheduler could not stop.
    stopping = asyncio.create_task(bench.scheduler.stop())
    while not stopping.done():
        await settled()
        while not bench.backend.away.empty():
            bench.backend.away.get_nowait()
        for envelope in bench.backend.envelopes:
            if not envelope.outcome.done():
                envelope.come_back()
    await stopping


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
    bench = Bench(envelopes_in_flight=2)
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


async def test_what_waits_has_a_bounded_number_of_bytes_over_all_models(bench: Bench) -> None:
    picture = worker_pb2.WorkItem(translate=worker_pb2.TranslateWork(image=bytes(QUEUE_BYTES // 2)))
    await bench.occupy()
    await bench.learn(2.0, OTHER)
    other = bench.scheduler.submit(bench.backend.models[OTHER], [picture], None)
    away = await bench.backend.away.get()
    assert away.key == OTHER
    (waiting,) = bench.scheduler.submit(bench.backend.models[OTHER], [picture], None)
    size = picture.ByteSize()
    with pytest.raises(QueueFullError, match=f"has {size} of 1000 bytes, and this request {size}") as refusal:
        bench.scheduler.submit(bench.backend.models[TINY], [picture], None)
    assert refusal.value.retry_seconds == pytest.approx(2.0), "until what waits for the other model is done"
    bench.submit(1)
    # One who has gone leaves room, whichever model it waited for; so does one whose envelope is away.
    waiting.cancel()
    bench.scheduler.submit(bench.backend.models[TINY], [picture], None)
    away.come_back()
    await asyncio.gather(*other)
    with pytest.raises(QueueFullError):
        bench.scheduler.submit(bench.backend.models[OTHER], [picture], None)


async def test_the_expected_wait_is_shown(bench: Bench) -> None:
    envelope = await bench.occupy(seconds=2.0)
    bench.submit(1, 2, 3)
    assert bench.metric("gantry_queue_wait_seconds", version="1.0.0") == pytest.approx(6.0)
    envelope.come_back()
    (await bench.backend.away.get()).come_back()
    await settled()
    assert bench.metric("gantry_queue_wait_seconds", version="1.0.0") == 0


async def test_what_was_made_says_how_long_it_waited_and_how_long_its_envelope_was_away(bench: Bench) -> None:
    envelope = await bench.occupy()
    (first,) = bench.submit(1)
    bench.clock.now += 2.0
    (second,) = bench.submit(2)
    envelope.come_back()
    envelope = await bench.backend.away.get()
    bench.clock.now += 3.0
    envelope.come_back()
    made = await asyncio.gather(first, second)
    assert [one.queue_seconds for one in made] == [2.0, 0.0]
    assert made[0].ride is made[1].ride
    assert (made[0].ride.seconds, made[0].ride.encode_seconds) == (3.0, 0.25)


async def test_the_retry_delay_is_the_expected_wait(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    bench.submit(*range(QUEUE_ITEMS))
    with pytest.raises(QueueFullError) as refusal:
        bench.submit(1)
    assert refusal.value.retry_seconds == pytest.approx(20.0)


async def test_a_wait_that_would_outlast_the_deadline_is_refused(bench: Bench) -> None:
    await bench.occupy(seconds=2.0)
    bench.submit(1, 2, 3)
    with pytest.raises(QueueFullError, match=r"wait of about 6\.00 s") as refusal:
        bench.submit(4, deadline=5.9)
    assert refusal.value.retry_seconds == pytest.approx(6.0)
    bench.submit(4, deadline=6.1)


async def test_the_expected_wait_follows_the_newest_envelopes(bench: Bench) -> None:
    envelope = await bench.occupy(seconds=10.0)
    for _ in range(40):
        bench.submit(1)
        bench.clock.now += 1.0
        envelope.come_back()
        envelope = await bench.backend.away.get()
    bench.submit(1)
    with pytest.raises(QueueFullError, match=r"about 1\.00 s"):
        bench.submit(2, deadline=0.9)


async def test_one_slow_envelope_moves_the_expected_wait_by_a_fifth_of_the_difference(bench: Bench) -> None:
    envelope = await bench.occupy(seconds=1.0)
    bench.submit(1)
    bench.clock.now += 11.0
    envelope.come_back()
    await bench.backend.away.get()
    bench.submit(2)
    assert bench.metric("gantry_queue_wait_seconds", version="1.0.0") == pytest.approx(3.0)


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
    bench.clock.now += 1.0
    away.come_back()
    envelope = await bench.backend.away.get()
    assert envelope.timeout == pytest.approx(8.0)
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
    bench.submit(5, deadline=1.0)


async def test_a_queue_of_cancelled_items_runs_nothing(bench: Bench) -> None:
    away = await bench.occupy()
    abandon(bench.submit(1, 2, 3))
    away.come_back()
    await settled()
    assert len(bench.backend.envelopes) == 1
    assert bench.metric("gantry_queue_items", version="1.0.0") == 0


@pytest.mark.parametrize(
    "error", [BackendUnavailableError("down"), BackendFailedError("no"), BackendTimeoutError("late")]
)
async def test_an_error_of_the_backend_fails_its_batch_only(bench: Bench, error: Exception) -> None:
    away = await bench.occupy()
    failing, sound = bench.submit(1, 2, 3, 4), bench.submit(5)
    away.come_back()
    (await bench.backend.away.get()).outcome.set_exception(error)
    (await bench.backend.away.get()).come_back()
    outcomes = await asyncio.gather(*failing, return_exceptions=True)
    assert all(outcome is error for outcome in outcomes)
    await asyncio.gather(*sound)
    assert pixels(sound) == [5]


async def test_the_lane_outlives_an_unexpected_error(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    results = bench.submit(1)
    with caplog.at_level(logging.CRITICAL, "services.gateway.scheduler"):
        (await bench.backend.away.get()).outcome.set_exception(ZeroDivisionError("a secret"))
        with pytest.raises(BackendFailedError) as failure:
            await results[0]
    assert "secret" not in str(failure.value)
    bench.submit(2)
    assert (await bench.backend.away.get()).seeds == [2]


async def test_the_lane_outlives_an_envelope_that_the_backend_cancels(bench: Bench) -> None:
    """A gRPC channel that is closed cancels its calls."""
    results = bench.submit(1)
    (await bench.backend.away.get()).outcome.cancel()
    with pytest.raises(BackendUnavailableError):
        await results[0]
    bench.submit(2)
    assert (await bench.backend.away.get()).seeds == [2]


@pytest.mark.parametrize("results", [0, 1, 3])
async def test_a_wrong_number_of_results_fails_the_batch(bench: Bench, results: int) -> None:
    items = bench.submit(1, 2)
    reply = worker_pb2.WorkReply(results=[worker_pb2.WorkResult()] * results)
    (await bench.backend.away.get()).outcome.set_result(reply)
    outcomes = await asyncio.gather(*items, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [f"2 items went out and {results} results came back"] * 2
    bench.submit(3)
    assert (await bench.backend.away.get()).seeds == [3]


async def test_failures_do_not_shape_the_expected_wait(bench: Bench) -> None:
    envelope = await bench.occupy(seconds=1.0)
    bench.submit(1)
    bench.clock.now += 1000.0
    envelope.outcome.set_exception(BackendTimeoutError("late"))
    await bench.backend.away.get()
    bench.submit(2)
    bench.submit(3, deadline=1.1)


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
    bench = Bench(envelopes_in_flight=3)
    bench.scheduler.start()
    await settled()
    await bench.scheduler.stop()


async def test_runners_that_are_cancelled_leave_nobody_waiting(bench: Bench) -> None:
    results = bench.submit(1)
    await bench.backend.away.get()
    runners = bench.scheduler._lanes[TINY].stop()
    with pytest.raises(BackendUnavailableError):
        await results[0]
    await asyncio.gather(*runners, return_exceptions=True)
    assert all(runner.cancelled() for runner in runners)


async def test_a_model_that_came_is_served_and_one_that_left_is_not(bench: Bench) -> None:
    away, (waiting,) = await bench.occupy(), bench.submit(1)
    left = bench.backend.replace(card(OTHER), card(NEW))

    bench.scheduler.follow(bench.backend.models)

    for gone in (waiting, bench.awaited[0]):
        with pytest.raises(UnknownModelError, match=r"model tiny 1\.0\.0 is not loaded any more"):
            await gone
    with pytest.raises(UnknownModelError):
        bench.scheduler.submit(left[TINY], [item(2)], None)
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
        bench.scheduler.submit(before[TINY], [item(2)], None)
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
    bench.clock.now += 0.3
    away.come_back()
    (await bench.backend.away.get()).come_back()
    await settled()
    assert bench.metric("gantry_queue_items", version="1.0.0") == 0
    assert bench.metric("gantry_batch_items_sum") == 4
    assert bench.metric("gantry_batch_items_count") == 2
    assert bench.metric("gantry_queue_seconds_count") == 4
    assert bench.metric("gantry_queue_seconds_sum") == pytest.approx(0.9)
    assert bench.metric("gantry_backend_seconds_sum") == pytest.approx(0.3)
    assert bench.metric("gantry_encode_seconds_sum") == pytest.approx(0.5)


def _act(bench: Bench, kind: str, number: int, submitted: list[tuple[float | None, Results]]) -> None:
    """One step of the interleavings below."""
    if kind == "submit":
        deadline = None if number % 3 == 0 else number / 2
        seeds = range(len(submitted) * 100, len(submitted) * 100 + number % 7 + 1)
        try:
            submitted.append((deadline, bench.submit(*seeds, deadline=deadline)))
        except QueueFullError:
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
@given(acts=_ACTS, envelopes_in_flight=st.integers(1, 3))
def test_every_item_has_one_outcome_whatever_happens(acts: list[tuple[str, int]], envelopes_in_flight: int) -> None:
    async def play() -> None:
        bench = Bench(envelopes_in_flight)
        bench.scheduler.start()
        submitted: list[tuple[float | None, Results]] = []
        for kind, number in acts:
            _act(bench, kind, number, submitted)
            await settled()
            assert bench.backend.away.qsize() <= envelopes_in_flight
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
        # No item runs twice, and items run in the order in which they came.
        assert ran == sorted(set(ran))
        assert all(len(envelope.seeds) <= BATCH_ITEMS for envelope in bench.backend.envelopes)
        for number, (_, results) in enumerate(submitted):
            for index, result in enumerate(results):
                assert result.done()
                seed = number * 100 + index
                if result.cancelled():
                    continue
                if isinstance(result.exception(), DeadlineError):
                    assert seed not in ran
                elif result.exception() is None:
                    assert result.result().result.image.data[0] == seed % 256
                else:
                    assert seed in ran

    logging.disable(logging.ERROR)
    try:
        asyncio.run(play())
    finally:
        logging.disable(logging.NOTSET)
