"""A loaded store that the tests of worker processes share, and workers forked from it for each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from services.backends.embedded.loader import Loader
from services.backends.embedded.vigilance import Vigilance
from services.backends.embedded.workers import Workers
from tests.archives import write_tiny_archive
from tests.services.backends.embedded.work import BLIND

Crew = Callable[..., AbstractAsyncContextManager[tuple[Workers, "asyncio.Queue[str]"]]]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_tiny_archive(folder)
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def loader(store: Path) -> AsyncIterator[Loader]:
    running = await Loader.start(store, "float32", "cpu")
    yield running
    await running.kill()


@pytest.fixture
def crew(loader: Loader) -> Crew:
    """Makes workers that are watched, and a queue of the reasons for which they were lost."""

    @asynccontextmanager
    async def start(
        count: int = 1, vigilance: Vigilance = BLIND
    ) -> AsyncIterator[tuple[Workers, "asyncio.Queue[str]"]]:
        losses: asyncio.Queue[str] = asyncio.Queue()
        workers = Workers(lambda _: loader.fork(), vigilance, losses.put_nowait)
        for place in range(count):
            await workers.add(place)
        watching = asyncio.create_task(workers.watch())
        try:
            yield workers, losses
        finally:
            watching.cancel()
            await workers.stop()

    return start
