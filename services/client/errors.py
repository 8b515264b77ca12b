"""What a refused call or picture tells the caller, read out of the google.rpc details of its status."""

from collections.abc import Iterable
from typing import NamedTuple, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gantry.v1 import generation_pb2

# What gRPC says of a call that was cut off without the gateway's own status.
_CUT_OFF = (
    # grpc.aio, where the server ends a call while a message is on its way to it.
    (grpc.StatusCode.INTERNAL, "Internal error from Core"),
    # A server in its last moments, to a call that has just arrived.
    (grpc.StatusCode.CANCELLED, "CANCELLED"),
)
_CUT_OFF_RETRY_SECONDS = 0.1
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class FieldViolation(NamedTuple):
    """One thing that is wrong with a request: the path of the field, and what is allowed."""

    field: str
    description: str


class GantryError(Exception):
    """A call, or one picture of a call, that brought no picture.

    Attributes:
        code: The gRPC status code.
        message: What the gateway says, for a person.
        reason: The gateway's reason, for programs, for example "MODEL_NOT_FOUND". None where the gateway itself did
            not answer.
        field_violations: What is wrong with the request; empty unless the request is at fault.
        retry_seconds: After how many seconds a retry can help; None where none can.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str | None = None,
        field_violations: tuple[FieldViolation, ...] = (),
        retry_seconds: float | None = None,
    ) -> None:
        """Keep what the status said; see the attributes of the class."""
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.field_violations = field_violations
        self.retry_seconds = retry_seconds


def read_error(error: grpc.RpcError) -> GantryError:
    """Read the error of a call.

    Args:
        error: What a call of a stub raised.

    Returns:
        The same with its details unpacked; UNAVAILABLE, with a retry, where the call was cut off.
    """
    if (error.code(), error.details()) in _CUT_OFF:
        message = "the gateway ended the call without saying why"
        return GantryError(grpc.StatusCode.UNAVAILABLE, message, retry_seconds=_CUT_OFF_RETRY_SECONDS)
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # Details that contradict the status: something between us and the gateway made them.
        status = None
    return _read(error.code(), error.details() or "", status.details if status else ())


def read_item_error(error: generation_pb2.ItemError) -> GantryError:
    """Read the error of one picture of a stream.

    Args:
        error: What the gateway answered instead of a picture.

    Returns:
        The same with its details unpacked.
    """
    return _read(_CODES.get(error.code, grpc.StatusCode.UNKNOWN), error.message, error.details)


def _read(code: grpc.StatusCode, message: str, details: Iterable[AnyMessage]) -> GantryError:
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    found = [one for detail in details for one in (info, retry, bad) if detail.Unpack(one)]
    return GantryError(
        code,
        message,
        reason=info.reason if info in found else None,
        field_violations=tuple(FieldViolation(one.field, one.description) for one in bad.field_violations),
        retry_seconds=retry.retry_delay.ToTimedelta().total_seconds() if retry in found else None,
    )
