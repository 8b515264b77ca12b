"""Calls as a stock gRPC client makes them, to the gateway and to TorchServe."""

import asyncio
import math
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from typing import Any, cast

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from gantry.v1 import generation_pb2, generation_pb2_grpc, worker_pb2
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc

CLASSES = 10
_MAX_PIXELS = 1 << 22
EVERY_SECONDS = 0.02
# TorchServe's workers load their models after it has started.
_START_SECONDS = 120.0

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
    return predicting(channel, model, item)


def directly_sampling(channel: grpc.aio.Channel, model: str, label: int = 1, seed: int = 0) -> Call:
    """Sample one picture at TorchServe."""
    one_hot = [float(label == other) for other in range(CLASSES)]
    work = worker_pb2.GenerateWork(seed=seed, condition=one_hot, truncation=1.0)
    item = worker_pb2.WorkItem(generate=work, format=generation_pb2.IMAGE_FORMAT_PNG)
    return predicting(channel, model, item)


def predicting(channel: grpc.aio.Channel, model: str, item: worker_pb2.WorkItem) -> Call:
    """Give TorchServe one item, again and again."""
    stub: inference_pb2_grpc.InferenceAPIsServiceAsyncStub = inference_pb2_grpc.InferenceAPIsServiceStub(channel)
    envelope = worker_pb2.WorkRequest(items=[item]).SerializeToString()
    asked = inference_pb2.PredictionsRequest(model_name=model, input={ENVELOPE_FIELD: envelope})

    async def call(seconds: float) -> None:
        answer = await stub.Predictions(asked, timeout=seconds)
        if not worker_pb2.WorkReply.FromString(answer.prediction).results[0].HasField("image"):
            raise RuntimeError("a picture was asked for and none came")

    return call


def sampling(channel: grpc.aio.Channel, model: str, count: int = 1, metadata: tuple[tuple[str, str], ...] = ()) -> Call:
    """Sample pictures of one class through the gateway, again and again."""
    stub, asked = generation(channel), generation_pb2.SampleRequest(model=model, label_ids=[1], count=count)

    async def call(seconds: float) -> None:
        answer = await stub.Sample(asked, timeout=seconds, metadata=metadata)
        if len(answer.images) != count:
            raise RuntimeError(f"{count} pictures were asked for and {len(answer.images)} came")

    return call


@dataclass
class Steady:
    """What became of calls that were begun one every so often.

    Attributes:
        seconds: How long each answer took.
        failures: How often each other status came.
    """

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        """The 99th percentile, in seconds; infinite where hardly any answer came."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[98] if len(self.seconds) > 1 else math.inf


async def median_seconds(call: Call) -> float:
    """How long a call takes alone, the median of many."""
    taken = []
    for _ in range(50):
        begun = time.perf_counter()
        await call(60.0)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[10:])


async def alone(call: Call, seconds: float) -> Steady:
    """Begin a call every 20 ms where nothing else is done, once the first are answered."""
    await call(_START_SECONDS)
    await steadily(call, 2.0)
    return await steadily(call, seconds)


async def steadily(call: Call, seconds: float, deadline: float = 5.0) -> Steady:
    """Begin a call every 20 ms for a while, whatever becomes of those before."""
    steady, running = Steady(), []

    async def one() -> None:
        begun = time.perf_counter()
        try:
            await call(deadline)
        except grpc.aio.AioRpcError as error:
            steady.failures[error.code().name] += 1
        else:
            steady.seconds.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    for number in range(round(seconds / EVERY_SECONDS)):
        await asyncio.sleep(begun + number * EVERY_SECONDS - time.perf_counter())
        running.append(asyncio.create_task(one()))
    await asyncio.gather(*running)
    return steady


def retry_seconds(error: grpc.aio.AioRpcError) -> float | None:
    """How long a refusal asks to wait; None where it does not say."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    return delay_in(status.details) if status else None


def delay_in(details: Iterable[Any]) -> float | None:
    """The delay of the RetryInfo among the details of an error; None where there is none."""
    info = error_details_pb2.RetryInfo()
    return next((info.retry_delay.ToTimedelta().total_seconds() for detail in details if detail.Unpack(info)), None)


@asynccontextmanager
async def child() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """A process of its own for callers; gives what calls a function there, and waits for what it returns."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        # Started, with what it imports, before anything is measured.
        await loop.run_in_executor(pool, noise, 16)
        yield partial(loop.run_in_executor, pool)
