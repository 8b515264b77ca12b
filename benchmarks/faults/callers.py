"""Calls as a stock gRPC client makes them, to the gateway and to TorchServe."""

from collections.abc import Awaitable, Callable
from io import BytesIO

import grpc
import numpy as np
from PIL import Image

from gantry.v1 import generation_pb2, generation_pb2_grpc, worker_pb2
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc

CLASSES = 10
_MAX_PIXELS = 1 << 22

Call = Callable[[float], Awaitable[None]]
"""Makes one call with a deadline in seconds; raises `grpc.aio.AioRpcError` where it fails."""


def noise(side: int, file_format: str = "PNG", seed: int = 0) -> bytes:
    """A square picture of noise, as a file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def generation(channel: grpc.aio.Channel) -> "generation_pb2_grpc.GenerationServiceAsyncStub":
    """The stub of Gantry's GenerationService."""
    stub: generation_pb2_grpc.GenerationServiceAsyncStub = generation_pb2_grpc.GenerationServiceStub(channel)
    return stub


def translating(channel: grpc.aio.Channel, model: str, side: int) -> Call:
    """Translate a picture of that side through the gateway, again and again."""
    stub, direction = generation(channel), generation_pb2.DIRECTION_A_TO_B
    asked = generation_pb2.TranslateRequest(model=model, direction=direction, image=noise(side))

    async def call(seconds: float) -> None:
        await stub.Translate(asked, timeout=seconds)

    return call


def directly_translating(channel: grpc.aio.Channel, model: str, side: int) -> Call:
    """Translate a picture of that side at TorchServe."""
    direction = generation_pb2.DIRECTION_A_TO_B
    work = worker_pb2.TranslateWork(image=noise(side), direction=direction, max_pixels=_MAX_PIXELS)
    item = worker_pb2.WorkItem(translate=work, format=generation_pb2.IMAGE_FORMAT_PNG)
    return _predicting(channel, model, item)


def directly_sampling(channel: grpc.aio.Channel, model: str, label: int = 1, seed: int = 0) -> Call:
    """Sample one picture at TorchServe."""
    one_hot = [float(label == other) for other in range(CLASSES)]
    work = worker_pb2.GenerateWork(seed=seed, condition=one_hot, truncation=1.0)
    item = worker_pb2.WorkItem(generate=work, format=generation_pb2.IMAGE_FORMAT_PNG)
    return _predicting(channel, model, item)


def _predicting(channel: grpc.aio.Channel, model: str, item: worker_pb2.WorkItem) -> Call:
    stub: inference_pb2_grpc.InferenceAPIsServiceAsyncStub = inference_pb2_grpc.InferenceAPIsServiceStub(channel)
    envelope = worker_pb2.WorkRequest(items=[item]).SerializeToString()
    asked = inference_pb2.PredictionsRequest(model_name=model, input={ENVELOPE_FIELD: envelope})

    async def call(seconds: float) -> None:
        answer = await stub.Predictions(asked, timeout=seconds)
        if not worker_pb2.WorkReply.FromString(answer.prediction).results[0].HasField("image"):
            raise RuntimeError("a picture was asked for and none came")

    return call
