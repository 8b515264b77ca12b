"""The row of starts: pauses grow, a long life begins it anew, and it has an end."""

from services.backends.restarts import PAUSES, STEADY_SECONDS, Restarts
from tests.services.gateway.fakes import Clock


def test_pauses_grow_until_it_is_given_up() -> None:
    restarts = Restarts(Clock())

    pauses = [restarts.next_pause() for _ in range(len(PAUSES) + 2)]

    assert pauses == [*PAUSES, None, None]
    assert pauses[0] == 0
    assert list(PAUSES) == sorted(set(PAUSES))


def test_a_short_life_goes_on_with_the_row_and_a_long_one_begins_it_anew() -> None:
    clock = Clock()
    restarts = Restarts(clock)
    assert restarts.next_pause() == PAUSES[0]
    restarts.note_start()
    clock.now += STEADY_SECONDS - 1
    assert restarts.next_pause() == PAUSES[1]
    restarts.note_start()
    clock.now += STEADY_SECONDS
    assert restarts.next_pause() == PAUSES[0]


def test_time_in_which_it_does_not_run_is_no_life() -> None:
    clock = Clock()
    restarts = Restarts(clock)
    assert restarts.next_pause() == PAUSES[0]
    clock.now += 10 * STEADY_SECONDS
    assert restarts.next_pause() == PAUSES[1]
