"""The process that has loaded the models, as the gateway sees it: workers are forked from it, sharing its memory.

Where that cannot be, on a GPU or on a system whose libraries do not survive a fork, each loader is the one worker.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import BackendUnavailableError
from services.backends.embedded.frames import Received, read
from services.backends.embedded.process import WorkerProcess, resident_bytes
from services.backends.embedded.vigilance import Vigilance
from services.backends.store import archives_of
from services.processes import ending_with_this
from services.worker.execution import Execution

_END_SECONDS = 5.0
# A fork takes milliseconds; a process that is stopped never answers.
_FORK_SECONDS = 5.0
# Between two looks at a process that loads an archive.
_LOOK_SECONDS = 0.25

_log = logging.getLogger(__name__)


class _UnloadableError(Exception):
    """An archive that was more than the process which loaded it could take."""

    def __init__(self, archive: Path, why: str) -> None:
        super().__init__(why)
        self.archive = archive


class Loader:
    """A process that has loaded a model store.

    Attributes:
        pid: Its process id.
        report: What it loaded.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        connection: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Keep what `start` has started."""
        self._process, self._connection, self._reader, self._writer = process, connection, reader, writer
        self.pid = process.pid
        self._ordering, self._unread = asyncio.Lock(), 0
        self.report = worker_pb2.LoaderReport()

    @classmethod
    async def start(
        cls,
        model_store: Path,
        execution: Execution,
        device: str,
        *,
        is_worker: bool = False,
        vigilance: Vigilance | None = None,
    ) -> "Loader":
        """Start a process, and wait until it has loaded the models.

        An archive that takes too long or too much memory, or that ends the process, is refused like one that is not
        sound, and the others are loaded by another process.

        Args:
            model_store: Folder of `.mar` files.
            execution: The precision, or "auto"; see `services.worker.execution`.
            device: Where graphs run, for example "cuda:1".
            is_worker: Whether it is a worker itself, from which none can be forked.
            vigilance: What an archive may take.

        Raises:
            BackendUnavailableError: It ended before it came to an archive, or nothing can be loaded at all.
        """
        options, vigilance = ["--is-worker"] if is_worker else [], vigilance or Vigilance()
        unloadable: dict[Path, str] = {}
        while True:
            archives = [path for path in archives_of(model_store) if path not in unloadable]
            loader = await cls._start_process(execution, device, *map(str, archives), *options)
            try:
                await loader._load(archives, vigilance)
            except _UnloadableError as error:
                _log.error("the models are loaded without %s: %s", error.archive.name, error)
                unloadable[error.archive] = str(error)
                await loader.kill()
            except BaseException:
                await loader.kill()
                raise
            else:
                loader._refuse(unloadable)
                return loader

    @classmethod
    async def _start_process(cls, *arguments: str) -> "Loader":
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                # What a terminal sends to the gateway and all around it does not reach another session.
                process = subprocess.Popen(
                    # Its socket tells it of the gateway's end; one that is stopped does not hear it.
                    [*ending_with_this("KILL"), sys.executable, "-m", "services.backends.embedded.child",
                     str(theirs.fileno()), *arguments],
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=_environment(), start_new_session=True,
                )  # fmt: skip
            ours.setblocking(False)
            return cls(process, ours, *await asyncio.open_connection(sock=ours))
        except OSError as error:
            raise BackendUnavailableError(f"the process that loads the models cannot start: {error}") from error

    async def _load(self, archives: Sequence[Path], vigilance: Vigilance) -> None:
        """Learn what comes of each archive."""
        self.report = await self._receive(worker_pb2.LoaderReport)
        if self.report.fault:
            raise BackendUnavailableError(self.report.fault)
        if fault := vigilance.memory_fault(resident_bytes(self.pid)):
            raise BackendUnavailableError(f"a worker without any model {fault}")
        for archive in archives:
            self.report.MergeFrom(await self._outcome(archive, vigilance))

    async def _outcome(self, archive: Path, vigilance: Vigilance) -> worker_pb2.LoaderReport:
        """Learn what comes of an archive that is loaded now; raise where it is more than it may be."""
        outcome = asyncio.create_task(self._receive(worker_pb2.LoaderReport))
        give_up = time.monotonic() + vigilance.archive_seconds
        try:
            while not (await asyncio.wait({outcome}, timeout=_LOOK_SECONDS))[0]:
                if time.monotonic() > give_up:
                    setting = "archive_seconds, GANTRY_ARCHIVE_SECONDS"
                    raise _UnloadableError(archive, f"is not loaded after {vigilance.archive_seconds:g} s ({setting})")
                if fault := vigilance.memory_fault(resident_bytes(self.pid)):
                    raise _UnloadableError(archive, f"the process that loads it {fault}")
            return await outcome
        except BackendUnavailableError as error:
            raise _UnloadableError(archive, "the process that loaded it ended; its last lines say why") from error
        finally:
            outcome.cancel()

    def _refuse(self, unloadable: Mapping[Path, str]) -> None:
        """Add to the archives that it refused those that processes before it could not load."""
        refused = [models_pb2.RefusedArchive(archive=path.name, reason=why) for path, why in unloadable.items()]
        ordered = sorted([*self.report.refused, *refused], key=lambda each: each.archive)
        del self.report.refused[:]
        self.report.refused.extend(ordered)

    async def fork(self) -> WorkerProcess:
        """Fork a worker.

        Raises:
            BackendUnavailableError: The loader has ended, or does not answer; it is of no more use.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise BackendUnavailableError(f"no socket for a worker: {error}") from error
        try:
            async with self._ordering, asyncio.timeout(_FORK_SECONDS):
                with theirs:
                    socket.send_fds(self._connection, [b"\0"], [theirs.fileno()])
                self._unread += 1
                # Where an order was cancelled, its answer comes first.
                while self._unread:
                    forked = await self._receive(worker_pb2.ForkedWorker)
                    self._unread -= 1
            return await WorkerProcess.of(forked.pid, ours)
        except OSError as error:  # TimeoutError is one
            ours.close()
            raise BackendUnavailableError("the process that holds the models forks no worker") from error
        except BaseException:
            ours.close()
            raise

    def become_worker(self) -> WorkerProcess:
        """Return the worker that this process is itself."""
        return WorkerProcess(self._process.pid, self._reader, self._writer)

    async def kill(self) -> None:
        """End it; workers that were forked from it go on."""
        self._writer.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            # One that holds a GPU takes a while.
            await asyncio.to_thread(self._process.wait, _END_SECONDS)

    async def _receive(self, kind: type[Received]) -> Received:
        received = await read(self._reader, kind)
        if received is None:
            raise BackendUnavailableError("the process that loads the models has ended; its last lines say why")
        return received


def _environment() -> dict[str, str]:
    """The gateway's own, but for the threads of libraries: a process that has threads cannot be forked.

    The child finds the packages where the gateway found them.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"), "1")
    return os.environ | single | {"PYTHONPATH": paths}
