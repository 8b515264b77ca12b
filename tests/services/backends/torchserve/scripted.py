"""A TorchServe that answers by script, and what drives a backend by hand."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_PNG
from services.backends.base import ModelKey, try_out
from services.backends.torchserve.backend import TorchServeBackend
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc, management_pb2, management_pb2_grpc

KEY = ModelKey("tiny", "1.0.0")
DIED = (grpc.StatusCode.INTERNAL, "Worker died.\norg.pytorch.serve.http.InternalServerException")
# Far longer than anything takes that a test waits for, and short enough that one that hangs says where.
PATIENCE_SECONDS = 120.0
Answer = Callable[[worker_pb2.WorkRequest, Any], Awaitable[bytes]]


class ScriptedTorchServe(
    inference_pb2_grpc.InferenceAPIsServiceServicer, management_pb2_grpc.ManagementAPIsServiceServicer
):
    """Both APIs of a TorchServe; what a model answers is up to the test."""

    def __init__(self, **models: Answer) -> None:
        """Give an answer per model name; all have version 1.0.0 and one worker."""
        self.models = models
        self.version = "1.0.0"
        self.worker_status = "READY"
        self.workers: int | None = 1
        self.startup_seconds = 120
        self.is_mute, self.pinged = False, asyncio.Event()
        self.calls: list[inference_pb2.PredictionsRequest] = []
        self.server: grpc.aio.Server

    async def Predictions(self, request: inference_pb2.PredictionsRequest, context: Any) -> Any:  # noqa: N802
        self.calls.append(request)
        if request.model_name not in self.models:
            await context.abort(grpc.StatusCode.INTERNAL, f"Model not found: {request.model_name}\norg.pytorch.X")
        if request.model_version not in ("", self.version):
            told = f"Model version: {request.model_version} does not exist for model: {request.model_name}"
            await context.abort(grpc.StatusCode.INTERNAL, told)
        envelope = worker_pb2.WorkRequest.FromString(request.input[ENVELOPE_FIELD])
        return inference_pb2.PredictionResponse(prediction=await self.models[request.model_name](envelope, context))

    async def Ping(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.pinged.set()
        if self.is_mute:
            await asyncio.Event().wait()
        return inference_pb2.TorchServeHealthResponse(health="Healthy")

    async def ListModels(self, request: management_pb2.ListModelsRequest, context: Any) -> Any:  # noqa: N802
        """Answer one model a page."""
        page, names = request.next_page_token, sorted(self.models)
        told: dict[str, Any] = {"models": [{"modelName": name} for name in names[page : page + 1]]}
        if page + 1 < len(names):
            told["nextPageToken"] = str(page + 1)
        return management_pb2.ManagementResponse(msg=json.dumps(told))

    async def DescribeModel(self, request: management_pb2.DescribeModelRequest, context: Any) -> Any:  # noqa: N802
        version = {
            "modelVersion": self.version,
            "minWorkers": self.workers,
            "startupTimeout": self.startup_seconds,
            "workers": [{"status": self.worker_status}] * (self.workers or 0),
        }
        return management_pb2.ManagementResponse(msg=json.dumps([version]))

    async def listen(self, at: str = "127.0.0.1:0") -> str:
        """Start to answer, and return the address of both APIs."""
        self.server = grpc.aio.server()
        inference_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(self, self.server)
        management_pb2_grpc.add_ManagementAPIsServiceServicer_to_server(self, self.server)
        address = f"127.0.0.1:{self.server.add_insecure_port(at)}"
        await self.server.start()
        return address


class Rounds:
    """The pauses of a backend, which end when the test says so."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun: asyncio.Queue[None] = asyncio.Queue()
        self._go_on = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        """Pause."""
        self.seconds.append(seconds)
        self._begun.put_nowait(None)
        await self._go_on.acquire()

    async def begun(self) -> None:
        """Wait until a pause begins; fail where none does."""
        await asyncio.wait_for(self._begun.get(), PATIENCE_SECONDS)

    def end(self) -> None:
        """End a pause."""
        self._go_on.release()

    async def next(self) -> None:
        """End a pause, and wait until the next begins."""
        self.end()
        await self.begun()


@asynccontextmanager
async def attached(
    scripted: ScriptedTorchServe, names: Sequence[str] = (), rounds: Rounds | None = None, **given: Any
) -> AsyncIterator[TorchServeBackend]:
    address = await scripted.listen()
    backend = backend_at(address, "127.0.0.1:1" if names else address, names=names, rounds=rounds, **given)
    try:
        await backend.start()
        yield backend
    finally:
        await backend.stop()
        await scripted.server.stop(None)


@asynccontextmanager
async def kept(backend: TorchServeBackend, rounds: Rounds) -> AsyncIterator[list[int]]:
    """Have a backend keep its models running; gives how many there were at each change."""
    changes: list[int] = []
    backend.on_change = lambda: changes.append(len(backend.models))
    keeping = asyncio.create_task(backend.keep())
    try:
        await rounds.begun()
        yield changes
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


def backend_at(
    address: str,
    management_address: str,
    start_seconds: float = PATIENCE_SECONDS,
    names: Sequence[str] = (),
    rounds: Rounds | None = None,
    looks: Rounds | None = None,
    clock: Callable[[], float] = time.monotonic,
    rest_address: str | None = None,
) -> TorchServeBackend:
    return TorchServeBackend(
        model_store=Path("unused"),
        address=address,
        management_address=management_address,
        workers=1,
        names=names,
        start_seconds=start_seconds,
        rest_address=rest_address,
        clock=clock,
        pause=rounds or asyncio.sleep,
        look_pause=looks or asyncio.sleep,
    )


async def probe(backend: TorchServeBackend, key: ModelKey) -> None:
    """Make one picture with a model."""
    await try_out(backend.models[key].card, partial(backend.run, key))


def failing(tiny: Answer, *failures: tuple[grpc.StatusCode, str]) -> Answer:
    """Answer as a sound worker to an envelope without items, and to others after these failures."""
    left = list(failures)

    async def answer(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        if envelope.items and left:
            await context.abort(*left.pop(0))
        return await tiny(envelope, context)

    return answer


def showing(tiny: Answer, card: models_pb2.ModelCard) -> Answer:
    """Answer as a sound worker of a model with this card."""

    async def answer(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        reply = worker_pb2.WorkReply.FromString(await tiny(envelope, context))
        if not envelope.items:
            reply.description.card_json = card_json_of(card)
        return reply.SerializeToString()

    return answer


def envelope_of(count: int) -> worker_pb2.WorkRequest:
    works = [worker_pb2.GenerateWork(seed=seed, condition=[1, 0, 0], truncation=1.0) for seed in range(count)]
    return worker_pb2.WorkRequest(items=[worker_pb2.WorkItem(generate=work, format=IMAGE_FORMAT_PNG) for work in works])


def card_json_of(card: models_pb2.ModelCard) -> bytes:
    card.execution.chunk_items, card.execution.max_batch_items = 8, 64
    return json_format.MessageToJson(card).encode()
