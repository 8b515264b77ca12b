"""The process that has loaded the models, as the gateway sees it: workers are forked from it, sharing its memory.

Where that cannot be, on a GPU or on a system whose libraries do not survive a fork, each loader is the one worker.
"""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from gantry.v1 import worker_pb2
from services.backends.base import BackendUnavailableError
from services.backends.embedded.frames import Received, receive
from services.backends.embedded.process import WorkerProcess
from services.worker.execution import Execution

_END_SECONDS = 5.0


class Loader:
    """A process that has loaded a model store.

    Attributes:
        report: What it loaded.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        """Keep what `start` has started."""
        self._process, self._connection = process, connection
        self._ordering = asyncio.Lock()
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
        ours, theirs = socket.socketpair()
        with theirs:
            options = ["--is-worker"] if is_worker else []
            process = subprocess.Popen(
                [sys.executable, "-m", "services.backends.embedded.child", str(theirs.fileno()),
                 str(model_store), execution, device, *options],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=_environment(),
            )  # fmt: skip
        loader = cls(process, ours)
        try:
            loader.report = await loader._receive(worker_pb2.LoaderReport)
            if loader.report.fault:
                raise BackendUnavailableError(loader.report.fault)
        except BaseException:
            loader.kill()
            raise
        return loader

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    async def fork(self) -> WorkerProcess:
        """Fork a worker.

        Raises:
            BackendUnavailableError: The loader has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            async with self._ordering:
                with theirs:
                    socket.send_fds(self._connection, [b"\0"], [theirs.fileno()])
                forked = await self._receive(worker_pb2.ForkedWorker)
            return await WorkerProcess.of(forked.pid, ours)
        except OSError as error:
            ours.close()
            raise BackendUnavailableError("the process that holds the models has ended") from error

    async def become_worker(self) -> WorkerProcess:
        """Return the worker that this process is itself."""
        return await WorkerProcess.of(self._process.pid, self._connection)

    def kill(self) -> None:
        """End it; workers that were forked from it go on."""
        self._connection.close()
        self._process.kill()
        self._process.wait(_END_SECONDS)

    async def _receive(self, kind: type[Received]) -> Received:
        received = await asyncio.to_thread(receive, self._connection, kind)
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
