"""What runs in the processes that a gateway starts: load the models once, fork workers from there, run envelopes.

A worker that is forked shares torch and the weights with all others, page by page, until one writes to a page. A GPU
cannot be shared so; there each process loads the models for itself and is the one worker.

Each process ends when the other end of its socket does.
"""

import argparse
import gc
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread, get_native_id

import torch

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import ModelKey
from services.backends.embedded.frames import pack, receive
from services.backends.store import open_stored
from services.worker.archive import ArchiveError
from services.worker.runner import Runner

# The kernel's choice where memory runs out: a worker can be replaced, a gateway cannot.
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_OOM_SHARE = "500"
# Pictures of so many pixels, in all of an envelope, take seconds, and give way to what takes milliseconds: workers are
# more than cores. Measured beside four translations of 2048²: the p99 of samples was three times what it is alone.
_LARGE_PIXELS = 1 << 20
_LARGE_NICENESS = 10


def main() -> None:
    """Load archives, say what comes of each, and fork or be a worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("connection", type=int)
    parser.add_argument("execution")
    parser.add_argument("device")
    parser.add_argument("archives", type=Path, nargs="*")
    parser.add_argument("--is-worker", action="store_true")
    given = parser.parse_args()
    # What ends the gateway is for the gateway to react to: it may still want its workers for a while.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection = socket.socket(fileno=given.connection)
    runners: dict[ModelKey, Runner] = {}
    try:
        for report in load(given.archives, given.execution, given.device, runners):
            connection.sendall(pack(report))
    except OSError:
        # The gateway has gone meanwhile.
        return
    if given.is_worker:
        Worker(connection, runners).serve()
    else:
        fork_workers(connection, runners)


def load(
    archives: Sequence[Path], execution: str, device: str, runners: dict[ModelKey, Runner]
) -> Iterator[worker_pb2.LoaderReport]:
    """Load archives, one after another.

    Args:
        archives: The `.mar` files.
        execution: The precision, or "auto"; see `services.worker.execution`.
        device: Where graphs run, for example "cuda:1".
        runners: Takes the models.

    Yields:
        What the gateway is to know: first of the machine, then of each archive in turn.
    """
    gpus = torch.cuda.device_count()
    fault = "" if device == "cpu" or gpus else f"device {device}: torch finds no GPU here"
    yield worker_pb2.LoaderReport(gpus=gpus, fault=fault)
    for path in archives:
        try:
            archive = open_stored(path, runners)
            # A process is one worker: its chunks have one core, the others are for its neighbours.
            runner = Runner(archive, execution, device, threads=1)  # type: ignore[arg-type]  # checked by the settings
        except ArchiveError as error:
            refused = models_pb2.RefusedArchive(archive=path.name, reason=str(error))
            yield worker_pb2.LoaderReport(refused=[refused])
        else:
            runners[ModelKey(archive.card.name, archive.card.version)] = runner
            yield worker_pb2.LoaderReport(models=[models_pb2.LoadedModel(card=archive.card, digest=archive.digest)])


def fork_workers(connection: socket.socket, runners: Mapping[ModelKey, Runner]) -> None:
    """Fork a worker for every socket that the gateway sends, and answer with its process id.

    Args:
        connection: Where the sockets come from.
        runners: The models.
    """
    # The kernel buries workers; the gateway learns of their end from their sockets.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    # A collection would write to every object, and so make a copy of its page for every worker.
    gc.freeze()
    while True:
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not descriptors:
            return
        worker = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if not pid:
            connection.close()
            Worker(worker, runners).serve()
        worker.close()
        connection.sendall(pack(worker_pb2.ForkedWorker(pid=pid)))


_Envelopes = SimpleQueue[tuple[worker_pb2.RunEnvelope, set[int]]]


class Worker:
    """Runs envelopes, one after another, and says between whiles that it is there."""

    def __init__(self, connection: socket.socket, runners: Mapping[ModelKey, Runner]) -> None:
        """Keep what it works with.

        Args:
            connection: Where commands come from and answers go.
            runners: The models.
        """
        self._connection, self._runners = connection, runners
        self._small: _Envelopes = SimpleQueue()
        self._large: _Envelopes = SimpleQueue()
        self._sending = Lock()

    def serve(self) -> None:
        """Serve until the gateway has gone, which ends the process."""
        with suppress(OSError):
            _OOM_SCORE.write_text(_OOM_SHARE)
        for target in (self._listen, self._serve_large):
            Thread(target=target, daemon=True).start()
        self._serve_all(self._small)

    def _serve_large(self) -> None:
        # Linux has a priority for each thread, which cannot be raised again; other systems may have none.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _LARGE_NICENESS)
        self._serve_all(self._large)

    def _serve_all(self, envelopes: _Envelopes) -> None:
        while True:
            self._send(self._run(*envelopes.get()))

    def _listen(self) -> None:
        """Take commands, also while an envelope runs."""
        abandoned: set[int] = set()
        while command := receive(self._connection, worker_pb2.WorkerCommand):
            match command.WhichOneof("command"):
                case "run":
                    abandoned = set()
                    (self._large if _is_large(command.run) else self._small).put((command.run, abandoned))
                case "abandon":
                    abandoned.add(command.abandon)
                case "ping":
                    self._send(worker_pb2.WorkerAnswer(pong=command.ping))
        os._exit(0)

    def _run(self, run: worker_pb2.RunEnvelope, abandoned: set[int]) -> worker_pb2.WorkerAnswer:
        try:
            runner = self._runners[ModelKey(run.model, run.version)]
            return worker_pb2.WorkerAnswer(reply=runner.run(run.request, abandoned.__contains__))
        except Exception as error:
            # A worker outlives whatever an envelope does, short of the process's end.
            return worker_pb2.WorkerAnswer(failure=repr(error))

    def _send(self, answer: worker_pb2.WorkerAnswer) -> None:
        with self._sending:
            try:
                self._connection.sendall(pack(answer))
            except OSError:
                os._exit(0)


def _is_large(run: worker_pb2.RunEnvelope) -> bool:
    return sum(item.translate.graph_pixels for item in run.request.items) >= _LARGE_PIXELS


if __name__ == "__main__":
    main()
