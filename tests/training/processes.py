"""Starts processes that train together, the way torchrun does: real ones, with gloo over the loopback interface.

They are forked from a server that has imported torch already, so that a test need not wait for that.
"""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import distributed

_SECONDS = 100  # after which those that have not ended hang
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["training.engine", "torch._dynamo", "sklearn.datasets"])


class End(NamedTuple):
    """How a process ended.

    Attributes:
        result: What its work returned.
        error: What its work raised, as "Type: message".
        code: Its exit code; negative where a signal ended it, 1 where its work raised.
    """

    result: Any
    error: str
    code: int


def new_store() -> distributed.TCPStore:
    """Where processes find each other, as torchrun keeps it."""
    return distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def together(*works: Callable[[], Any], store: distributed.TCPStore | None = None, attempt: int = 0) -> list[End]:
    """Runs functions beside each other, each in a process of its own that trains with the others.

    Args:
        works: One for each rank; what they consist of and return can be pickled and has no tensors, whose memory would
            be shared.
        store: That of an earlier attempt, which torchrun would use again.
        attempt: How often torchrun has started the processes before.

    Returns:
        How each process ended, in their order.
    """
    store = store or new_store()
    pipes = [_SERVER.Pipe(duplex=False) for _ in works]
    processes = []
    for rank, (work, (_, told)) in enumerate(zip(works, pipes, strict=True)):
        variables = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": len(works),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": store.port,
            "TORCHELASTIC_RESTART_COUNT": attempt,
            "TORCHELASTIC_USE_AGENT_STORE": True,
            # Else gloo asks what address the host's name has, which may take long or be that of no interface.
            "GLOO_SOCKET_IFNAME": socket.if_indextoname(1),
        }
        processes.append(_SERVER.Process(target=_live, args=(work, variables, told), daemon=True))
        processes[-1].start()
        told.close()
    until = time.monotonic() + _SECONDS
    return [_end(process, heard, until) for process, (heard, _) in zip(processes, pipes, strict=True)]


def alone(work: Callable[[], Any]) -> End:
    """Runs a function in a process of its own that trains alone; see `together`."""
    heard, told = _SERVER.Pipe(duplex=False)
    process = _SERVER.Process(target=_live, args=(work, {}, told), daemon=True)
    process.start()
    told.close()
    return _end(process, heard, time.monotonic() + _SECONDS)


def _live(work: Callable[[], Any], variables: dict[str, object], told: Connection) -> None:
    os.environ.update({name: str(value) for name, value in variables.items()})
    torch.set_num_threads(1)
    try:
        told.send((work(), ""))
    except BaseException as error:
        told.send((None, f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from error


def _end(process: Any, heard: Connection, until: float) -> End:
    try:
        result, error = heard.recv() if heard.poll(max(0, until - time.monotonic())) else (None, "it hangs")
    except EOFError:
        result, error = None, "it said nothing"
    process.join(max(1, until - time.monotonic()))
    if process.exitcode is None:
        process.kill()
        process.join()
    return End(result, error, process.exitcode)
