"""Calls that are tried again until the gateway has an answer, on a clock of its own."""

import grpc
import pytest

from services.batch.calling import JobCalls
from services.batch.faults import JobError, StoppedError
from services.batch.window import Window
from services.client import GantryError
from tests.services.batch.test_window import Clock

FULL = GantryError(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", reason="QUEUE_FULL", retry_seconds=2.0)
GONE = GantryError(grpc.StatusCode.UNAVAILABLE, "connection refused")
DRAINING = GantryError(grpc.StatusCode.UNAVAILABLE, "stopping", reason="SHUTTING_DOWN", retry_seconds=1.0)
BAD = GantryError(grpc.StatusCode.INVALID_ARGUMENT, "no picture", reason="INVALID_REQUEST")
LARGE = GantryError(grpc.StatusCode.RESOURCE_EXHAUSTED, "large", reason="IMAGE_TOO_LARGE")
BROKEN = GantryError(grpc.StatusCode.INTERNAL, "RST_STREAM")
FAILED = GantryError(grpc.StatusCode.INTERNAL, "the model failed", reason="ITEM_FAILED")


class Gateway:
    """Answers with each error in turn, then with a word."""

    def __init__(self, *errors: GantryError) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "made"


def caller_of(patience: float = 300.0) -> tuple[JobCalls, Window, Clock]:
    clock = Clock()
    window = Window(8, clock=clock, sleep=clock.sleep)
    return JobCalls(window, patience=patience, clock=clock), window, clock


async def test_an_answer_is_handed_on_with_its_time() -> None:
    caller, _, clock = caller_of()

    async def call() -> str:
        await clock.sleep(0.25)
        return "made"

    assert await caller(call) == ("made", 250.0)


async def test_a_full_queue_never_fails_an_item() -> None:
    caller, window, clock = caller_of(patience=10.0)
    gateway = Gateway(*[FULL] * 50)
    assert (await caller(gateway))[0] == "made"
    assert clock.now == 100.0  # Far beyond the patience: a gateway that is full is there.
    assert (gateway.calls, window.limit) == (51, 2)


@pytest.mark.parametrize("error", [GONE, DRAINING, BROKEN])
async def test_an_outage_is_waited_out(error: GantryError) -> None:
    caller, _, clock = caller_of()
    assert (await caller(Gateway(*[error] * 5)))[0] == "made"
    assert 4 <= clock.now < 30


async def test_an_outage_of_hours_is_waited_out_too() -> None:
    caller, _, clock = caller_of(patience=86_400.0)
    assert (await caller(Gateway(*[GONE] * 2000)))[0] == "made"
    assert 15_900 < clock.now < 16_000  # Eight seconds at most between two attempts.


async def test_an_outage_without_an_end_is_the_job_s_fault() -> None:
    caller, _, clock = caller_of(patience=60.0)
    with pytest.raises(JobError, match="has not answered for"):
        await caller(Gateway(*[GONE] * 1000))
    assert 60 <= clock.now < 70


async def test_patience_begins_anew_after_an_answer() -> None:
    caller, _, clock = caller_of(patience=20.0)
    for _ in range(5):
        assert (await caller(Gateway(*[GONE] * 5)))[0] == "made"
    assert clock.now > 20


@pytest.mark.parametrize("error", [BAD, LARGE, FAILED])
async def test_what_is_said_of_the_item_is_handed_on(error: GantryError) -> None:
    caller, window, _ = caller_of()
    with pytest.raises(GantryError) as caught:
        await caller(Gateway(error))
    assert caught.value is error
    assert window.limit == 8


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND]
)
async def test_what_is_true_of_every_item_ends_the_job(code: grpc.StatusCode) -> None:
    caller, _, _ = caller_of()
    with pytest.raises(JobError, match="refuses the job"):
        await caller(Gateway(GantryError(code, "no", reason="WHATEVER")))


async def test_nothing_is_begun_after_a_stop() -> None:
    caller, _, _ = caller_of()
    caller.stop()
    gateway = Gateway()
    with pytest.raises(StoppedError):
        await caller(gateway)
    assert gateway.calls == 0


async def test_an_outage_is_told_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    caller, _, _ = caller_of()
    await caller(Gateway(*[GONE] * 3))
    (told,) = caplog.messages
    assert "does not answer; trying for 300 s" in told
    assert "connection refused" in told
