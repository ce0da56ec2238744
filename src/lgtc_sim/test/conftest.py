"""A small team for offline flights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lgtc_core.fleet.fleet import build_fleet
from lgtc_core.fleet.scenario import build_scenario
from lgtc_core.fleet.team import Team, resolve

FLEET: dict[str, Any] = {
    "kinds": ["battery", "parcel"],
    "arena": {"half_extent_m": [2.5, 2.5], "flight_height_m": 0.6},
    "types": {"crazyflie": {"safety_distance_m": 0.25}},
    "drones": {f"cf{i}": {"start_m": [x_m, 0.0]} for i, x_m in enumerate((-1.0, -0.3, 0.4, 1.1), start=1)},
}
SCENARIO: dict[str, Any] = {
    "title": "Four drones, three places",
    "consumers": {
        "west": {"position_m": [-1.5, 0.8], "demand": {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}},
        "east": {"position_m": [1.5, 0.8], "demand": {"parcel": {"amount": 0.5, "depletion": "instantaneous"}}},
        "south": {"position_m": [0.0, -1.5], "demand": {"parcel": {"amount": 0.7, "depletion": "instantaneous"}}},
    },
    "supplies": {"all": {"parcel": 0.3}, "cf1": {"parcel": 0.0}},
    "duration_s": 10.0,
    "seed": 7,
}


@pytest.fixture
def make_team() -> Callable[..., Team]:
    """Builds the team above; keyword arguments replace keys of the scenario, `fleet` those of the fleet."""

    def make(fleet: dict[str, Any] | None = None, **scenario: Any) -> Team:
        return resolve(build_fleet(FLEET | (fleet or {}), "fleet"), build_scenario(SCENARIO | scenario, "scenario"))

    return make
