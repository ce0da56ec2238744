"""The files for crazyswarm2: every drone in them, the user's keys on top, addresses checked, the radio reckoned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lgtc_bringup import crazyswarm
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import Fleet, build_fleet

FLEET: dict[str, Any] = {
    "kinds": ["battery"],
    "arena": {"half_extent_m": [2.5, 2.5]},
    "types": {"crazyflie": {}, "bolt": {"max_speed_mps": 0.5}},
    "default_type": "crazyflie",
    "drones": {
        f"cf{i}": {"type": kind, "start_m": [i - 2.0, 0.5], "uri": f"radio://{i % 2}/80/2M/E7E7E7E70{i}"}
        for i, kind in enumerate(["crazyflie", "bolt", "crazyflie"], start=1)
    },
}


def fleet(**changes: Any) -> Fleet:
    return build_fleet({**FLEET, **changes}, "fleet.yaml")


def written(made: Fleet, names: tuple[str, ...] = ("cf1", "cf2", "cf3")) -> dict[str, Any]:
    return {path.name: yaml.safe_load(text) for path, text in crazyswarm.files(made, names, Path("x")).items()}


def test_every_drone_that_flies_is_in_the_files_with_its_address_place_and_type_and_no_other() -> None:
    files = written(fleet(), ("cf1", "cf2"))
    robots = files["crazyflies.yaml"]["robots"]
    assert list(robots) == ["cf1", "cf2"]
    assert robots["cf2"] == {
        "enabled": True, "uri": "radio://0/80/2M/E7E7E7E702", "initial_position": [0.0, 0.5, 0.0], "type": "bolt",
    }  # fmt: skip
    assert {robot["type"] for robot in robots.values()} == set(files["crazyflies.yaml"]["robot_types"])
    (bodies,) = [node["ros__parameters"]["rigid_bodies"] for node in files["motion_capture.yaml"].values()]
    assert list(bodies) == list(robots)


def test_what_the_files_refer_to_is_defined_in_them() -> None:
    files = written(fleet())
    (capture,) = [node["ros__parameters"] for node in files["motion_capture.yaml"].values()]
    kinds = files["crazyflies.yaml"]["robot_types"].values()
    assert {kind["motion_capture"]["marker"] for kind in kinds} <= set(capture["marker_configurations"])
    assert {kind["motion_capture"]["dynamics"] for kind in kinds} <= set(capture["dynamics_configurations"])
    parameters = files["crazyflies.yaml"]["all"]["firmware_params"]["stabilizer"]
    assert parameters == {"estimator": crazyswarm.KALMAN, "controller": crazyswarm.MELLINGER}


def test_a_users_key_wins_and_leaves_its_neighbours_alone() -> None:
    own = {
        "crazyflies": {"robot_types": {"bolt": {"big_quad": True}}, "robots": {"tag7": {"enabled": False}}},
        "server": {"sim": {"backend": "none"}},
        "motion_capture": {"type": "vicon", "hostname": "10.0.0.7"},
    }
    files = written(fleet(crazyswarm2=own))
    bolt = files["crazyflies.yaml"]["robot_types"]["bolt"]
    assert bolt["big_quad"] is True
    assert bolt["motion_capture"]["tracking"] == "librigidbodytracker"
    assert "tag7" in files["crazyflies.yaml"]["robots"]
    (server,) = [node["ros__parameters"] for node in files["server.yaml"].values()]
    assert (server["sim"]["backend"], server["sim"]["controller"]) == ("none", "mellinger")
    (capture,) = [node["ros__parameters"] for node in files["motion_capture.yaml"].values()]
    assert (capture["type"], capture["hostname"]) == ("vicon", "10.0.0.7")


def test_two_drones_at_one_radio_address_are_refused_by_name() -> None:
    twins = {name: {**drone, "uri": "radio://0/80/2M/E7E7E7E701"} for name, drone in FLEET["drones"].items()}
    with pytest.raises(ConfigError, match=r"drones\.cf2\.uri.*cf1"):
        fleet(drones=twins)


@pytest.mark.parametrize("uri", ["radio://0/80/2M", "radio://x/80/2M/E7E7E7E701", "E7E7E7E701"])
def test_an_address_that_is_none_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(ConfigError, match="radio://0/80/2M/E7E7E7E701"):
        crazyswarm.radio_of(uri)


def test_the_load_of_a_radio_is_that_of_its_drones() -> None:
    content = written(fleet())["crazyflies.yaml"]
    for command_period_s in (0.02, 0.05):
        each = 1.0 / command_period_s + crazyswarm.POSE_HZ + crazyswarm.STATUS_HZ
        assert crazyswarm.radio_load_per_s(content, command_period_s) == pytest.approx({1: 2 * each, 0: each})


def test_a_drone_beyond_the_fleets_list_is_generated_and_can_be_simulated_only() -> None:
    robots = written(fleet(), ("cf1", "cf2", "cf3", "cf4"))["crazyflies.yaml"]["robots"]
    assert robots["cf4"]["uri"] == "usb://0"
    with pytest.raises(ConfigError, match="cf9"):
        written(fleet(), ("cf9",))
