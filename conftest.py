"""Settings that hold for every test of the workspace."""

import os

import pytest
from hypothesis import HealthCheck, settings

# How long one example takes says how busy the machine is, not whether the property holds.
settings.register_profile(
    "workspace", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("workspace")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under `pytest -n N --dist loadgroup`, one worker runs all tests that start nodes, one after another: two flights
    at once on two cores starve each other. All others stay together by file.
    """
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            nodes = item.get_closest_marker("ros") is not None
            item.add_marker(pytest.mark.xdist_group("nodes" if nodes else str(item.path)))
