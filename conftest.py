"""Settings that hold for every test of the workspace."""

import os

from hypothesis import HealthCheck, settings

# How long one example takes says how busy the machine is, not whether the property holds.
settings.register_profile(
    "workspace", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("workspace")
