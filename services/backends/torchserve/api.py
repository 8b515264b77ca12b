"""A TorchServe over its two gRPC APIs: one envelope a call, and what its answers mean.

TorchServe's status codes say little: a handler that raised is UNAVAILABLE, a worker that died INTERNAL. This file makes
of them what the rest of the gateway can rely on.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.message import DecodeError

from gantry.v1 import worker_pb2
from services.backends.base import (
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    ModelKey,
)
from services.backends.torchserve.parts import OVERHEAD_BYTES
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc, management_pb2, management_pb2_grpc

# What a TorchServe takes and gives unless its settings say otherwise; it kills a worker that answers with more.
DEFAULT_MESSAGE_BYTES = 6_553_500
# The same for a TorchServe of the gateway's own.
OWN_MESSAGE_BYTES = 64 << 20
# How long calls under way have to fail by themselves when the connection is closed.
_CLOSE_SECONDS = 1.0
_PAGE_MODELS = 100
_CLOSED = "the connection to TorchServe was closed"

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", OWN_MESSAGE_BYTES),
    # TorchServe hangs up on clients that ask whether it is alive more often than every five minutes.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Where its name stands for several, every one gets calls.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


class WorkerDiedError(BackendError):
    """The worker died with the envelope."""


class ModelUnknownError(BackendError):
    """TorchServe does not have the model, or not in this version."""


@dataclass(frozen=True)
class Registered:
    """What TorchServe tells of a model that it has.

    Attributes:
        startup_seconds: What its workers are given to load it.
        workers: How many it is to have.
        ready: How many of them have loaded it.
    """

    startup_seconds: float
    workers: int
    ready: int


class TorchServeApi:
    """A connection to a TorchServe that runs."""

    def __init__(self, address: str, management_address: str, message_bytes: int) -> None:
        """Open the connection, which the first call makes.

        Args:
            address: host:port of its gRPC inference API.
            management_address: host:port of its gRPC management API.
            message_bytes: The most bytes that it takes and gives.
        """
        self.message_bytes = message_bytes
        self._management_address = management_address
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub = inference_pb2_grpc.InferenceAPIsServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(_CLOSE_SECONDS)

    async def call(
        self, key: ModelKey, request: worker_pb2.WorkRequest, timeout: float | None, *, wait_for_ready: bool = False
    ) -> worker_pb2.WorkReply:
        """Send an envelope to a model.

        Args:
            key: The model; its newest version where that is empty.
            request: The envelope.
            timeout: Seconds after which the answer is not awaited any more; None for no limit.
            wait_for_ready: Whether to wait for a TorchServe that cannot be reached yet.

        Returns:
            What the worker answered.

        Raises:
            BackendError: There was no answer; see `error_of`. BackendUnavailableError where the connection was closed.
        """
        envelope = request.SerializeToString()
        if len(envelope) > self.message_bytes - OVERHEAD_BYTES:
            raise BackendFailedError(f"the envelope has {len(envelope)} bytes, TorchServe takes {self.message_bytes}")
        call = inference_pb2.PredictionsRequest(
            model_name=key.name, model_version=key.version, input={ENVELOPE_FIELD: envelope}
        )
        try:
            response = await self._stub.Predictions(call, timeout=timeout, wait_for_ready=wait_for_ready)
            return worker_pb2.WorkReply.FromString(response.prediction)
        except grpc.aio.AioRpcError as error:
            raise error_of(error.code(), error.details() or "") from error
        except DecodeError as error:
            raise BackendFailedError("the worker's answer is not an envelope") from error
        except grpc.aio.UsageError as error:
            raise BackendUnavailableError(_CLOSED) from error
        except asyncio.CancelledError as error:
            if _caller_is_cancelled():
                raise
            raise BackendUnavailableError(_CLOSED) from error

    async def ping(self, timeout: float) -> bool:
        """Return whether the frontend answers at all.

        Args:
            timeout: The most seconds that it may take.
        """
        try:
            await self._stub.Ping(empty_pb2.Empty(), timeout=timeout)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError):
            return False
        except asyncio.CancelledError:
            if _caller_is_cancelled():
                raise
            return False
        return True

    async def list_registered(self, timeout: float, *, wait_for_ready: bool = False) -> dict[ModelKey, Registered]:
        """Ask which models TorchServe has, every version of each.

        Args:
            timeout: Seconds that each of its answers may take.
            wait_for_ready: Whether to wait for a TorchServe that cannot be reached yet.

        Raises:
            BackendUnavailableError: Its management API did not answer; the message says what to check.
        """
        options = (("grpc.max_receive_message_length", OWN_MESSAGE_BYTES),)
        async with grpc.aio.insecure_channel(self._management_address, options=options) as channel:
            management = management_pb2_grpc.ManagementAPIsServiceStub(channel)
            registered: dict[ModelKey, Registered] = {}
            try:
                for name in await _list_names(management, timeout, wait_for_ready=wait_for_ready):
                    every_version = management_pb2.DescribeModelRequest(model_name=name, model_version="all")
                    told = await management.DescribeModel(every_version, timeout=timeout)
                    for model in json.loads(told.msg):
                        registered[ModelKey(name, model["modelVersion"])] = _read_description(model)
            except grpc.aio.AioRpcError as error:
                raise BackendUnavailableError(
                    f"TorchServe's gRPC management API at {self._management_address} did not answer "
                    f"({error.code().name}); check that TorchServe runs, that this is its grpc_management_port, and "
                    "that it runs with disable_token_authorization=true"
                ) from error
            return registered


def _caller_is_cancelled() -> bool:
    """Return whether it is who waits that was cancelled, and not the call, as where the channel is closed."""
    caller = asyncio.current_task()
    return caller is not None and caller.cancelling() > 0


async def _list_names(
    management: "management_pb2_grpc.ManagementAPIsServiceAsyncStub", timeout: float, *, wait_for_ready: bool
) -> list[str]:
    names: list[str] = []
    page = 0
    while True:
        request = management_pb2.ListModelsRequest(limit=_PAGE_MODELS, next_page_token=page)
        told = json.loads((await management.ListModels(request, timeout=timeout, wait_for_ready=wait_for_ready)).msg)
        names += [model["modelName"] for model in told["models"]]
        if "nextPageToken" not in told:
            return names
        page = int(told["nextPageToken"])


def _read_description(model: dict[str, Any]) -> Registered:
    return Registered(
        startup_seconds=float(model["startupTimeout"]),
        workers=int(model["minWorkers"]),
        ready=sum(worker["status"] == "READY" for worker in model["workers"]),
    )


def error_of(code: grpc.StatusCode, details: str) -> BackendError:
    """Turn the status of a failed Predictions call into the error that it means.

    Args:
        code: The status code.
        details: Its text. Nothing of it is passed on: it may hold Java class names and a caller's data.

    Returns:
        The error.
    """
    if details.startswith("Worker died."):
        return WorkerDiedError("the worker died")
    if details.startswith(("Model not found: ", "Model version: ")):
        return ModelUnknownError("TorchServe does not have the model")
    if "no worker to serve inference request" in details:
        return BackendUnavailableError("TorchServe has no worker with room for the envelope")
    match code:
        case grpc.StatusCode.UNAVAILABLE if "Prediction failed" not in details:
            return BackendUnavailableError("TorchServe cannot be reached")
        case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNAUTHENTICATED:
            return BackendUnavailableError("TorchServe asks for a token; run it with disable_token_authorization=true")
        case grpc.StatusCode.CANCELLED:
            return BackendFailedError("TorchServe refused the envelope; it may be over its max_request_size")
        case _:
            return BackendFailedError("the worker failed on the envelope")
