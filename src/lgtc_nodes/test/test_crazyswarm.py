"""The adapter to crazyswarm2: what it sends has the fields and the units of crazyflie_interfaces."""

from __future__ import annotations

import importlib.util
from unittest.mock import MagicMock

import numpy as np
import pytest
from builtin_interfaces.msg import Duration as RosDuration
from hypothesis import given
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.team import DroneSpec
from lgtc_core.flight.reference import Setpoint
from lgtc_nodes import crazyswarm
from lgtc_nodes.conversions import to_ros


@given(st.floats(0.0, 1000.0))
def test_a_duration_is_whole_seconds_and_less_than_a_second_of_nanoseconds(seconds: float) -> None:
    message = to_ros(RosDuration, crazyswarm.duration(seconds))
    assert 0 <= message.nanosec < 1_000_000_000
    assert message.sec + message.nanosec / 1e9 == pytest.approx(seconds, abs=2e-9)


def test_a_missing_package_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"no package crazyflie_nowhere.*crazyswarm2"):
        crazyswarm._interface("crazyflie_nowhere.msg", "FullState")


def test_a_full_state_is_upright_and_carries_position_velocity_and_acceleration() -> None:
    if importlib.util.find_spec("crazyflie_interfaces") is None:
        pytest.skip("crazyflie_interfaces is not installed: build crazyswarm2 beside this workspace and source it")
    setpoint = Setpoint(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]))
    kind = crazyswarm._interface("crazyflie_interfaces.msg", "FullState")
    message = to_ros(kind, crazyswarm.full_state(setpoint, np.array([4.0, 5.0, 6.0]), 7.5))
    at, velocity, acceleration, turn = (
        message.pose.position,
        message.twist.linear,
        message.acc,
        message.pose.orientation,
    )
    assert (at.x, at.y, at.z) == (1.0, 2.0, 3.0)
    assert (velocity.x, velocity.y, velocity.z) == (0.1, 0.2, 0.3)
    assert (acceleration.x, acceleration.y, acceleration.z) == (4.0, 5.0, 6.0)
    assert (turn.x, turn.y, turn.z, turn.w) == (0.0, 0.0, 0.0, 1.0)
    assert message.header.stamp.sec + message.header.stamp.nanosec / 1e9 == 7.5


@pytest.mark.parametrize(
    ("info", "in_general", "for_take_off"),
    [
        (1, "", "not armed"),
        (2, "", "unable to fly"),
        (2 | 8, "", ""),
        (2 | 8 | 16, "", ""),
        (2 | 8 | 32, "tumbled", "tumbled"),
        (2 | 8 | 64, "locked", "locked"),
        (0, "", "not armed"),
    ],
)
def test_only_an_armed_drone_that_is_neither_tumbled_nor_locked_takes_off(
    info: int, in_general: str, for_take_off: str
) -> None:
    assert crazyswarm.unfit(info) == in_general
    assert crazyswarm.unfit(info, to_fly=True) == for_take_off


def test_the_bits_are_those_of_crazyflie_interfaces() -> None:
    if importlib.util.find_spec("crazyflie_interfaces") is None:
        pytest.skip("crazyflie_interfaces is not installed: build crazyswarm2 beside this workspace and source it")
    status = crazyswarm._interface("crazyflie_interfaces.msg", "Status")
    assert crazyswarm.IS_ARMED == status.SUPERVISOR_INFO_IS_ARMED
    assert crazyswarm.CAN_FLY == status.SUPERVISOR_INFO_CAN_FLY
    assert crazyswarm.IS_TUMBLED == status.SUPERVISOR_INFO_IS_TUMBLED
    assert crazyswarm.IS_LOCKED == status.SUPERVISOR_INFO_IS_LOCKED
    assert crazyswarm.PM_SHUTDOWN == status.PM_STATE_SHUTDOWN


def test_what_a_server_lacks_is_told_once_however_long_the_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crazyswarm, "_interface", lambda module, name: MagicMock())
    node = MagicMock(server_ready=True)
    node.team.drone.return_value = DroneSpec(name="cf1", type="crazyflie", start_m=(0.0, 0.0), supply=(1.0,))
    node.create_client.return_value.service_is_ready.return_value = False
    drone = crazyswarm._Drone(node, "cf1")
    for step in range(300):
        drone.simulate_cell(0.2 * step, 0.2)
        assert drone._arm(on=True)["success"]
    told = [call.args[0] for call in node.get_logger().warning.call_args_list] + node.tell.call_args_list
    assert told == [
        "cf1: the server has no status: its battery is simulated here",
        "cf1: the server has no arm service: taken as armed",
    ]
