"""What all suites share: tests of a real TorchServe are skipped, with the reason, where it cannot run."""

import pytest

from services.backends.base import BackendUnavailableError


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("torchserve")]
    if not marked:
        return
    try:
        from services.backends.torchserve_process import find_java, find_torchserve

        find_torchserve()
        find_java()
    except (ImportError, BackendUnavailableError) as error:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=str(error)))
