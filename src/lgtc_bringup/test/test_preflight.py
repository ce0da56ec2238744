"""The pre-flight gate: each thing that must not fly is refused, by its own check, with got and needed."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from lgtc_bringup import crazyswarm, preflight
from lgtc_bringup.cli import FAILED, OK, USAGE, main
from lgtc_core.fleet.fleet import build_fleet
from lgtc_core.fleet.scenario import build_scenario
from lgtc_core.fleet.team import Team, resolve
from lgtc_core.flight import gate
from lgtc_core.flight.gate import Check, Seen

FLEET: dict[str, Any] = {
    "kinds": ["battery"],
    "arena": {"half_extent_m": [2.5, 2.5]},
    "types": {"crazyflie": {}},
    "drones": {f"cf{i}": {"start_m": [0.6 * i, 0.0], "uri": f"radio://0/80/2M/E7E7E7E70{i}"} for i in (1, 2, 3)},
}
SCENARIO: dict[str, Any] = {
    "title": "one place",
    "consumers": {"a": {"position_m": [0, 1], "demand": {"battery": {"amount": 1, "depletion": "zero_depletion"}}}},
    "duration_s": 10.0,
}


def planned(**changes: Any) -> tuple[Check, ...]:
    fleet = build_fleet({**FLEET, **changes}, "fleet")
    team = resolve(fleet, build_scenario(SCENARIO, "scenario"))
    return preflight.planned(team, crazyswarm.crazyflies(fleet, fleet.drones))


def refused(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_the_generated_files_pass() -> None:
    assert refused(planned()) == []


@pytest.mark.parametrize(
    ("keys", "check"),
    [
        ({"all": {"firmware_params": {"stabilizer": {"controller": 5}}}}, "Controller"),
        ({"all": {"firmware_params": {"stabilizer": {"estimator": 1}}}}, "Estimator"),
        ({"all": {"firmware_params": {"commander": {"enHighLevel": 0}}}}, "High-level commander"),
        ({"all": {"firmware_logging": {"default_topics": {"pose": {"frequency": 1}}}}}, "Pose log"),
        ({"all": {"firmware_logging": {"default_topics": {"pose": {"frequency": 200}}}}}, "Load of radio 0"),
        ({"robots": {"cf2": {"firmware_params": {"stabilizer": {"controller": 5}}}}}, "Controller"),
        ({"robot_types": {"crazyflie": {"firmware_params": {"stabilizer": {"estimator": 1}}}}}, "Estimator"),
        ({"robots": {"cf2": {"firmware_logging": {"enabled": False}}}}, "Pose log"),
        ({"robots": {"cf2": {"enabled": False}}}, "Enabled"),
        ({"robots": {"cf2": {"uri": "radio://0/80/2M/E7E7E7E701"}}}, "Radio addresses"),
    ],
)
def test_a_users_key_that_cannot_fly_is_refused_by_its_own_check(keys: dict[str, Any], check: str) -> None:
    assert refused(planned(crazyswarm2={"crazyflies": keys})) == [check]


def test_a_drone_without_an_address_is_refused_by_name() -> None:
    drones = copy.deepcopy(FLEET["drones"])
    del drones["cf2"]["uri"]
    (check,) = [check for check in planned(drones=drones) if not check.passed]
    assert (check.name, check.got) == ("Radio addresses", "none of cf2")


def team() -> Team:
    return resolve(build_fleet(FLEET, "fleet"), build_scenario(SCENARIO, "scenario"))


def well(name: str, n: int = 150, **changes: Any) -> Seen:
    at_m = np.array([*team().drone(name).start_m, 0.0])
    values = {"positions_m": np.tile(at_m, (n, 1)), "pose_ages_s": np.full(n, 0.01), "voltage_v": 4.1, "charge": 0.99}
    return Seen(**{**values, **changes})


def observed(**cf2: Any) -> list[str]:
    seen = {"cf1": well("cf1"), "cf2": well("cf2", **cf2), "cf3": well("cf3")}
    return refused(gate.observed(team(), seen, 3.0))


def test_drones_that_stand_ready_pass() -> None:
    assert observed() == []


@pytest.mark.parametrize(
    ("cf2", "checks"),
    [
        ({"n": 10}, ["cf2: pose rate"]),
        ({"pose_ages_s": np.full(150, 0.5)}, ["cf2: pose age"]),
        ({"pose_ages_s": np.full(150, -3.0)}, ["cf2: pose age"]),
        ({"voltage_v": 3.5}, ["cf2: battery"]),
        ({"charge": 0.2}, ["cf2: battery"]),
        ({"voltage_v": math.nan, "charge": math.nan}, ["cf2: battery"]),
        ({"positions_m": np.tile([0.6, 0.1, 0.0], (150, 1))}, ["cf2: at its start place", "Apart"]),
        ({"positions_m": np.tile([1.2, 9.0, 0.0], (150, 1))}, ["cf2: inside the arena", "cf2: at its start place"]),
    ],
)
def test_a_drone_that_is_not_ready_is_refused_by_what_is_wrong_with_it(cf2: dict[str, Any], checks: list[str]) -> None:
    assert observed(**cf2) == checks


def test_a_reading_without_a_charge_is_judged_by_its_voltage() -> None:
    assert observed(charge=math.nan) == []
    assert observed(charge=math.nan, voltage_v=3.4) == ["cf2: battery"]


def test_a_drone_that_says_nothing_is_refused() -> None:
    assert refused(gate.observed(team(), {"cf1": well("cf1"), "cf3": well("cf3")}, 3.0)) == [
        "cf2: pose rate",
        "cf2: battery",
    ]


def test_the_dry_run_of_the_shipped_fleet_refuses_hardware_for_lack_of_addresses_alone(model_dir, capfd) -> None:
    assert main(["preflight", "--model", str(model_dir), "--backend", "crazyflie", "--dry-run"]) == FAILED
    out = capfd.readouterr().out
    assert out.count("FAIL") == 1
    assert "none of cf1, cf2" in " ".join(out.split())
    assert main(["preflight", "--model", str(model_dir), "--dry-run"]) == OK


def test_a_flight_that_the_gate_refuses_does_not_begin(model_dir, tmp_path, capfd) -> None:
    run_dir = tmp_path / "run"
    assert main(["sim", "--backend", "crazyflie", "--model", str(model_dir), "--run-dir", str(run_dir)]) == USAGE
    assert "Radio addresses: got none of cf1" in capfd.readouterr().err
    assert not run_dir.exists()
