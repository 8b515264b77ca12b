"""One running gateway for the tests of those who call it: the client and the command line."""

from collections.abc import Iterator

import pytest

from services.gateway.server import make_backend
from tests.archives import (
    write_tiny_archive,
    write_tiny_attribute_archive,
    write_tiny_code_archive,
    write_tiny_one_way_archive,
    write_tiny_translation_archive,
    write_tiny_unconditional_archive,
)
from tests.conformance.harness import EventLoop, embedded_settings, serving


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a gateway with models of every sort, of `tiny` two versions, and one refused archive."""
    store = tmp_path_factory.mktemp("store")
    write_tiny_archive(store)
    write_tiny_archive(store, version="1.1.0", seed=1)
    write_tiny_archive(store, "rgb", "2.0.0", channels=3)
    write_tiny_code_archive(store)
    write_tiny_translation_archive(store)
    write_tiny_unconditional_archive(store)
    write_tiny_attribute_archive(store)
    write_tiny_one_way_archive(store)
    (store / "garbage.mar").write_bytes(b"PK, but not a zip")
    settings = embedded_settings(store)
    loop = EventLoop()
    try:
        with serving(loop, settings, make_backend(settings)) as served:
            yield f"127.0.0.1:{served.gateway.port}"
    finally:
        loop.close()
