"""One real archive for all tests of the worker: exporting it is the slow part."""

from pathlib import Path

import pytest

from services.worker.archive import Archive, open_archive
from tests.archives import write_tiny_archive


@pytest.fixture(scope="session")
def tiny_mar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.mar` file; not to be changed."""
    return write_tiny_archive(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def tiny_archive(tiny_mar: Path) -> Archive:
    """The same archive, opened."""
    return open_archive(tiny_mar)
