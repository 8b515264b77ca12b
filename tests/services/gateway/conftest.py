"""A real gateway on free ports, over a backend that tests drive."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.gateway.server import Gateway
from services.gateway.settings import Settings
from tests.archives import write_tiny_archive
from tests.services.gateway.bench import Bench
from tests.services.gateway.cards import tiny_card
from tests.services.gateway.fakes import DrivenBackend, settled


@pytest.fixture
def backend() -> DrivenBackend:
    return DrivenBackend(tiny_card(), tiny_card(version="1.1.0"), answers_at_once=True)


@pytest.fixture
def settings() -> Settings:
    return Settings(port=0, metrics_port=0, max_images=1000, drain_seconds=5)


@pytest_asyncio.fixture
async def gateway(backend: DrivenBackend, settings: Settings) -> AsyncIterator[Gateway]:
    async with Gateway(settings, backend) as gateway:
        yield gateway


@pytest.fixture
def tiny_store(tmp_path: Path) -> Path:
    """A model store with one real archive."""
    write_tiny_archive(tmp_path)
    return tmp_path


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.scheduler.start()
    yield bench
    # Whatever is still away comes back, else the scheduler could not stop.
    stopping = asyncio.create_task(bench.scheduler.stop())
    while not stopping.done():
        await settled()
        while not bench.backend.away.empty():
            bench.backend.away.get_nowait()
        for envelope in bench.backend.envelopes:
            if not envelope.outcome.done():
                envelope.come_back()
    await stopping
