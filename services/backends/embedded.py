"""The model in the gateway's own process, off the event loop: the default, with nothing else to start."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import (
    Backend,
    BackendFailedError,
    BackendTimeoutError,
    BackendUnavailableError,
    ModelKey,
)
from services.backends.envelope import Envelope
from services.backends.store import open_store
from services.worker.archive import Archive
from services.worker.cores import count_cores
from services.worker.execution import Device, Execution
from services.worker.runner import Runner

_SWITCH_SECONDS = 0.0005


class EmbeddedBackend(Backend):
    """Runs the models of a store on a few threads; torch releases the interpreter lock while a graph runs."""

    name = "embedded"
    # The chunks of an envelope share the cores, so one large envelope is better than two small ones.
    envelopes_in_flight = 1

    def __init__(
        self, model_store: Path, threads: int | None = None, execution: Execution = "auto", device: Device = "cpu"
    ) -> None:
        """Keep the settings; `start` does the work.

        Args:
            model_store: Folder of `.mar` files.
            threads: Envelopes that run at once. Default: the number of CPU cores it may use.
            execution: The precision, or "auto"; see `services.worker.execution`.
            device: Where graphs run.
        """
        self._model_store, self._execution, self._device = model_store, execution, device
        self._threads = ThreadPoolExecutor(threads or count_cores(), thread_name_prefix="gantry-worker")
        self._models: dict[ModelKey, models_pb2.LoadedModel] = {}
        self._runners: dict[ModelKey, Runner] = {}
        self._refused: list[models_pb2.RefusedArchive] = []

    @property
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """The models that are loaded."""
        return self._models

    @property
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """The archives that were refused, and why."""
        return self._refused

    async def start(self) -> None:
        """Open the store and warm every model up.

        Raises:
            BackendUnavailableError: The model store is not a folder, or there is no GPU where one is asked for.
        """
        if self._device == "cuda" and not torch.cuda.is_available():
            raise BackendUnavailableError("device cuda: torch finds no GPU here")
        if not self._model_store.is_dir():
            raise BackendUnavailableError(f"model store: {self._model_store} is not a folder")
        # Threads that encode must not make the event loop wait Python's usual 5 ms for the interpreter lock.
        sys.setswitchinterval(_SWITCH_SECONDS)
        await asyncio.get_running_loop().run_in_executor(self._threads, self._load)

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Run one envelope on a thread.

        Args:
            key: A key of `models`.
            envelope: The envelope; the thread finishes its work all the same where nobody waits any more.

        Returns:
            One result per item, in order.

        Raises:
            BackendTimeoutError: The time was over.
            BackendFailedError: The graph failed.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._runners[key].run, envelope.request)
        try:
            return await asyncio.wait_for(running, envelope.seconds_wanted)
        except TimeoutError as error:
            raise BackendTimeoutError("the time was over before the pictures were made") from error
        except (RuntimeError, MemoryError) as error:
            raise BackendFailedError("the graph failed") from error

    async def stop(self) -> None:
        """Wait for running envelopes and end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    def _load(self) -> None:
        def load(_: Path, archive: Archive) -> models_pb2.LoadedModel:
            runner = Runner(archive, self._execution, self._device)
            self._runners[ModelKey(archive.card.name, archive.card.version)] = runner
            return models_pb2.LoadedModel(card=archive.card, digest=archive.digest)

        self._models, self._refused = open_store(self._model_store, load)
