"""When a refused call is tried again, by rule and against a server that refuses."""

import math

import grpc
import pytest

from services.backends.base import BackendUnavailableError
from services.client import Client, GantryError
from services.client.retry import MAX_ATTEMPTS, pause_before_retry
from services.gateway.errors import QueueFullError, UnknownModelError
from tests.services.client.refusing import ANSWER, Clock, RefusingServicer, listening


def refusal(retry_seconds: float | None) -> GantryError:
    return GantryError(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_seconds=retry_seconds)


@pytest.mark.parametrize(
    ("retry_seconds", "attempts", "seconds_left", "pause"),
    [
        (2.0, 1, 30.0, 2.0),
        (2.0, 1, math.inf, 2.0),
        (2.0, MAX_ATTEMPTS - 1, 30.0, 2.0),
        (2.0, MAX_ATTEMPTS, 30.0, None),
        (2.0, 1, 2.0, None),
        (None, 1, 30.0, None),
    ],
)
def test_rule(retry_seconds: float | None, attempts: int, seconds_left: float, pause: float | None) -> None:
    assert pause_before_retry(refusal(retry_seconds), attempts, seconds_left) == pause


def test_waits_as_long_as_it_is_told_each_time() -> None:
    clock, servicer = Clock(), RefusingServicer([QueueFullError("full", 0.25), BackendUnavailableError("down")])
    with listening(servicer) as address, Client(address, clock=clock, sleep=clock.sleep) as client:
        (image,) = client.sample("m")
    assert image.seed == ANSWER.seed
    assert clock.slept == [0.25, 2.0]


def test_a_stream_is_tried_again_too() -> None:
    clock, servicer = Clock(), RefusingServicer([QueueFullError("full", 0.25)])
    with listening(servicer) as address, Client(address, clock=clock, sleep=clock.sleep) as client:
        (image,) = client.sample_stream("m")
    assert image.image.tobytes() == ANSWER.encoded.data
    assert clock.slept == [0.25]


def test_gives_up_after_the_last_attempt() -> None:
    clock, servicer = Clock(), RefusingServicer([QueueFullError("full", 0.25)] * (MAX_ATTEMPTS + 1))
    with (
        listening(servicer) as address,
        Client(address, clock=clock, sleep=clock.sleep) as client,
        pytest.raises(GantryError, match="RESOURCE_EXHAUSTED: full") as caught,
    ):
        client.sample("m")
    assert servicer.calls == MAX_ATTEMPTS
    assert caught.value.reason == "QUEUE_FULL"
    assert caught.value.retry_seconds == 0.25


def test_does_not_wait_beyond_the_deadline() -> None:
    clock, servicer = Clock(), RefusingServicer([QueueFullError("full", 6.0)] * 2)
    with (
        listening(servicer) as address,
        Client(address, timeout=10.0, clock=clock, sleep=clock.sleep) as client,
        pytest.raises(GantryError),
    ):
        client.sample("m")
    assert clock.slept == [6.0]


def test_what_no_retry_can_help_is_not_tried_again() -> None:
    clock, servicer = Clock(), RefusingServicer([UnknownModelError("no m")])
    with (
        listening(servicer) as address,
        Client(address, clock=clock, sleep=clock.sleep) as client,
        pytest.raises(GantryError, match="NOT_FOUND: no m"),
    ):
        client.sample("m")
    assert servicer.calls == 1


def test_a_caller_may_want_a_single_attempt() -> None:
    error = GantryError(grpc.StatusCode.UNAVAILABLE, "down", retry_seconds=0.5)
    assert pause_before_retry(error, 1, math.inf, most=1) is None
    assert pause_before_retry(error, 1, math.inf, most=2) == 0.5
