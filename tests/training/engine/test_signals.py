"""A signal is a wish between steps, and an exception where a step takes minutes."""

import os
import signal

import pytest

from training.engine.signals import Interrupted, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requests() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        assert signal.getsignal(number) is before, "a second one kills as usual"
    assert signal.getsignal(number) is before


def test_it_raises_at_once_where_it_must() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def compile_and_be_stopped() -> None:
        with stop_requests() as stop:
            stop.at_once = True
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped while compiling"):
        compile_and_be_stopped()
    assert signal.getsignal(signal.SIGTERM) is before
