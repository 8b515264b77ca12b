"""The process that has loaded the models, as the gateway sees it: workers are forked from it, sharing its memory.

Where that cannot be, on a GPU or on a system whose libraries do not survive a fork, each loader is the one worker.
"""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from gantry.v1 import worker_pb2
from services.backends.base import BackendUnavailableError
from services.backends.embedded.frames import Received, read
from services.backends.embedded.process import WorkerProcess
from services.processes import ending_with_this
from services.worker.execution import Execution

_END_SECONDS = 5.0
# A fork takes milliseconds; a process that is stopped never answers.
_FORK_SECONDS = 5.0


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
    async def start(cls, model_store: Path, execution: Execution, device: str, *, is_worker: bool = False) -> "Loader":
        """Start a process, and wait until it has loaded the models.

        Args:
            model_store: Folder of `.mar` files.
            execution: The precision, or "auto"; see `services.worker.execution`.
            device: Where graphs run, for example "cuda:1".
            is_worker: Whether it is a worker itself, from which none can be forked.

        Raises:
            BackendUnavailableError: It ended, or nothing can be loaded at all.
        """
        options = ["--is-worker"] if is_worker else []
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                # What a terminal sends to the gateway and all around it does not reach another session.
                process = subprocess.Popen(
                    # Its socket tells it of the gateway's end; one that is stopped does not hear it.
                    [*ending_with_this("KILL"), sys.executable, "-m", "services.backends.embedded.child",
                     str(theirs.fileno()), str(model_store), execution, device, *options],
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=_environment(), start_new_session=True,
                )  # fmt: skip
            ours.setblocking(False)
            loader = cls(process, ours, *await asyncio.open_connection(sock=ours))
        except OSError as error:
            raise BackendUnavailableError(f"the process that loads the models cannot start: {error}") from error
        try:
            loader.report = await loader._receive(worker_pb2.LoaderReport)
            if loader.report.fault:
                raise BackendUnavailableError(loader.report.fault)
        except BaseException:
            await loader.kill()
            raise
        return loader

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
