"""Models in the workers of a TorchServe, over its gRPC API: one envelope a call, since the gateway forms the batches.

TorchServe's status codes say little: a handler that raised is UNAVAILABLE, a worker that died INTERNAL, and a ping is
answered while no model works. This file makes of them what the rest of the gateway can rely on, and takes a model for
loaded only when its worker has shown its card.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import (
    Backend,
    BackendError,
    BackendFailedError,
    BackendTimeoutError,
    BackendUnavailableError,
    ModelKey,
)
from services.backends.parts import OVERHEAD_BYTES, cut, picture_bytes
from services.backends.store import open_store
from services.worker.archive import ArchiveError, card_digest, parse_card
from services.worker.execution import Device, Execution
from services.worker.handler import ENVELOPE_FIELD
from torchserve import inference_pb2, inference_pb2_grpc, management_pb2, management_pb2_grpc

if TYPE_CHECKING:
    from services.backends.torchserve_process import TorchServeProcess

# What a TorchServe takes and gives unless its settings say otherwise; it kills a worker that answers with more.
DEFAULT_MESSAGE_BYTES = 6_553_500
# The same for a TorchServe of the gateway's own.
OWN_MESSAGE_BYTES = 64 << 20
# Workers load side by side, so one that is so long behind all the others is not coming: a share of the time that
# TorchServe gives it, which is longer where graphs are compiled.
PATIENCE = 0.4
# The first calls of a Java frontend take several times as long as later ones.
_WARM_UP_CALLS = 100
# A worker can hang for ever without TorchServe noticing, so no call waits longer than this.
_LONGEST_CALL_SECONDS = 300.0
_PAGE_MODELS = 100

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", OWN_MESSAGE_BYTES),
    # TorchServe hangs up on clients that ask whether it is alive more often than every five minutes.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Where its name stands for several, every one gets calls.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)

_log = logging.getLogger(__name__)


class WorkerDiedError(BackendError):
    """The worker died with the envelope; `run` tries again, so its callers never see this."""


@dataclass(frozen=True)
class _Timeouts:
    """What TorchServe gives a model's workers, in seconds: to load it, and to answer a call."""

    startup: float
    response: float


@dataclass(frozen=True)
class _Served:
    """A model that has shown its card.

    Attributes:
        loaded: What the gateway shows of it.
        response_seconds: The time after which TorchServe kills the worker that runs a call.
    """

    loaded: models_pb2.LoadedModel
    response_seconds: float


