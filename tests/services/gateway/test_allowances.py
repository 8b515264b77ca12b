"""Callers stay within their own limits, and who waits as told is served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.allowances import Allowances
from services.gateway.call import Caller, CallerLimits
from services.gateway.errors import LimitError
from tests.services.gateway.fakes import Clock

MAX_IMAGES = 16


def caller(name: str = "reports", **limits: float) -> Caller:
    return Caller.of(name, ["*"], CallerLimits(**limits))  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowances(clock: Clock) -> Allowances:
    return Allowances(MAX_IMAGES, clock)


def test_a_caller_without_limits_takes_what_it_likes_and_is_not_remembered(allowances: Allowances) -> None:
    for _ in range(100):
        allowances.take(caller(weight=3.0), 1000)
    allowances.give_back(caller(), 1000)
    assert len(allowances) == 0


def test_a_rate_allows_one_request_of_any_size_then_says_when_the_next_is_free(
    allowances: Allowances, clock: Clock
) -> None:
    slow = caller(images_per_second=2)
    allowances.take(slow, MAX_IMAGES)
    with pytest.raises(LimitError, match=r"images_per_second is 2; 6 more are free in 3\.00 s") as refusal:
        allowances.take(slow, 6)
    assert refusal.value.retry_seconds == 3
    clock.now += 2.9
    with pytest.raises(LimitError):
        allowances.take(slow, 6)
    clock.now += 0.1
    allowances.take(slow, 6)


def test_a_rate_above_the_largest_request_allows_a_second_of_images_at_once(allowances: Allowances) -> None:
    quick = caller(images_per_second=100)
    for _ in range(10):
        allowances.take(quick, 10)
    with pytest.raises(LimitError):
        allowances.take(quick, 1)


def test_images_at_once_are_free_when_they_are_given_back(allowances: Allowances) -> None:
    few = caller(concurrent_images=4)
    allowances.take(few, 3)
    with pytest.raises(
        LimitError, match=r"3 images of this caller are under way and 2 more .* concurrent_images is 4"
    ) as full:
        allowances.take(few, 2, frees_seconds=lambda: 0.25)
    assert full.value.retry_seconds == 0.25
    allowances.take(few, 1)
    allowances.give_back(few, 2)
    allowances.take(few, 2)


def test_a_request_above_what_may_be_at_once_is_not_told_to_come_back(allowances: Allowances) -> None:
    with pytest.raises(LimitError, match="5 images in one request; this caller's concurrent_images is 4") as refusal:
        allowances.take(caller(concurrent_images=4), 5)
    assert refusal.value.retry_seconds is None


def test_a_refusal_takes_nothing_of_either_limit(allowances: Allowances, clock: Clock) -> None:
    both = caller(concurrent_images=16, images_per_second=1)
    allowances.take(both, 16)
    allowances.give_back(both, 16)
    for _ in range(3):
        with pytest.raises(LimitError, match="images_per_second"):
            allowances.take(both, 16)
    clock.now += 16
    allowances.take(both, 16)


def test_callers_are_apart_and_those_without_a_name_go_by_address(allowances: Allowances) -> None:
    limits = CallerLimits(concurrent_images=1)
    allowances.take(Caller(limits=limits, address="10.0.0.1"), 1)
    allowances.take(Caller(limits=limits, address="10.0.0.2"), 1)
    with pytest.raises(LimitError):
        allowances.take(Caller(limits=limits, address="10.0.0.1"), 1)
    allowances.take(caller(concurrent_images=1), 1)


def test_a_limit_that_changes_counts_from_the_next_request_on(allowances: Allowances) -> None:
    allowances.take(caller(concurrent_images=2), 2)
    allowances.take(caller(concurrent_images=3), 1)
    allowances.take(caller(), 100)
    with pytest.raises(LimitError):
        allowances.take(caller(concurrent_images=3), 1)


def test_idle_callers_are_forgotten(allowances: Allowances, clock: Clock) -> None:
    busy = caller("busy", concurrent_images=8)
    allowances.take(busy, 1)
    for number in range(100):
        each = caller(f"caller-{number}", concurrent_images=8, images_per_second=1)
        allowances.take(each, 4)
        allowances.give_back(each, 4)
    assert len(allowances) == 101
    clock.now += 3600
    allowances.take(busy, 1)
    assert len(allowances) == 1


@given(
    rate=st.floats(0.1, 1000),
    most=st.integers(MAX_IMAGES, 64),
    steps=st.lists(st.tuples(st.integers(1, MAX_IMAGES), st.floats(0, 10), st.booleans()), max_size=50),
)
def test_no_more_than_is_allowed_and_who_waits_as_told_is_served(
    rate: float, most: int, steps: list[tuple[int, float, bool]]
) -> None:
    clock = Clock()
    allowances = Allowances(MAX_IMAGES, clock)
    limited = caller(images_per_second=rate, concurrent_images=most)
    started, taken, at_once = clock.now, 0, 0
    for images, pause, gives_back in steps:
        clock.now += pause
        if gives_back:
            allowances.give_back(limited, at_once)
            at_once = 0
        if at_once + images > most:
            with pytest.raises(LimitError, match="concurrent_images"):
                allowances.take(limited, images)
            continue
        try:
            allowances.take(limited, images)
        except LimitError as refusal:
            clock.now += refusal.retry_seconds or 0.0
            allowances.take(limited, images)
        taken, at_once = taken + images, at_once + images
        assert at_once <= most
        assert taken <= max(rate, MAX_IMAGES) + rate * (clock.now - started) + 1e-3
