"""The gate of a team that stands by: who is in order may fly, and who is not is told by name with got and needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lgtc_core.fleet.fleet import build_fleet
from lgtc_core.fleet.scenario import build_scenario
from lgtc_core.fleet.team import Team, resolve
from lgtc_core.flight.gate import LISTEN_S, POSE_AGE_S, POSE_HZ, Gate
from lgtc_core.wire import BatteryReading, Pose

STARTS_M = {"cf1": (-1.0, 0.0), "cf2": (0.0, 0.0), "cf3": (1.0, 0.0)}


@pytest.fixture
def team() -> Team:
    fleet = {
        "kinds": ["battery"],
        "arena": {"half_extent_m": [2.5, 2.5]},
        "types": {"crazyflie": {}},
        "drones": {name: {"start_m": list(at_m)} for name, at_m in STARTS_M.items()},
    }
    demand = {"battery": {"amount": 1, "depletion": "zero_depletion"}}
    scenario = {"title": "t", "consumers": {"a": {"position_m": [0, 1], "demand": demand}}, "duration_s": 10.0}
    return resolve(build_fleet(fleet, "fleet"), build_scenario(scenario, "scenario"))


def listened(
    team: Team, *, hz: float = 20.0, until_s: float = 100.0, age_s: float = 0.02, volts: float | None = 4.1, **cf2: Any
) -> Gate:
    """A gate that has listened for `LISTEN_S`; what is given is true of cf2 alone."""
    gate = Gate(team, simulated=True)
    for name, (x_m, y_m) in STARTS_M.items():
        mine = name == "cf2"
        rate_hz = hz if mine else 20.0
        at_m = np.array(cf2.get("at_m", (x_m, y_m)) if mine else (x_m, y_m))
        for k in range(round(rate_hz * LISTEN_S)):
            came_s = until_s - k / rate_hz
            gate.pose(name, came_s, Pose(came_s - (age_s if mine else 0.02), np.array([*at_m, 0.0])))
        if not mine or volts is not None:
            reading_v = volts if mine and volts is not None else 4.1
            gate.battery(name, BatteryReading(until_s, reading_v, cf2.get("charge", 1.0) if mine else 1.0))
    return gate


def test_nobody_objects_to_a_team_that_is_in_order(team: Team) -> None:
    assert listened(team).objections(100.0, 1) == {}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"hz": POSE_HZ - 1.0}, "pose rate: got 9 Hz; needed at least 10 Hz"),
        ({"age_s": POSE_AGE_S + 0.1}, "pose age: got 0.300 s"),
        ({"age_s": -1.7e9}, "check whose clock stamps them"),
        ({"volts": 3.2}, "battery: got 3.20 V"),
        ({"charge": 0.1}, "battery: got 4.10 V, 10%"),
        ({"volts": None}, "battery: got no reading"),
        ({"at_m": (0.0, 0.4)}, "start place: got 0.40 m away"),
        ({"at_m": (0.0, 2.6)}, "inside the arena: got (0.00, 2.60) m"),
    ],
)
def test_a_drone_that_is_not_in_order_is_told_with_got_and_needed_and_no_other_is(
    team: Team, what: dict[str, Any], words: str
) -> None:
    objections = listened(team, **what).objections(100.0, 1)
    assert set(objections) == {"cf2"}
    assert words in objections["cf2"]


def test_two_that_stand_too_close_are_both_told(team: Team) -> None:
    objections = listened(team, at_m=(0.8, 0.0)).objections(100.0, 1)
    assert set(objections) == {"cf2", "cf3"}
    assert "Apart: got 0.20 m (cf2 and cf3); needed at least 0.25 m" in objections["cf3"]


def test_a_drone_that_has_fallen_silent_is_told_although_it_was_in_order(team: Team) -> None:
    gate = listened(team)
    assert set(gate.objections(100.0 + 2.0 * LISTEN_S, 1)) == set(STARTS_M)


@pytest.mark.parametrize(("simulated", "speakers"), [(True, 0), (True, 2), (False, 1)])
def test_nobody_flies_by_a_clock_that_nobody_or_more_than_one_tells(team: Team, simulated: bool, speakers: int) -> None:
    gate = listened(team)
    gate.simulated = simulated
    objections = gate.objections(100.0, speakers)
    assert set(objections) == set(STARTS_M)
    assert all(why.startswith("Clock source") for why in objections.values())
