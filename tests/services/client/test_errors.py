"""Errors whose details cannot be trusted; those of the gateway are read in test_client.py and test_retry.py."""

import grpc
import pytest
from google.rpc import status_pb2

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.client import Client, GantryError
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
