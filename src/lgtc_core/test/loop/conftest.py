"""Parts of one drone, and what they hear."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.fleet.fleet import build_fleet
from lgtc_core.fleet.scenario import build_scenario
from lgtc_core.fleet.team import Team, resolve
from lgtc_core.flight.phases import MissionPhase, Tier, VehiclePhase
from lgtc_core.wire import BatteryReading, MissionReport, Pose, Resources, VehicleReport


class Words:
    """Messages of a drone's surroundings at a time, in order unless told otherwise."""

    def pose(self, now_s: float, x_m: float = 0.0, z_m: float = 1.0) -> Pose:
        return Pose(now_s, np.array([x_m, 0.0, z_m]))

    def mission(self, now_s: float, phase: MissionPhase = MissionPhase.ACTIVE) -> MissionReport:
        return MissionReport(now_s, phase, now_s, "")

    def vehicle(self, now_s: float, phase: VehiclePhase = VehiclePhase.FLYING) -> VehicleReport:
        return VehicleReport(now_s, phase, "", np.zeros(3), 0.0)

    def battery(self, now_s: float, charge: float = 1.0, voltage_v: float = 4.0) -> BatteryReading:
        return BatteryReading(now_s, voltage_v, charge)

    def resources(self, now_s: float, tier: Tier = Tier.OK, supply: tuple[float, ...] = (1.0, 0.5)) -> Resources:
        return Resources(
            now_s, ("battery", "parcel"), np.array(supply), np.zeros(3), True, 4.0, 1.0, math.nan, tier, ""
        )

    def demand(self, revision: int = 1, remaining: tuple[float, float] = (0.0, 0.5)) -> DemandView:
        place = ConsumerView(
            "here", 0, np.zeros(2), 0.55, np.array([0.5, 0.5]), np.array(remaining), np.array([1, 0]), ()
        )
        return DemandView(revision, ("battery", "parcel"), (place,))


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
def team() -> Team:
    fleet: dict[str, Any] = {
        "kinds": ["battery", "parcel"],
        "arena": {"half_extent_m": [2.5, 2.5]},
        "types": {"crazyflie": {}},
        "drones": {"cf1": {"start_m": [0.0, 0.0]}, "cf2": {"start_m": [1.0, 0.0]}},
    }
    demand = {"parcel": {"amount": 0.5, "depletion": "instantaneous"}}
    scenario: dict[str, Any] = {
        "title": "one place",
        "consumers": {"here": {"position_m": [0.0, 0.0], "demand": demand}},
        "supplies": {"all": {"parcel": 0.5}},
        "duration_s": 10.0,
    }
    return resolve(build_fleet(fleet, "fleet"), build_scenario(scenario, "scenario"))
