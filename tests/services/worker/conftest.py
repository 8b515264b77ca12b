"""One real archive of each kind for all tests of the worker: exporting them is the slow part."""

from pathlib import Path

import pytest

from services.worker.archive import Archive, open_archive
from tests.archives import (
    write_tiny_archive,
    write_tiny_attribute_archive,
    write_tiny_code_archive,
    write_tiny_one_way_archive,
    write_tiny_translation_archive,
    write_tiny_unconditional_archive,
)


@pytest.fixture(scope="session")
def tiny_mar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.mar` file of a class-conditional model; not to be changed."""
    return write_tiny_archive(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def tiny_archive(tiny_mar: Path) -> Archive:
    """The same archive, opened."""
    return open_archive(tiny_mar)


@pytest.fixture(scope="session")
def tiny_program(tiny_archive: Archive) -> bytes:
    """Its graph."""
    return tiny_archive.graphs["model.pt2"]


@pytest.fixture(scope="session")
def code_mar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.mar` file of a code-conditional model; not to be changed."""
    return write_tiny_code_archive(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def plain_archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of a model that takes a latent alone."""
    return open_archive(write_tiny_unconditional_archive(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="session")
def attribute_archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of a model with the attributes "smile" and "age"."""
    return open_archive(write_tiny_attribute_archive(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="session")
def one_way_archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of a model that translates from its domain A to B, and not back."""
    return open_archive(write_tiny_one_way_archive(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="session")
def translation_mar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.mar` file of a translation model; not to be changed."""
    return write_tiny_translation_archive(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def translation_archive(translation_mar: Path) -> Archive:
    """The same archive, opened."""
    return open_archive(translation_mar)
