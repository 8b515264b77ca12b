"""Start and stop a TorchServe that only the gateway talks to.

TorchServe's own launcher keeps one process id file per machine, so it can start only one; this starts the Java
frontend itself, as a process that is the gateway's to stop. Everything it writes stays in a private temporary folder,
HTTP listens on sockets in that folder, and gRPC on loopback.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil  # type: ignore[import-untyped]

from services.backends.base import BackendUnavailableError
from services.backends.torchserve.configuration import write_settings
from services.backends.torchserve.installed import find_java, find_torchserve
from services.processes import ending_with_this
from services.worker.execution import Device, Execution
from services.worker.handler import DEVICE_VARIABLE, EXECUTION_VARIABLE

_POLL_SECONDS = 0.1
# TorchServe ends its workers and then itself within about four seconds.
_STOP_SECONDS = 15.0
_KILL_SECONDS = 15.0
_END_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 12
_FRONTEND = "org.pytorch.serve.ModelServer"
_JVM_HEAP = "-Xmx512m"
# Java's counters for tools like jstat lie under the common /tmp, and stay there where it is killed.
_JVM_NO_COUNTERS = "-XX:-UsePerfData"

Result = TypeVar("Result")


class TorchServeProcess:
    """A TorchServe on loopback with given archives; it is started and stopped once.

    Attributes:
        address: host:port of its gRPC inference API, once it has started.
        management_address: host:port of its gRPC management API.
    """

    def __init__(
        self,
        archives: Sequence[Path],
        workers: int,
        message_bytes: int,
        execution: Execution = "auto",
        device: Device = "cpu",
    ) -> None:
        """Keep the settings; `start` does the work.

        Args:
            archives: The `.mar` files to load.
            workers: Worker processes of a model whose archive does not say how many.
            message_bytes: The most bytes of a call or an answer.
            execution: The precision of its models, or "auto"; see `services.worker.execution`.
            device: Where they run.
        """
        self._archives, self._workers, self._message_bytes = archives, workers, message_bytes
        self._execution, self._device = execution, device
        self._resources = ExitStack()
        self._process: psutil.Popen | None = None
        self.address = ""
        self.management_address = ""
        self._worker_processes: Mapping[str, psutil.Process] = {}

    @property
    def rest_address(self) -> str:
        """Where its REST management API listens."""
        return f"unix:{self._folder / 'management.sock'}"

    @property
    def pid(self) -> int:
        """Process id of the frontend; 0 where none runs."""
        return 0 if self._process is None else int(self._process.pid)

    async def start(self, timeout: float) -> None:
        """Start it and wait until it listens; its workers still load their models then.

        Args:
            timeout: Seconds it may take.

        Raises:
            BackendUnavailableError: Java 17 or TorchServe is not there, or it did not come up.
        """
        java = await asyncio.to_thread(find_java)
        home = find_torchserve()
        self._folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="gantry-torchserve-")))
        with _held_ports(2) as (inference_port, management_port):
            self.address, self.management_address = f"127.0.0.1:{inference_port}", f"127.0.0.1:{management_port}"
            write_settings(
                self._folder,
                self._archives,
                inference_port=inference_port,
                management_port=management_port,
                workers=self._workers,
                message_bytes=self._message_bytes,
            )
            self._process = self._launch(java, home)
            await self.while_running(self._listening(management_port, timeout))

    async def ended(self) -> str:
        """Wait until it has ended, and return how: its exit code, or the signal that killed it."""
        while (code := self._poll()) is None:
            await asyncio.sleep(_POLL_SECONDS)
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    async def while_running(self, doing: Coroutine[Any, Any, Result]) -> Result:
        """Do something for which it must run.

        Args:
            doing: What is done; cancelled when it ends.

        Returns:
            What comes of it.

        Raises:
            BackendUnavailableError: It has ended; the message has the end of its log.
        """
        done, end = asyncio.create_task(doing), asyncio.create_task(self.ended())
        try:
            await asyncio.wait({done, end}, return_when=asyncio.FIRST_COMPLETED)
            # What fails because it ends may do so before its end is seen.
            await asyncio.wait({end}, timeout=2 * _POLL_SECONDS)
            if end.done():
                raise BackendUnavailableError(f"TorchServe ended while it started ({end.result()}):\n{self.log_tail()}")
            return done.result()
        finally:
            done.cancel()
            end.cancel()
            await asyncio.gather(done, end, return_exceptions=True)

    async def stop(self) -> None:
        """Stop the frontend and its workers, also those that it has left behind, and remove the folder."""
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._process = None
        self._resources.close()

    async def worker_processes(self) -> Mapping[str, bool]:
        """Return the ids of the workers that have a process, and whether it is stopped (SIGSTOP)."""
        return await asyncio.to_thread(self._find_workers)

    def kill_workers(self, ids: Collection[str]) -> None:
        """Kill those processes of some workers that were found last; TorchServe starts them again.

        Args:
            ids: Their ids.
        """
        for worker, process in self._worker_processes.items():
            if worker in ids:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def kill(self) -> None:
        """Kill the frontend and its workers, even where they are stopped; `ended` then returns."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _find_workers(self) -> Mapping[str, bool]:
        found, stopped = {}, {}
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.pid).children() if self.pid else ():
                with suppress(psutil.NoSuchProcess):
                    if process.status() != psutil.STATUS_ZOMBIE and (worker := _worker_id(process.cmdline())):
                        found[worker], stopped[worker] = process, process.status() == psutil.STATUS_STOPPED
        self._worker_processes = found
        return stopped

    def log_tail(self) -> str:
        """Return the last lines that Java and TorchServe wrote."""
        lines: list[str] = []
        for log in (self._folder / "java.log", self._folder / "torchserve.log"):
            if log.exists():
                lines += log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _poll(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def _launch(self, java: str, home: Path) -> psutil.Popen:
        folder = self._folder
        command = [
            *ending_with_this(),
            java,
            _JVM_HEAP,
            _JVM_NO_COUNTERS,
            f"-Dmodel_server_home={home}",
            f"-Dlog4j.configurationFile=file://{folder / 'log4j2.xml'}",
            # The sockets of the workers lie here; under the common /tmp two TorchServes take each other's.
            f"-Djava.io.tmpdir={folder}",
            "-cp",
            f"{home}/ts/frontend/*",
            _FRONTEND,
            "--python",
            sys.executable,
            "-ncs",
        ]
        with (folder / "java.log").open("w") as log:
            return psutil.Popen(
                command,
                cwd=folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        """The gateway's environment without its own settings, but for those that are a worker's business."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GANTRY_")}
        return inherited | {
            "TS_CONFIG_FILE": str(self._folder / "config.properties"),
            "OMP_NUM_THREADS": "1",
            EXECUTION_VARIABLE: self._execution,
            DEVICE_VARIABLE: self._device,
        }

    async def _listening(self, port: int, timeout: float) -> None:
        give_up = time.monotonic() + timeout
        while not _accepts(port):
            if time.monotonic() > give_up:
                raise BackendUnavailableError(f"TorchServe did not listen within {timeout:g} s:\n{self.log_tail()}")
            await asyncio.sleep(_POLL_SECONDS)


@contextmanager
def _held_ports(count: int) -> Iterator[list[int]]:
    """Take free ports of loopback that for now nobody is given but who asks for them by number.

    Java takes seconds to come to its ports. On Linux a socket that is bound and does not listen keeps others from being
    given its port, and is not in the way of one that reuses addresses, as every server of Java's does.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for holder in sockets:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
        ports = [holder.getsockname()[1] for holder in sockets]
        if sys.platform != "linux":
            held.close()
        yield ports


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _worker_id(command: Sequence[str]) -> str:
    """Return the id of the worker that a command starts; nothing where it starts none."""
    if "--sock-name" not in command[:-1]:
        return ""
    return command[command.index("--sock-name") + 1].rpartition(".")[2]


def _end(frontend: psutil.Popen) -> None:
    """End a frontend with SIGTERM, and with SIGKILL what outlives that: workers do not notice when it is killed."""
    with suppress(psutil.NoSuchProcess):
        frontend.terminate()
    with suppress(psutil.TimeoutExpired):
        frontend.wait(_STOP_SECONDS)
    # All at once: one by one, the frontend could start another worker meanwhile.
    with suppress(ProcessLookupError):
        os.killpg(frontend.pid, signal.SIGKILL)
    give_up = time.monotonic() + _KILL_SECONDS
    while any(_group(frontend.pid)) and time.monotonic() < give_up:
        time.sleep(_END_POLL_SECONDS)


def _group(leader: int) -> Iterator[psutil.Process]:
    """Yield the processes of a group that live, also where its leader is gone.

    Whoever inherits dead ones may take seconds to collect them, or never does.
    """
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                yield process
