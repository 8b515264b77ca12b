"""The translation benchmark: a 256x256 picture through the gateway, through TorchServe, and in a bare Python loop.

The bare loop is what anybody would write first: the archive's own graph, eager, in float32, on all cores, without
decoding or encoding anything.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.load import Load
from benchmarks.targets import DIRECT, EMBEDDED, Target
from gantry.v1 import generation_pb2, generation_pb2_grpc, worker_pb2
from services.backends.torchserve.process import TorchServeProcess
from services.client import Client
from services.client.demo_pictures import demo_pictures
from services.client.local_gateway import running_gateway
from services.worker.archive import open_archive
from services.worker.graph import load_graph
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc

BARE = "bare loop, eager float32"
LOADS = {EMBEDDED: Load(8, 1), DIRECT: Load(8, 1), BARE: Load(1, 1)}
"""How each target is pressed; the bare loop has the machine to itself."""

_PICTURES = 5
_MAX_PIXELS = 1 << 22


@dataclass(frozen=True)
class Agreement:
    """How the gateway's pictures differ from those of the bare loop.

    Attributes:
        execution: The plan that the gateway names.
        difference: Mean absolute difference, in levels of 0 to 255.
        pictures: How many were compared.
    """

    execution: str
    difference: float
    pictures: int


class BareLoop:
    """The archive's graph from domain A to B, as torch loads it."""

    def __init__(self, archive: Path) -> None:
        """Load the graph.

        Args:
            archive: Of a translation model.
        """
        self._graph = load_graph(open_archive(archive).graphs["a_to_b.pt2"])

    def translate(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Translate one picture whose sides the graph can take; uint8 [height, width, 3]."""
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            made = self._graph(pixels / 127.5 - 1)[0]
        translated: NDArray[np.uint8] = ((made + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        return translated

    def target(self, picture: Image.Image) -> Target:
        """The loop as something that can be pressed."""

        async def request(_images: int, _seed: int) -> None:
            await asyncio.to_thread(self.translate, picture)

        return Target(BARE, request)


@asynccontextmanager
async def translating_gateway(
    model: str, log: Path, picture: bytes, *arguments: str
) -> AsyncIterator[tuple[Target, str]]:
    """Run `gantry serve` as a process of its own.

    Args:
        model: The translation model.
        log: File for what the process says.
        picture: What is translated again and again, as a file.
        *arguments: Further arguments of `gantry serve`.

    Yields:
        The target, and its address.
    """
    asked = generation_pb2.TranslateRequest(model=model, direction=generation_pb2.DIRECTION_A_TO_B, image=picture)
    with running_gateway(log, *arguments) as gateway:
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            stub: generation_pb2_grpc.GenerationServiceAsyncStub = generation_pb2_grpc.GenerationServiceStub(channel)

            async def request(_images: int, _seed: int) -> None:
                await stub.Translate(asked)

            yield Target(EMBEDDED, request), gateway.address


@asynccontextmanager
async def direct_translation(server: TorchServeProcess, model: str, picture: bytes) -> AsyncIterator[Target]:
    """Call TorchServe without a gateway: one picture per call.

    Args:
        server: A started TorchServe.
        model: The translation model.
        picture: What is translated again and again, as a file.

    Yields:
        The target.
    """
    work = worker_pb2.TranslateWork(image=picture, direction=generation_pb2.DIRECTION_A_TO_B, max_pixels=_MAX_PIXELS)
    item = worker_pb2.WorkItem(translate=work, format=generation_pb2.IMAGE_FORMAT_PNG)
    envelope = worker_pb2.WorkRequest(items=[item]).SerializeToString()
    asked = inference_pb2.PredictionsRequest(model_name=model, input={ENVELOPE_FIELD: envelope})
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield Target(DIRECT, _predicting(inference_pb2_grpc.InferenceAPIsServiceStub(channel), asked))


def _predicting(
    stub: "inference_pb2_grpc.InferenceAPIsServiceAsyncStub", asked: inference_pb2.PredictionsRequest
) -> Callable[[int, int], Awaitable[None]]:
    async def request(_images: int, _seed: int) -> None:
        answer = await stub.Predictions(asked)
        if not worker_pb2.WorkReply.FromString(answer.prediction).results[0].HasField("image"):
            raise RuntimeError("a picture was asked for and none came")

    return request


def pictures() -> list[Image.Image]:
    """The pictures of domain A that are compared; the first is the one that is pressed."""
    return demo_pictures(_PICTURES)[0]


def as_png(picture: Image.Image) -> bytes:
    """The picture as a file."""
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def compare(address: str, model: str, bare: BareLoop) -> Agreement:
    """See how far the gateway's pictures are from eager float32.

    Args:
        address: Of the gateway.
        model: The translation model.
        bare: What they are compared with.

    Returns:
        The mean over the pictures.
    """
    differences, execution = [], ""
    with Client(address) as client:
        for picture in pictures():
            made = client.translate(model, picture, direction="a_to_b")
            execution = made.execution
            differences.append(np.abs(np.array(made.image).astype(int) - bare.translate(picture)).mean())
    return Agreement(execution, float(np.mean(differences)), len(differences))
