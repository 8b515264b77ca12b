"""What a refused call tells the caller, read out of the google.rpc details of its status."""

from typing import NamedTuple, cast

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class FieldViolation(NamedTuple):
    """One thing that is wrong with a request: the path of the field, and what is allowed."""

    field: str
    description: str


class GantryError(Exception):
    """A call that brought no picture.

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
        The same with its details unpacked.
    """
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    found = _unpack_details(error, info, retry, bad)
    return GantryError(
        error.code(),
        error.details() or "",
        reason=info.reason if info in found else None,
        field_violations=tuple(FieldViolation(one.field, one.description) for one in bad.field_violations),
        retry_seconds=retry.retry_delay.ToTimedelta().total_seconds() if retry in found else None,
    )


def _unpack_details(error: grpc.RpcError, *wanted: Message) -> list[Message]:
    """Fill those of the wanted messages that the error carries, and return them."""
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # Details that contradict the status: something between us and the gateway made them.
        return []
    details = status.details if status else ()
    return [message for message in wanted if any(detail.Unpack(message) for detail in details)]
