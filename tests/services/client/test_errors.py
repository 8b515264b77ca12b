"""Errors whose details cannot be trusted; those of the gateway are read in test_client.py and test_retry.py."""

import grpc
import pytest
from google.rpc import status_pb2

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.client import Client, GantryError
from services.client.errors import read_error
from tests.services.client.refusing import listening


class ContradictingServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Sends details of another status than the call's own, as a proxy that changes a status does."""

    def Sample(  # noqa: N802
        self, request: generation_pb2.SampleRequest, context: grpc.ServicerContext
    ) -> generation_pb2.SampleResponse:
        details = status_pb2.Status(code=5, message="other").SerializeToString()
        context.set_trailing_metadata([("grpc-status-details-bin", details)])
        context.abort(grpc.StatusCode.UNAVAILABLE, "proxy")
        raise AssertionError


def test_details_that_contradict_the_status_are_left_alone() -> None:
    with (
        listening(ContradictingServicer()) as address,
        Client(address) as client,
        pytest.raises(GantryError, match=r"^UNAVAILABLE: proxy$") as caught,
    ):
        client.sample("m")
    assert (caught.value.reason, caught.value.retry_seconds, caught.value.field_violations) == (None, None, ())


@pytest.mark.parametrize(
    ("code", "cut_off", "told"),
    [
        (grpc.StatusCode.INTERNAL, "Internal error from Core", "internal error"),
        (grpc.StatusCode.CANCELLED, "CANCELLED", "the caller left"),
    ],
)
def test_a_call_that_was_cut_off_is_made_again(code: grpc.StatusCode, cut_off: str, told: str) -> None:
    """These are rare, so they are made by hand: a message crosses a refusal, or comes as the gateway's last."""
    none = grpc.aio.Metadata()
    error = read_error(grpc.aio.AioRpcError(code, none, none, details=cut_off))
    assert (error.code, error.retry_seconds) == (grpc.StatusCode.UNAVAILABLE, 0.1)
    real = read_error(grpc.aio.AioRpcError(code, none, none, details=told))
    assert (real.code, real.retry_seconds) == (code, None)
