"""A model that keeps losing workers is set aside for ever longer, and an answer makes it well."""

import pytest

from services.backends.base import BackendUnavailableError, ModelKey
from services.backends.embedded.quarantine import ASIDE_SECONDS, DESERTED_SHARE, LOSSES_IN_A_ROW, Quarantine
from tests.services.gateway.fakes import Clock

KEY, OTHER = ModelKey("ill", "1.0.0"), ModelKey("well", "1.0.0")


def test_first_losses_are_borne() -> None:
    quarantine = Quarantine(Clock())
    assert [quarantine.note_loss(KEY) for _ in range(LOSSES_IN_A_ROW - 1)] == [0.0] * (LOSSES_IN_A_ROW - 1)
    quarantine.check(KEY)


def test_model_is_set_aside_until_its_pause_is_over_and_the_others_serve_on() -> None:
    clock = Clock()
    quarantine = Quarantine(clock)
    for _ in range(LOSSES_IN_A_ROW):
        pause = quarantine.note_loss(KEY)
    with pytest.raises(BackendUnavailableError, match="model ill is set aside: it lost 3 workers in a row") as refused:
        quarantine.check(KEY)
    assert refused.value.retry_seconds == pause == ASIDE_SECONDS[0]
    quarantine.check(OTHER)
    clock.now += pause
    quarantine.check(KEY)


def test_pauses_grow_to_a_longest_one() -> None:
    quarantine = Quarantine(Clock())
    pauses = [quarantine.note_loss(KEY) for _ in range(LOSSES_IN_A_ROW + len(ASIDE_SECONDS) + 1)]
    assert pauses[LOSSES_IN_A_ROW - 1 :] == [*ASIDE_SECONDS, ASIDE_SECONDS[-1], ASIDE_SECONDS[-1]]


def test_answer_begins_the_row_anew() -> None:
    quarantine = Quarantine(Clock())
    for _ in range(LOSSES_IN_A_ROW):
        quarantine.note_loss(KEY)
    quarantine.note_answer(KEY)
    quarantine.check(KEY)
    assert quarantine.note_loss(KEY) == 0.0


def test_workers_that_were_deserted_count_little_but_count() -> None:
    quarantine = Quarantine(Clock())
    pauses = [quarantine.note_loss(KEY, DESERTED_SHARE) for _ in range(24)]
    assert pauses == [0.0] * 23 + [ASIDE_SECONDS[0]]
    with pytest.raises(BackendUnavailableError, match="lost 24 workers in a row"):
        quarantine.check(KEY)
    quarantine.note_answer(KEY)
    assert quarantine.note_loss(KEY, DESERTED_SHARE) == 0.0
