"""A local gateway: start `gantry serve` as a process on loopback, wait until it serves, and stop it."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gantry.v1 import models_pb2
from services.client import Client, GantryError
from services.processes import ending_with_this

START_SECONDS = 180.0
STOP_SECONDS = 30.0
# Linux gives out ports from 32768, other systems from 49152, and Kubernetes' services have those from 30000.
_PORTS, _PORTS_TRIED = range(20_000, 30_000), 100
# gRPC's own pauses between attempts to connect grow to minutes, longer than a gateway takes to start.
_CHANNEL_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]


class LocalGatewayError(Exception):
    """The gateway fails to start; the message says why."""


@dataclass(frozen=True)
class LocalGateway:
    """A gateway that runs.

    Attributes:
        address: host:port that it listens on.
        process: Its process.
    """

    address: str
    process: "subprocess.Popen[bytes]"


@contextmanager
def running_gateway(
    log: Path, *arguments: str, variables: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[LocalGateway]:
    """Run `gantry serve` as a process of its own.

    Args:
        log: File for what the process says.
        *arguments: Arguments of `gantry serve`, but for its addresses.
        variables: Its environment. Default: this process's own.
        port: Port that it listens on. Default: one that is free.

    Yields:
        The gateway, once it serves.

    Raises:
        LocalGatewayError: It fails to start.
    """
    host, port = "127.0.0.1", port or free_port()
    address = f"{host}:{port}"
    serve = [sys.executable, "-m", "services.cli", "serve", "--host", host, "--port", str(port), "--metrics-port", "0"]
    command = [*ending_with_this(), *serve, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ if variables is None else variables,
            start_new_session=True,  # Ctrl-C is for the program that started it, which then ends it.
        )
    try:
        wait_until_serving(address, process, log)
        yield LocalGateway(address, process)
    finally:
        stop(process)


def wait_until_serving(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the gateway's health service says SERVING, which follows a picture from every model.

    Args:
        address: host:port of the gateway.
        process: The gateway's process.
        log: What it says, shown where it fails.

    Raises:
        LocalGatewayError: The process ended, serves no model, or took longer than START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address, _CHANNEL_OPTIONS) as channel, Client(address) as client:
        health: Any = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LocalGatewayError(f"the gateway ended with code {process.returncode}:\n{tail(log)}")
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0, wait_for_ready=True)
            except grpc.RpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            with suppress(GantryError):  # One that asks for keys does not tell a stranger.
                if not client.models():
                    raise LocalGatewayError(reasons_of(client.refused_archives()))
            time.sleep(0.1)
    raise LocalGatewayError(f"the gateway failed to start within {START_SECONDS:.0f} s:\n{tail(log)}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Let the gateway drain and end; kill it where it does not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on, for a program that listens a while later.

    It is below those that systems give out by themselves, so that nobody else is given it in the meantime.

    Raises:
        OSError: None of many was free.
    """
    for port in random.SystemRandom().choices(_PORTS, k=_PORTS_TRIED):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port of 127.0.0.1 from {_PORTS.start} to {_PORTS.stop - 1} is free")


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def reasons_of(refused: list[models_pb2.RefusedArchive]) -> str:
    """Say which archives were refused and why; without any, the model store is empty."""
    if not refused:
        return "the gateway has no model: its model store holds no .mar archive"
    return "the gateway refused " + "; ".join(f"{archive.archive}: {archive.reason}" for archive in refused)
