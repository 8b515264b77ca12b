"""The table of errors: complete, and told to callers in a form that programs can read."""

import asyncio
import inspect
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.backends import base
from services.gateway import errors
from services.gateway.call import Call
from services.gateway.errors import (
    TABLE,
    InvalidRequestError,
    LimitError,
    MessageTooLargeError,
    QueueFullError,
    ShuttingDownError,
    TooExpensiveError,
    UnknownModelError,
    Violation,
    answered,
    status_of,
)
from services.worker.decoding import ImageTooLargeError

SPECIAL = InvalidRequestError, LimitError, QueueFullError


class AbortedCall:
    """The part of a call's context that errors use."""

    def code(self) -> int:
        return 0

    async def abort(self, code: grpc.StatusCode, message: str, trailing_metadata: Any) -> None:
        self.code, self.message = code, message
        assert trailing_metadata[0] == ("x-request-id", "r-1"), "what stood there before is kept"
        told = dict(trailing_metadata)
        self.status = status_pb2.Status.FromString(told["grpc-status-details-bin"])
        self.pushback = told.get("grpc-retry-pushback-ms")
        raise grpc.aio.AbortError


async def abort_with(error: BaseException) -> AbortedCall:
    call = AbortedCall()
    Call.begin("Sample", [("x-request-id", "r-1")])
    with pytest.raises(grpc.aio.AbortError):
        async with answered(call):
            raise error
    return call


def details(status: status_pb2.Status) -> dict[str, Message]:
    known = (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest)
    found = {}
    for packed in status.details:
        for kind in known:
            if packed.Is(kind.DESCRIPTOR):
                found[kind.__name__] = kind.FromString(packed.value)
    assert len(found) == len(status.details)
    return found


def test_every_error_has_a_row() -> None:
    defined = {
        kind
        for module in (errors, base)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == module.__name__
    }
    # BackendError is what the others have in common, never raised itself.
    # The worker's errors come as texts, but for this one, which the gateway raises itself.
    assert set(TABLE) == (defined - {base.BackendError}) | {ImageTooLargeError}


def test_reasons_are_distinct_and_shaped_as_google_asks() -> None:
    reasons = [row.reason for row in TABLE.values()]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.replace("_", "").isalpha() and reason.isupper() for reason in reasons)


def test_unavailable_always_says_when_to_retry() -> None:
    retriable = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED}
    for kind, row in TABLE.items():
        # What is too large or too expensive stays so.
        is_too_much = kind in (ImageTooLargeError, MessageTooLargeError, TooExpensiveError)
        assert (row.code in retriable and not is_too_much) == (row.retry_seconds is not None)


async def test_violations_come_with_their_fields() -> None:
    call = await abort_with(InvalidRequestError(Violation("count", "too many"), Violation("grid.gap", "too wide")))
    assert call.code == grpc.StatusCode.INVALID_ARGUMENT
    assert call.message == call.status.message == "count: too many; grid.gap: too wide"
    told = details(call.status)
    assert told["ErrorInfo"] == error_details_pb2.ErrorInfo(reason="INVALID_REQUEST", domain="gantry")
    assert [(v.field, v.description) for v in told["BadRequest"].field_violations] == [
        ("count", "too many"),
        ("grid.gap", "too wide"),
    ]
    assert "RetryInfo" not in told


async def test_a_full_queue_says_when_to_retry() -> None:
    call = await abort_with(QueueFullError("full", retry_seconds=2.5))
    assert call.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert call.status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    told = details(call.status)
    assert told["ErrorInfo"].reason == "QUEUE_FULL"
    assert told["RetryInfo"].retry_delay.ToMilliseconds() == 2500
    assert call.pushback == "2500"


async def test_a_limit_says_when_to_retry_only_where_that_helps() -> None:
    told = details((await abort_with(LimitError("slow down", retry_seconds=0.5))).status)
    assert told["ErrorInfo"].reason == "CALLER_LIMIT"
    assert told["RetryInfo"].retry_delay.ToMilliseconds() == 500
    assert "RetryInfo" not in details((await abort_with(LimitError("too many", retry_seconds=None))).status)


@pytest.mark.parametrize("kind", [kind for kind in TABLE if kind not in SPECIAL])
async def test_an_error_gets_its_row(kind: type[Exception]) -> None:
    call = await abort_with(kind("what happened"))
    row = TABLE[kind]
    assert (call.code, call.message) == (row.code, "what happened")
    told = details(call.status)
    assert told["ErrorInfo"].reason == row.reason
    assert ("RetryInfo" in told) == (row.retry_seconds is not None) == (call.pushback is not None)


@pytest.mark.parametrize("error", [ZeroDivisionError("a secret"), KeyError("a secret"), base.BackendError("a secret")])
async def test_what_is_not_in_the_table_tells_nothing(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    call = await abort_with(error)
    assert (call.code, call.message) == (grpc.StatusCode.INTERNAL, "internal error")
    assert b"secret" not in call.status.SerializeToString()
    assert "a secret" in caplog.text


async def test_a_subclass_without_a_row_is_unexpected(caplog: pytest.LogCaptureFixture) -> None:
    class StrangerError(UnknownModelError):
        pass

    assert (await abort_with(StrangerError("x"))).code == grpc.StatusCode.INTERNAL


async def test_success_and_abort_pass_through() -> None:
    async with answered(AbortedCall()):
        pass
    with pytest.raises(grpc.aio.AbortError):
        async with answered(AbortedCall()):
            raise grpc.aio.AbortError


async def test_what_grpc_raises_of_a_caller_that_has_gone_is_left_to_grpc(caplog: pytest.LogCaptureFixture) -> None:
    call = Call.begin("Sample", None)
    with pytest.raises(grpc.aio.InternalError):
        async with answered(AbortedCall()):
            raise grpc.aio.InternalError
    assert (call.refused, caplog.records) == (0, [])


async def test_a_call_that_has_its_status_gets_no_other() -> None:
    class Refused(AbortedCall):
        def code(self) -> int:
            return 5

    call = Call.begin("Sample", None)
    with pytest.raises(asyncio.CancelledError):
        async with answered(Refused()):
            raise ShuttingDownError("bye")
    assert call.refused == 0


def test_a_status_carries_its_code_as_a_number() -> None:
    error = ShuttingDownError("bye")
    assert status_of(error).code == 14
