"""What all suites share: steady property tests, and a skip with the reason where TorchServe cannot run."""

import pytest
from hypothesis import settings

from services.backends.base import BackendUnavailableError

# The same examples every time, and no limit on their time: what passes once passes again, on a busy machine too.
settings.register_profile("gantry", derandomize=True, deadline=None)
settings.load_profile("gantry")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("torchserve")]
    if not marked:
        return
    try:
        from services.backends.torchserve.installed import find_java, find_torchserve

        find_torchserve()
        find_java()
    except (ImportError, BackendUnavailableError) as error:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=str(error)))
