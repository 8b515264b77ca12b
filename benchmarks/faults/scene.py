"""Where a case takes place: a gateway with some of the shipped models, on one backend, and a TorchServe beside it."""

import asyncio
import itertools
import os
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import grpc
import psutil  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from services.backends.torchserve.api import OWN_MESSAGE_BYTES
from services.backends.torchserve.process import TorchServeProcess
from services.client.local_gateway import free_port, running_gateway

_START_SECONDS = 600.0
Value = TypeVar("Value")


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs as a process of its own.

    Attributes:
        address: host:port of its API.
        metrics_address: host:port of its metrics and probes.
        process: Its process.
        log: File that it writes its log to.
    """

    address: str
    metrics_address: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def tree(self) -> list[psutil.Process]:
        """The process and all that it started."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def resident_bytes(self) -> int:
        """Memory of all its processes; pages that they share are counted once each (PSS)."""
        total = 0
        for process in self.tree():
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:  # it ended meanwhile
                continue
        return total

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 where there are none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(await asyncio.to_thread(self._scrape))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _scrape(self) -> str:
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=30) as answer:
            page: str = answer.read().decode()
        return page


_numbers = itertools.count()


@dataclass(frozen=True)
class Scene:
    """What a case is given.

    Attributes:
        backend: What runs the models.
        folder: For logs and model stores.
        model_store: Where the shipped archives are.
        short: Whether the short form runs, for continuous integration.
        soak_minutes: How long the soak takes.
    """

    backend: Literal["embedded", "torchserve"]
    folder: Path
    model_store: Path
    short: bool
    soak_minutes: float = 30.0

    def pick(self, full: Value, short: Value) -> Value:
        """The value for the form that runs."""
        return short if self.short else full

    @contextmanager
    def gateway(
        self, *models: str, store: Path | None = None, port: int | None = None, **settings: object
    ) -> Iterator[Gateway]:
        """Run a gateway.

        Args:
            *models: Names of the shipped archives that it serves.
            store: A model store of the case's own instead.
            port: Port of its API; by default one that is free.
            **settings: GANTRY_ settings, in lower case.

        Yields:
            The gateway, once it serves.
        """
        number, metrics_port = next(_numbers), free_port()
        log = self.folder / f"gateway-{number}.log"
        ours = {name: value for name, value in os.environ.items() if not name.startswith("GANTRY_")}
        given = {"log_level": "WARNING", **settings}
        variables = ours | {f"GANTRY_{name.upper()}": str(value) for name, value in given.items()}
        arguments = (
            f"--backend={self.backend}",
            f"--model-store={store or self._store(number, models)}",
            f"--metrics-port={metrics_port}",
        )
        with running_gateway(log, *arguments, variables=variables, port=port) as started:
            yield Gateway(started.address, f"127.0.0.1:{metrics_port}", started.process, log)

    @asynccontextmanager
    async def torchserve(self, *models: str, workers: int = 1) -> AsyncIterator[TorchServeProcess]:
        """Run a TorchServe with some of the shipped archives, to be called directly."""
        server = TorchServeProcess(
            [self.archive(name) for name in models], workers=workers, message_bytes=OWN_MESSAGE_BYTES
        )
        try:
            await server.start(_START_SECONDS)
            yield server
        finally:
            await server.stop()

    def archive(self, model: str) -> Path:
        """The shipped archive of a model."""
        return self.model_store / f"{model}.mar"

    def _store(self, number: int, models: tuple[str, ...]) -> Path:
        store = self.folder / f"store-{number}"
        store.mkdir()
        for name in models:
            (store / f"{name}.mar").symlink_to(self.archive(name).resolve())
        return store


@asynccontextmanager
async def connection(address: str, *options: tuple[str, object]) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own, which takes answers of any size, once it is up."""
    own = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), *options]
    async with grpc.aio.insecure_channel(address, own) as channel:
        await channel.channel_ready()
        yield channel
