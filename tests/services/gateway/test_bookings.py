"""Room is kept for who was asked to come back: until they come, or are late; and as much as is used."""

import math

import pytest

from services.gateway.bookings import Bookings, Experience


def test_who_comes_when_asked_is_expected_once() -> None:
    bookings = Bookings(Experience(1.0))
    bookings.add(now=0.0, due=1.0, seconds=0.5)
    assert not bookings.use(0.9)
    assert bookings.use(1.0)
    assert not bookings.use(1.0)
    assert not bookings


def test_another_connection_of_the_caller_takes_only_what_its_own_has_not_come_for() -> None:
    bookings = Bookings(Experience(1.0))
    bookings.add(now=0.0, due=1.0, seconds=0.5, connection="ipv4:10.0.0.7:50001")
    assert not bookings.use(1.01, "ipv4:10.0.0.7:50002")
    assert bookings.use(1.02, "ipv4:10.0.0.7:50001")
    bookings.add(now=2.0, due=3.0, seconds=0.5, connection="ipv4:10.0.0.7:50001")
    assert bookings.use(3.1, "ipv4:10.0.0.7:50002")


def test_room_is_kept_for_those_who_are_due_by_a_time() -> None:
    bookings = Bookings(Experience(1.0))
    for due in (3.0, 1.0, 2.0):
        bookings.add(now=0.0, due=due, seconds=0.5)
    assert [bookings.seconds(0.0, until) for until in (0.9, 1.0, 2.5, math.inf)] == [0.0, 0.5, 1.0, 1.5]


def test_who_is_late_is_not_waited_for_and_less_is_kept_for_the_next() -> None:
    bookings = Bookings(Experience(1.0))
    bookings.add(now=0.0, due=1.0, seconds=0.5)
    assert bookings.use(1.3)
    bookings.add(now=0.0, due=1.0, seconds=0.5)
    assert not bookings.use(1.4)
    bookings.add(now=2.0, due=3.0, seconds=0.5)
    assert 0.0 < bookings.seconds(2.0, 3.0) < 0.5


def test_nothing_is_kept_in_the_end_for_who_never_comes_and_again_for_who_does() -> None:
    bookings = Bookings(Experience(1.0))
    for second in range(100):
        bookings.add(now=second, due=second + 0.1, seconds=1.0)
    assert bookings.seconds(1000.0, math.inf) == 0.0
    assert bookings.used_share < 0.01
    for second in range(100):
        bookings.add(now=second, due=second + 0.1, seconds=1.0)
        assert bookings.use(second + 0.1)
    assert bookings.used_share == pytest.approx(1.0, abs=0.01)
