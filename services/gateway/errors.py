"""One table: domain error → gRPC code, reason, whether a retry can help. Every refusal a caller sees comes from here.

A status carries google.rpc.ErrorInfo (domain "gantry", the reason), RetryInfo where a retry can help, and BadRequest
with field paths where the request is at fault (https://google.aip.dev/193). What is not in the table is answered as
INTERNAL without a word of its message, and logged.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.backends.base import BackendFailedError, BackendUnavailableError, WorkerLostError
from services.gateway.call import at_end_of_call, current_call
from services.worker.decoding import ImageTooLargeError

DOMAIN = "gantry"
_PUSHBACK = "grpc-retry-pushback-ms"

_log = logging.getLogger(__name__)


class Violation(NamedTuple):
    """One thing that is wrong with a request."""

    field: str
    description: str


class InvalidRequestError(Exception):
    """The request is at fault."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{field}: {description}" for field, description in violations))
        self.violations: Sequence[Violation] = violations


class MessageTooLargeError(Exception):
    """A message has more bytes than are allowed."""


class UnknownModelError(Exception):
    """No such model is loaded; the message names those that are."""


class UnauthenticatedError(Exception):
    """It is not known who calls; the message is one of a few fixed texts and says nothing of what was sent."""


class ModelForbiddenError(Exception):
    """The caller may not use the model, whether or not there is one of that name."""


class QueueFullError(Exception):
    """The model's queue has no room."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class LimitError(Exception):
    """The caller has reached a limit of its own; without `retry_seconds` waiting does not help."""

    def __init__(self, message: str, retry_seconds: float | None) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class TooExpensiveError(Exception):
    """The request would take longer than it may; waiting does not help."""


class BudgetError(Exception):
    """The process has no memory left for what the caller sends or asks for."""


class TooManyCallsError(Exception):
    """The process serves as many calls as it may."""


class StreamIdleError(Exception):
    """The caller neither sends what the call waits for nor reads what it has for the caller."""


class DeadlineError(Exception):
    """The caller's deadline passed before its picture was made."""


class ItemFailedError(Exception):
    """The worker could not make one of the pictures."""


class ShuttingDownError(Exception):
    """The gateway is stopping and takes no new work."""


@dataclass(frozen=True)
class _Row:
    code: grpc.StatusCode
    reason: str
    retry_seconds: float | None = None


# The seconds are a first guess for callers; an error that knows better carries `retry_seconds` of its own.
TABLE: dict[type[Exception], _Row] = {
    InvalidRequestError: _Row(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    UnknownModelError: _Row(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    UnauthenticatedError: _Row(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    ModelForbiddenError: _Row(grpc.StatusCode.PERMISSION_DENIED, "MODEL_NOT_ALLOWED"),
    MessageTooLargeError: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    ImageTooLargeError: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "IMAGE_TOO_LARGE"),
    QueueFullError: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 1.0),
    TooExpensiveError: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_EXPENSIVE"),
    LimitError: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_LIMIT", 1.0),
    BudgetError: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "MEMORY_FULL", 1.0),
    TooManyCallsError: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", 1.0),
    StreamIdleError: _Row(grpc.StatusCode.ABORTED, "STREAM_IDLE", 1.0),
    DeadlineError: _Row(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED"),
    ShuttingDownError: _Row(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", 1.0),
    ItemFailedError: _Row(grpc.StatusCode.INTERNAL, "ITEM_FAILED"),
    BackendUnavailableError: _Row(grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE", 2.0),
    WorkerLostError: _Row(grpc.StatusCode.UNAVAILABLE, "WORKER_LOST", 1.0),
    BackendFailedError: _Row(grpc.StatusCode.INTERNAL, "BACKEND_FAILED"),
}
_UNEXPECTED = _Row(grpc.StatusCode.INTERNAL, "INTERNAL")


@asynccontextmanager
async def answered(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Turn any domain error of the block into the status that the table gives it.

    Args:
        context: The call that the block serves.
    """
    try:
        yield
    except (grpc.aio.AbortError, grpc.aio.InternalError):
        # It has its status, or nobody is there to get one: grpc knows, and logs what is left to be logged.
        raise
    except Exception as error:
        if context.code():
            # Refused already, and ended meanwhile by something else, as by the end of a drain.
            raise asyncio.CancelledError from error
        status = status_of(error)
        details = (
            *current_call().trailing_metadata(),
            *_pushback(error),
            ("grpc-status-details-bin", status.SerializeToString()),
        )
        try:
            await context.abort(_row_of(error).code, status.message, trailing_metadata=details)
        except grpc.aio.AbortError as aborted:
            at_end_of_call(partial(_forget_frames, aborted))
            raise


def _forget_frames(aborted: Exception) -> None:
    """Let go of a call's messages: grpc keeps an aborted call's exception with it, whose frames keep the call.

    Only Python's collector finds such a ring, and that is seldom: beside 1,024 uploads of 4 MB the process took a
    gigabyte more.
    """
    for error in (aborted, aborted.__context__):
        if error:
            error.__traceback__ = None
    aborted.__context__ = None


def status_of(error: Exception) -> status_pb2.Status:
    """Build the rich status of an error, note the refusal, and log the error where the table does not know it.

    Args:
        error: What was raised.

    Returns:
        A status with ErrorInfo and, where they apply, RetryInfo and BadRequest.
    """
    row = _row_of(error)
    current_call().note_refusal(row.reason)
    if row is _UNEXPECTED:
        _log.error("unexpected error in a call", exc_info=error)
    message = "internal error" if row is _UNEXPECTED else str(error)
    status = status_pb2.Status(code=code_pb2.Code.Value(row.code.name), message=message)
    for detail in _details(error, row):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _row_of(error: Exception) -> _Row:
    return TABLE.get(type(error), _UNEXPECTED)


def _retry_seconds(error: Exception) -> float | None:
    seconds: float | None = getattr(error, "retry_seconds", _row_of(error).retry_seconds)
    return seconds


def _pushback(error: Exception) -> tuple[tuple[str, str], ...]:
    """Say RetryInfo once more, as gRPC's own retry policies read it."""
    seconds = _retry_seconds(error)
    return () if seconds is None else ((_PUSHBACK, str(round(seconds * 1000))),)


def _details(error: Exception, row: _Row) -> Iterator[Message]:
    yield error_details_pb2.ErrorInfo(reason=row.reason, domain=DOMAIN)
    retry_seconds = _retry_seconds(error)
    if retry_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(retry_seconds * 1000))
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if isinstance(error, InvalidRequestError):
        yield error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
                for field, description in error.violations
            ]
        )
