"""What is measured: the gateway on either backend, and TorchServe called directly, all serving the same archive."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from gantry.v1 import generation_pb2, generation_pb2_grpc, worker_pb2
from services.backends.torchserve.process import TorchServeProcess
from services.client.local_gateway import running_gateway
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc

EMBEDDED, TORCHSERVE, DIRECT = "gateway + embedded", "gateway + TorchServe", "TorchServe direct"
CLASSES = 10


@dataclass(frozen=True)
class Target:
    """Something that makes images.

    Attributes:
        name: As in the report.
        request: Makes `images` images, the first with `seed`; raises where one is missing.
    """

    name: str
    request: Callable[[int, int], Awaitable[None]]


@asynccontextmanager
async def gateway(name: str, model: str, log: Path, *arguments: str) -> AsyncIterator[Target]:
    """Run `gantry serve` as a process of its own.

    Args:
        name: Name of the target.
        model: The model to sample.
        log: File for what the process says.
        *arguments: Further arguments of `gantry serve`.

    Yields:
        The target.
    """
    with running_gateway(log, *arguments) as started:
        async with grpc.aio.insecure_channel(started.address) as channel:
            yield Target(name, _gateway_request(generation_pb2_grpc.GenerationServiceStub(channel), model))


@asynccontextmanager
async def direct(server: TorchServeProcess, model: str) -> AsyncIterator[Target]:
    """Call TorchServe without a gateway: one image per call, as its own clients do.

    Args:
        server: A started TorchServe.
        model: The model to sample.

    Yields:
        The target.
    """
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield Target(DIRECT, _direct_request(inference_pb2_grpc.InferenceAPIsServiceStub(channel), model))


def _gateway_request(
    stub: "generation_pb2_grpc.GenerationServiceAsyncStub", model: str
) -> Callable[[int, int], Awaitable[None]]:
    async def request(images: int, seed: int) -> None:
        asked = generation_pb2.SampleRequest(model=model, label_ids=[seed % CLASSES], count=images, seed=seed)
        answer = await stub.Sample(asked)
        if len(answer.images) != images:
            raise RuntimeError(f"{images} images were asked for and {len(answer.images)} came")

    return request


def _direct_request(
    stub: "inference_pb2_grpc.InferenceAPIsServiceAsyncStub", model: str
) -> Callable[[int, int], Awaitable[None]]:
    async def request(images: int, seed: int) -> None:
        for offset in range(images):
            one_hot = [float(label == seed % CLASSES) for label in range(CLASSES)]
            work = worker_pb2.GenerateWork(seed=seed + offset, condition=one_hot, truncation=1.0)
            item = worker_pb2.WorkItem(generate=work, format=generation_pb2.IMAGE_FORMAT_PNG)
            envelope = worker_pb2.WorkRequest(items=[item]).SerializeToString()
            answer = await stub.Predictions(
                inference_pb2.PredictionsRequest(model_name=model, input={ENVELOPE_FIELD: envelope})
            )
            if worker_pb2.WorkReply.FromString(answer.prediction).results[0].error:
                raise RuntimeError("an image was asked for and an error came")

    return request
