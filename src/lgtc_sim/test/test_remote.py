"""Bodies that another simulator moves: what the firmware promises holds for them too, whatever their attitude."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lgtc_core.fleet.fleet import DroneType
from lgtc_core.flight.battery import BatteryParams
from lgtc_sim.body import Control
from lgtc_sim.remote import RemoteBodies
from lgtc_sim.vehicle import CUT_OFF_S, LEVEL_OUT_S, Vehicles

DT_S = 0.01
LAG_S = 0.18
SPEED_MPS, CLIMB_MPS = 0.8, 0.5
turns = st.tuples(*[st.floats(-3.0, 3.0)] * 3).map(Rotation.from_rotvec)
vectors = st.tuples(*[st.floats(-2.0, 2.0)] * 3).map(np.array)


class Elsewhere:
    """One drone and the firmware's side of it; the other simulator follows velocities with a lag, nose anywhere."""

    def __init__(self, turn: Rotation | None = None) -> None:
        self.turn = turn or Rotation.identity()
        start_m = np.zeros((1, 3))
        self.bodies = RemoteBodies(start_m.copy(), np.array([SPEED_MPS]), np.array([CLIMB_MPS]), 2.0)
        airframe = DroneType(max_speed_mps=SPEED_MPS, climb_speed_mps=CLIMB_MPS)
        self.vehicles = Vehicles(["cf1"], start_m, [airframe], [BatteryParams()], body=self.bodies)
        self.position_m, self.velocity_mps, self.now_s = np.zeros(3), np.zeros(3), 0.0

    def run(self, duration_s: float, setpoint: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        for _ in range(round(duration_s / DT_S)):
            if setpoint is not None:
                self.vehicles.setpoint("cf1", self.now_s, *setpoint)
            self.now_s += DT_S
            self.vehicles.step(self.now_s, DT_S)
            twist_mps = self.turn.apply(self.bodies.twist_mps(0))
            wanted_mps = twist_mps if self.bodies.enabled[0] else np.array([0.0, 0.0, -3.0])
            self.velocity_mps = self.velocity_mps + DT_S / LAG_S * (wanted_mps - self.velocity_mps)
            self.position_m = self.position_m + DT_S * self.velocity_mps
            if self.position_m[2] < 0.0:
                self.position_m[2], self.velocity_mps = 0.0, np.zeros(3)
            own_mps = self.turn.inv().apply(self.velocity_mps)
            self.bodies.seen(0, self.position_m, self.turn.as_quat(), own_mps)

    def up(self) -> None:
        self.vehicles.arm("cf1", True)
        self.vehicles.takeoff("cf1", 1.0)
        self.run(6.0)


@given(turn=turns, velocity_mps=vectors, command_mps=vectors)
def test_what_a_body_is_told_in_its_own_frame_is_the_command_and_what_it_says_is_its_velocity(
    turn: Rotation, velocity_mps: np.ndarray, command_mps: np.ndarray
) -> None:
    bodies = Elsewhere().bodies
    bodies.seen(0, np.zeros(3), turn.as_quat(), turn.inv().apply(velocity_mps))
    bodies.command_mps[0] = command_mps
    assert bodies.velocity_mps[0] == pytest.approx(velocity_mps, abs=1e-9)
    assert turn.apply(bodies.twist_mps(0)) == pytest.approx(command_mps, abs=1e-9)


@pytest.mark.parametrize("yaw_rad", [0.0, 2.0])
def test_a_drone_flies_from_the_ground_to_a_setpoint_and_back_to_the_ground(yaw_rad: float) -> None:
    it = Elsewhere(Rotation.from_euler("z", yaw_rad))
    it.up()
    assert it.position_m == pytest.approx([0.0, 0.0, 1.0], abs=0.02)
    it.run(6.0, (np.array([1.0, -0.5, 1.0]), np.zeros(3)))
    assert it.position_m == pytest.approx([1.0, -0.5, 1.0], abs=0.02)
    it.vehicles.land("cf1")
    assert it.vehicles.control[0] == Control.STREAM  # setpoints outrank it
    it.vehicles.notify_setpoints_stop("cf1")
    it.vehicles.land("cf1")
    it.run(6.0)
    assert not it.bodies.enabled[0]
    assert it.position_m[2] == 0.0
    assert not it.vehicles.locked[0]


def test_a_drone_whose_setpoints_pause_stands_still_and_then_loses_its_rotors_for_good() -> None:
    it = Elsewhere()
    it.up()
    it.run(1.0, (np.array([5.0, 0.0, 1.0]), np.array([0.5, 0.0, 0.0])))
    it.run(LEVEL_OUT_S - 0.05)
    assert it.bodies.command_mps[0, 0] == pytest.approx(SPEED_MPS)
    it.run(0.1)
    assert it.bodies.command_mps[0] == pytest.approx(np.zeros(3))
    it.run(CUT_OFF_S - LEVEL_OUT_S - 0.1)
    assert it.bodies.enabled[0]
    it.run(0.1)
    assert not it.bodies.enabled[0]
    assert it.vehicles.locked[0]
    assert not it.vehicles.arm("cf1", True).accepted


def test_no_rotor_turns_before_arming_and_none_after_an_emergency() -> None:
    it = Elsewhere()
    assert not it.vehicles.takeoff("cf1", 1.0).accepted
    it.run(0.5, (np.array([0.0, 0.0, 1.0]), np.zeros(3)))
    assert not it.bodies.enabled[0]
    it.up()
    it.vehicles.emergency()
    it.run(DT_S)
    assert not it.bodies.enabled[0]


def test_commands_stay_within_what_the_airframe_can_do() -> None:
    it = Elsewhere()
    it.up()
    it.run(0.5, (np.array([50.0, 50.0, 9.0]), np.array([3.0, 3.0, 3.0])))
    assert np.hypot(*it.bodies.command_mps[0, :2]) == pytest.approx(SPEED_MPS)
    assert it.bodies.command_mps[0, 2] == pytest.approx(CLIMB_MPS)


def test_a_drone_on_its_back_has_tumbled() -> None:
    it = Elsewhere()
    it.up()
    it.turn = Rotation.from_euler("x", 3.0)
    it.run(0.3)
    assert it.vehicles.locked[0]
    assert not it.bodies.enabled[0]