class TorchServeBackend(Backend):
    """Runs envelopes on a TorchServe: one that runs already, or one of its own.

    Attributes:
        address: host:port of its gRPC inference API; None before `start` has started one.
        management_address: host:port of its gRPC management API.
    """

    name = "torchserve"

    def __init__(
        self,
        *,
        model_store: Path,
        address: str | None,
        management_address: str,
        workers: int,
        execution: Execution = "auto",
        device: Device = "cpu",
        names: Sequence[str] = (),
        message_bytes: int = DEFAULT_MESSAGE_BYTES,
        start_seconds: float = 600.0,
    ) -> None:
        """Keep the settings; `start` does the work.

        Args:
            model_store: Folder of `.mar` files for a TorchServe of its own.
            address: host:port of the gRPC inference API of one that runs; None to start one.
            management_address: host:port of its gRPC management API; only asked which models there are.
            workers: Worker processes per model, in a TorchServe of its own.
            execution: The precision of the models in a TorchServe of its own, or "auto"; see
                `services.worker.execution`.
            device: Where these models run.
            names: The models of one that runs, newest version each; its management API is then not asked.
            message_bytes: The most bytes that one that runs takes and gives.
            start_seconds: How long `start` waits for TorchServe, and for its workers to load their models.
        """
        self._model_store, self._workers = model_store, workers
        self._execution, self._device = execution, device
        self._start_seconds = start_seconds
        self.address, self.management_address = address, management_address
        self._names, self._message_bytes = names, message_bytes
        self.envelopes_in_flight = workers + 1
        self._process: TorchServeProcess | None = None
        self._channel: grpc.aio.Channel | None = None
        self._served: dict[ModelKey, _Served] = {}
        self._refused: list[models_pb2.RefusedArchive] = []

    @property
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """The models whose workers have answered."""
        return {key: served.loaded for key, served in self._served.items()}

    @property
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """The archives that were refused, and the models that did not answer as a Gantry model does."""
        return self._refused

    async def start(self) -> None:
        """Start a TorchServe where none was named, and ask every model for its card.

        Raises:
            BackendUnavailableError: TorchServe cannot be started or reached; the message says what to check.
        """
        try:
            archives = await self._start_own() if self.address is None else {}
            self._channel = grpc.aio.insecure_channel(self.address or "", options=_CHANNEL_OPTIONS)
            self._stub = inference_pb2_grpc.InferenceAPIsServiceStub(self._channel)
            registered = self._named() or await self._list_registered()
            for key in archives.keys() - registered.keys():
                self._refuse(archives[key].name, "TorchServe could not load it")
            await self._load(registered, archives)
            if self._process is not None:
                self._process.check()
        except BaseException:
            await self.stop()
            raise
        self._refused.sort(key=lambda refused: refused.archive)

    async def run(self, key: ModelKey, request: worker_pb2.WorkRequest, timeout: float | None) -> worker_pb2.WorkReply:
        """Run one envelope; in parts where the answer could be more than TorchServe lets through.

        Args:
            key: A key of `models`.
            request: The envelope.
            timeout: Seconds after which nobody waits any more. The worker finishes its work all the same.

        Returns:
            One result per item, in order.

        Raises:
            BackendTimeoutError: The time was over, TorchServe's own limit included.
            BackendFailedError: The worker could not run the envelope.
            BackendUnavailableError: TorchServe is down, or the worker died, twice.
        """
        served = self._served[key]
        give_up = time.monotonic() + (_LONGEST_CALL_SECONDS if timeout is None else timeout)
        parts = await self._cut(request, served.loaded.card)
        replies = [
            part
            if isinstance(part, worker_pb2.WorkReply)
            else await self._run_twice(key, part, give_up, served.response_seconds)
            for part in parts
        ]
        if len(replies) == 1:
            return replies[0]
        return worker_pb2.WorkReply(
            results=[result for reply in replies for result in reply.results],
            run_seconds=sum(reply.run_seconds for reply in replies),
            encode_seconds=sum(reply.encode_seconds for reply in replies),
            execution=max((reply.execution for reply in replies), default=""),
        )

    async def stop(self) -> None:
        """Close the connection, and stop the TorchServe that `start` started."""
        if self._channel is not None:
            await self._channel.close()
        if self._process is not None:
            await self._process.stop()

    async def _cut(
        self, request: worker_pb2.WorkRequest, card: models_pb2.ModelCard
    ) -> list[worker_pb2.WorkRequest | worker_pb2.WorkReply]:
        def parts() -> list[worker_pb2.WorkRequest | worker_pb2.WorkReply]:
            return list(cut(request.items, card.image, self._message_bytes))

        # Reading the headers of pictures is not for the event loop; all else takes less time than a thread.
        return await asyncio.to_thread(parts) if card.kind == models_pb2.MODEL_KIND_TRANSLATION else parts()

    async def _start_own(self) -> dict[ModelKey, Path]:
        """Start a TorchServe with the sound archives of the store, and return their paths."""
        if not self._model_store.is_dir():
            raise BackendUnavailableError(f"model store: {self._model_store} is not a folder")
        try:
            from services.backends.torchserve_process import TorchServeProcess
        except ImportError as error:
            raise BackendUnavailableError(f"{error}; pip install 'gantry[torchserve]'") from error
        archives, self._refused = await asyncio.to_thread(open_store, self._model_store, lambda path, _: path)
        self._process = TorchServeProcess(
            list(archives.values()), self._workers, OWN_MESSAGE_BYTES, self._execution, self._device
        )
        await self._process.start(self._start_seconds)
        self.address, self.management_address = self._process.address, self._process.management_address
        self._message_bytes = OWN_MESSAGE_BYTES
        _log.info("started TorchServe, gRPC on %s", self.address)
        return archives

    def _named(self) -> dict[ModelKey, _Timeouts]:
        """Return the models that the settings name; TorchServe takes the newest of those that have no version."""
        timeouts = _Timeouts(self._start_seconds, _LONGEST_CALL_SECONDS)
        return {ModelKey(name, ""): timeouts for name in self._names}

    async def _list_registered(self) -> dict[ModelKey, _Timeouts]:
        """Ask which models TorchServe has, every version of each."""
        options = (("grpc.max_receive_message_length", OWN_MESSAGE_BYTES),)
        async with grpc.aio.insecure_channel(self.management_address, options=options) as channel:
            management = management_pb2_grpc.ManagementAPIsServiceStub(channel)
            registered: dict[ModelKey, _Timeouts] = {}
            try:
                for name in await self._list_names(management):
                    every_version = management_pb2.DescribeModelRequest(model_name=name, model_version="all")
                    told = await management.DescribeModel(every_version, timeout=self._start_seconds)
                    for model in json.loads(told.msg):
                        timeouts = _Timeouts(float(model["startupTimeout"]), float(model["responseTimeout"]))
                        registered[ModelKey(name, model["modelVersion"])] = timeouts
            except grpc.aio.AioRpcError as error:
                raise BackendUnavailableError(
                    f"TorchServe's gRPC management API at {self.management_address} did not answer "
                    f"({error.code().name}); check that TorchServe runs, that this is its grpc_management_port, and "
                    "that it runs with disable_token_authorization=true"
                ) from error
            return registered

    async def _list_names(self, management: "management_pb2_grpc.ManagementAPIsServiceAsyncStub") -> list[str]:
        names: list[str] = []
        page = 0
        while True:
            request = management_pb2.ListModelsRequest(limit=_PAGE_MODELS, next_page_token=page)
            told = json.loads(
                (await management.ListModels(request, timeout=self._start_seconds, wait_for_ready=True)).msg
            )
            names += [model["modelName"] for model in told["models"]]
            if "nextPageToken" not in told:
                return names
            page = int(told["nextPageToken"])

    async def _load(self, registered: Mapping[ModelKey, _Timeouts], archives: Mapping[ModelKey, Path]) -> None:
        """Ask all models for their cards at once, and refuse those that give none."""
        asked = {asyncio.create_task(self._ask(key, timeouts.response)): key for key, timeouts in registered.items()}
        waiting = await self._await_answers({task: registered[key].startup for task, key in asked.items()})
        if waiting and self._process is not None:
            _log.warning("models did not load; TorchServe's log ends:\n%s", self._process.log_tail())
        for task, key in asked.items():
            label = archives[key].name if key in archives else " ".join(key).rstrip()
            if task in waiting:
                self._refuse(label, "its worker did not load it in time")
            elif isinstance(error := task.exception(), BackendError | ArchiveError):
                self._refuse(label, str(error))
            else:
                served = task.result()
                self._served[ModelKey(served.loaded.card.name, served.loaded.card.version)] = served

    async def _await_answers(self, asked: Mapping[asyncio.Task[_Served], float]) -> set[asyncio.Task[_Served]]:
        """Wait for answers, give up on those that are far behind the others, and return these.

        Args:
            asked: What is waited for, with the seconds that the model has to load.
        """
        waiting, patience = set(asked), self._start_seconds
        try:
            while waiting:
                answered, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not answered:
                    break
                if any(task.exception() is None for task in answered):
                    slowest = max((asked[task] for task in waiting), default=0.0)
                    patience = min(PATIENCE * slowest, self._start_seconds)
        finally:
            for task in waiting:
                task.cancel()
        return waiting

    async def _ask(self, key: ModelKey, response_seconds: float) -> _Served:
        """Ask a model for its card, waiting until TorchServe runs and a worker has loaded it."""
        reply = await self._call(key, worker_pb2.WorkRequest(), self._start_seconds, wait_for_ready=True)
        card_json = reply.description.card_json
        card = parse_card(card_json)
        if (card.name, key.version and card.version) != key:
            raise ArchiveError(f"it is registered under another name than its card's, {card.name} {card.version}")
        needed = picture_bytes(card.image.width * card.image.height * card.image.channels) + OVERHEAD_BYTES
        if needed > self._message_bytes:
            raise ArchiveError(f"a picture may take {needed} bytes, TorchServe answers {self._message_bytes}")
        if self._process is not None:
            for _ in range(_WARM_UP_CALLS):
                await self._call(key, worker_pb2.WorkRequest(), self._start_seconds)
        loaded = models_pb2.LoadedModel(card=card, digest=card_digest(card_json))
        return _Served(loaded, response_seconds)

    def _refuse(self, archive: str, reason: str) -> None:
        self._refused.append(models_pb2.RefusedArchive(archive=archive, reason=reason))

    async def _run_twice(
        self, key: ModelKey, request: worker_pb2.WorkRequest, give_up: float, response_seconds: float
    ) -> worker_pb2.WorkReply:
        """Run an envelope, and once more where its worker died: a picture is a function, so that does no harm.

        TorchServe keeps the second call until a new worker has come up.
        """
        started = time.monotonic()
        try:
            return await self._call(key, request, give_up - started)
        except WorkerDiedError as death:
            ended = time.monotonic()
            if ended - started >= response_seconds:
                raise BackendTimeoutError("the worker took longer than TorchServe lets it") from death
            _log.warning("model %s %s: a worker died; running its envelope again", *key)
        try:
            return await self._call(key, request, give_up - ended)
        except WorkerDiedError as death:
            raise BackendUnavailableError("the worker died") from death

    async def _call(
        self, key: ModelKey, request: worker_pb2.WorkRequest, timeout: float, *, wait_for_ready: bool = False
    ) -> worker_pb2.WorkReply:
        envelope = request.SerializeToString()
        if len(envelope) > self._message_bytes - OVERHEAD_BYTES:
            raise BackendFailedError(f"the envelope has {len(envelope)} bytes, TorchServe takes {self._message_bytes}")
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
    if "no worker to serve inference request" in details:
        return BackendUnavailableError("TorchServe has no worker with room for the envelope")
    match code:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return BackendTimeoutError("the time was over before the pictures were made")
        case grpc.StatusCode.UNAVAILABLE if "Prediction failed" not in details:
            return BackendUnavailableError("TorchServe cannot be reached")
        case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNAUTHENTICATED:
            return BackendUnavailableError("TorchServe asks for a token; run it with disable_token_authorization=true")
        case grpc.StatusCode.CANCELLED:
            return BackendFailedError("TorchServe refused the envelope; it may be over its max_request_size")
        case _:
            return BackendFailedError("the worker failed on the envelope")
