"""One worker process as the gateway sees it: it runs an envelope at a time, answers pings, and can be killed."""

import asyncio
import logging
import os
import select
import signal
import socket
from contextlib import suppress
from pathlib import Path

from gantry.v1 import worker_pb2
from services.backends.base import BackendFailedError, ModelKey, WorkerLostError
from services.backends.embedded.frames import pack, read
from services.backends.envelope import Envelope, nobody_listens

_log = logging.getLogger(__name__)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class WorkerProcess:
    """A worker process that runs.

    Attributes:
        pid: Its process id.
        unanswered: Pings that it has not answered.
        has_run: Whether it was ever given an envelope.
        end: Why it was killed; empty where it was not.
    """

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to listen to it; needs a running event loop.

        Args:
            pid: Its process id.
            reader: What it says.
            writer: What is said to it.
        """
        self.pid, self.unanswered, self.has_run, self.end = pid, 0, False, ""
        self._reader, self._writer = reader, writer
        self._answer: asyncio.Future[worker_pb2.WorkReply] | None = None
        self._is_closed = False
        # Unlike its number, this never comes to mean another process.
        self._handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self._ends = select.poll() if self._handle is not None else None
        if self._ends and self._handle is not None:
            self._ends.register(self._handle, select.POLLIN)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def of(cls, pid: int, connection: socket.socket) -> "WorkerProcess":
        """Connect to a worker.

        Args:
            pid: Its process id.
            connection: The gateway's end of its socket.

        Raises:
            OSError: It has ended already.
        """
        connection.setblocking(False)
        return cls(pid, *await asyncio.open_connection(sock=connection))

    @property
    def has_ended(self) -> bool:
        """Whether it is over, though its socket may not have said so yet."""
        return self._listening.done() or bool(self._ends and self._ends.poll(0))

    async def ended(self) -> None:
        """Wait for its end."""
        await asyncio.wait({self._listening})

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Run an envelope.

        Args:
            key: One of its models.
            envelope: The envelope; one at a time.

        Returns:
            The answer.

        Raises:
            BackendFailedError: The model failed on it.
            WorkerLostError: The worker ended.
        """
        if self.has_ended:
            raise WorkerLostError("the worker was lost")
        self._answer, self.has_run = asyncio.get_running_loop().create_future(), True
        command = worker_pb2.WorkerCommand()
        command.run.model, command.run.version = key
        # One copy of what may be megabytes.
        command.run.request.CopyFrom(envelope.request)
        self._send(command)
        for place in envelope.abandoned:
            self._send(worker_pb2.WorkerCommand(abandon=place))
        envelope.on_abandon = lambda place: self._send(worker_pb2.WorkerCommand(abandon=place))
        try:
            return await self._answer
        finally:
            self._answer = None
            # The next envelope has the same places.
            envelope.on_abandon = nobody_listens

    def ping(self) -> None:
        """Ask whether it is there."""
        self.unanswered += 1
        self._send(worker_pb2.WorkerCommand(ping=self.unanswered))

    def memory(self) -> int:
        """Return the bytes of memory that it holds; see `resident_bytes`."""
        return resident_bytes(self.pid)

    def kill(self, reason: str) -> None:
        """Kill it, which shows in `ended`.

        Args:
            reason: Why, in one word.
        """
        if self._is_closed:
            return
        self.end = self.end or reason
        with suppress(ProcessLookupError):
            if self._handle is None:
                os.kill(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        """Let go of one that has ended, or at least says nothing any more."""
        if self._is_closed:
            return
        self.kill("closed")
        self._is_closed = True
        self._listening.cancel()
        self._writer.close()
        if self._handle is not None:
            os.close(self._handle)

    async def _listen(self) -> None:
        try:
            while answer := await read(self._reader, worker_pb2.WorkerAnswer):
                self._take(answer)
        finally:
            if self._answer and not self._answer.done():
                self._answer.set_exception(WorkerLostError("the worker was lost"))

    def _take(self, answer: worker_pb2.WorkerAnswer) -> None:
        waiting = self._answer if self._answer and not self._answer.done() else None
        match answer.WhichOneof("answer"):
            case "pong":
                self.unanswered = 0
            case "reply" if waiting:
                waiting.set_result(answer.reply)
            case "failure" if waiting:
                _log.error("worker %d: an envelope failed: %s", self.pid, answer.failure)
                waiting.set_exception(BackendFailedError("the model failed"))

    def _send(self, command: worker_pb2.WorkerCommand) -> None:
        # Where it has ended, that shows in `ended`.
        if not self._writer.is_closing():
            self._writer.write(pack(command))


def resident_bytes(pid: int) -> int:
    """Return the bytes of memory that a process holds, what it shares with others included; 0 where none can tell."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    return 0
