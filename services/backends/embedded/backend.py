"""Models in worker processes of the gateway: any of them runs any model, and one that hangs or crashes is replaced."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import (
    Backend,
    BackendFailedError,
    BackendUnavailableError,
    ModelKey,
    WorkerLostError,
)
from services.backends.embedded.loader import Loader
from services.backends.embedded.process import WorkerProcess
from services.backends.embedded.quarantine import DESERTED_SHARE, Quarantine
from services.backends.embedded.vigilance import Vigilance
from services.backends.embedded.workers import DesertedError, Workers
from services.backends.envelope import Envelope
from services.worker.cores import count_cores
from services.worker.execution import Device, Execution

_log = logging.getLogger(__name__)


class EmbeddedBackend(Backend):
    """Runs the models of a store in worker processes."""

    name = "embedded"

    def __init__(
        self,
        model_store: Path,
        workers: int | None = None,
        execution: Execution = "auto",
        device: Device = "cpu",
        vigilance: Vigilance | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the settings; `start` does the work.

        Args:
            model_store: Folder of `.mar` files.
            workers: Worker processes. Default: one more than the CPU cores it may use, so that a model, which never
                holds all of them, can still use every core; on GPUs one each.
            execution: The precision, or "auto"; see `services.worker.execution`.
            device: Where graphs run.
            vigilance: How closely workers are watched.
            clock: Monotonic seconds.
        """
        self._model_store, self._wanted_workers = model_store, workers
        self._execution, self._device, self._vigilance = execution, device, vigilance or Vigilance()
        self._quarantine = Quarantine(clock)
        # The libraries of other systems, and of GPUs, do not survive a fork.
        self._forks = device == "cpu" and sys.platform == "linux"
        # By place where each is a worker itself; else there is one.
        self._loaders: dict[int, Loader] = {}
        self._forking = asyncio.Lock()
        self._models: dict[ModelKey, models_pb2.LoadedModel] = {}
        self._refused: list[models_pb2.RefusedArchive] = []
        self._workers: Workers | None = None
        self._count = 0

    @property
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """The models that are loaded."""
        return self._models

    @property
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """The archives that were refused, and why."""
        return self._refused

    @property
    def workers(self) -> int:
        """The most envelopes of all models that run at once."""
        return self._count

    def slots(self, key: ModelKey) -> int:  # noqa: ARG002 (of every model)
        """Return the most envelopes of a model that run at once: one worker is left for the others."""
        return max(1, self._count - 1)

    def check(self, key: ModelKey) -> None:
        """Refuse a model that is set aside; errors as of `Backend.check`."""
        self._quarantine.check(key)

    async def start(self) -> None:
        """Load the models, and start the workers.

        Raises:
            BackendUnavailableError: The model store is not a folder, there is no GPU where one is asked for, or a
                worker may hold less memory than torch and the models take.
        """
        if not self._model_store.is_dir():
            raise BackendUnavailableError(f"model store: {self._model_store} is not a folder")
        try:
            self._workers = Workers(self._start_worker, self._vigilance, lambda reason: self.on_worker_lost(reason))
            await self._workers.add(0)
            self._count = self._wanted_workers or self._default_count()
            for place in range(1, self._count):
                await self._workers.add(place)
        except BaseException:
            await self.stop()
            raise

    async def keep(self) -> None:
        """Watch the workers.

        Raises:
            BackendUnavailableError: Workers that were lost could not be replaced.
        """
        assert self._workers
        await self._workers.watch()

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Run one envelope on the next worker that is free.

        Args:
            key: A key of `models`.
            envelope: The envelope. A worker that goes on with it a second after nobody awaits it, or takes far longer
                than was expected, is killed.

        Returns:
            One result per item, in order.

        Raises:
            BackendUnavailableError: The model is set aside.
            BackendFailedError: The model failed on the envelope.
            WorkerLostError: The worker was lost with it.
        """
        assert self._workers
        self._quarantine.check(key)
        try:
            reply = await self._workers.run(key, envelope)
        except WorkerLostError as error:
            self._set_aside(key, DESERTED_SHARE if isinstance(error, DesertedError) else 1.0)
            raise
        except BackendFailedError:
            self._quarantine.note_answer(key)
            raise
        self._quarantine.note_answer(key)
        return reply

    async def stop(self) -> None:
        """End all processes."""
        if self._workers:
            await self._workers.stop()
        await asyncio.gather(*(loader.kill() for loader in self._loaders.values()))
        self._loaders.clear()

    def _default_count(self) -> int:
        if self._device == "cpu":
            return count_cores() + 1
        return self._gpus

    @property
    def _gpus(self) -> int:
        """How many GPUs there are, as far as is known; at least one."""
        return max([1, *(loader.report.gpus for loader in self._loaders.values())])

    async def _start_worker(self, place: int) -> WorkerProcess:
        """Start the worker of a place."""
        worker = await (self._fork() if self._forks else self._load_worker(place))
        if fault := self._vigilance.memory_fault(worker.memory()):
            # It would be killed at the next look, and so would every one after it.
            worker.close()
            raise BackendUnavailableError(f"a worker that has run nothing {fault}")
        return worker

    async def _load_worker(self, place: int) -> WorkerProcess:
        """Start a worker that loads the models itself; on GPUs they take turns."""
        device = self._device if self._device == "cpu" else f"{self._device}:{place % self._gpus}"
        loader = await self._load(place, device, is_worker=True)
        return loader.become_worker()

    async def _fork(self) -> WorkerProcess:
        """Fork a worker; a loader that cannot is replaced."""
        async with self._forking:
            if loader := self._loaders.get(0):
                try:
                    return await loader.fork()
                except BackendUnavailableError as error:
                    _log.error("the models are loaded again: %s", error)
            return await (await self._load(0, self._device)).fork()

    async def _load(self, place: int, device: str, *, is_worker: bool = False) -> Loader:
        """Start a loader in the place of one that is of no more use."""
        if former := self._loaders.pop(place, None):
            await former.kill()
        loader = self._loaders[place] = await Loader.start(
            self._model_store, self._execution, device, is_worker=is_worker, vigilance=self._vigilance
        )
        self._take_over(loader.report)
        return loader

    def _take_over(self, report: worker_pb2.LoaderReport) -> None:
        """Serve what a loader has: a store may hold other archives than when the loader before read it."""
        models = {ModelKey(loaded.card.name, loaded.card.version): loaded for loaded in report.models}
        refused = list(report.refused)
        if self._workers and not models.items() <= self._models.items():
            # Of those that run, none may answer for an archive that it does not have.
            self._workers.replace_all()
        if (models, refused) != (self._models, self._refused):
            self._models, self._refused = models, refused
            self.on_change()

    def _set_aside(self, key: ModelKey, share: float) -> None:
        """Set a model aside where it has lost too many workers in a row."""
        if seconds := self._quarantine.note_loss(key, share):
            _log.error("model %s %s is set aside for %g s: it keeps losing its workers", *key, seconds)
            self.on_change()
            asyncio.get_running_loop().call_later(seconds, self.on_change)
