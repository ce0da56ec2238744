"""Simulated vehicles move within their limits and obey, or stop obeying, as the firmware does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.errors import InputError
from lgtc_core.fleet.fleet import DroneType
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.flight.battery import BatteryParams
from lgtc_sim.body import Control
from lgtc_sim.vehicle import VehicleParams, Vehicles

DT_S = 0.01
DRONE = DroneType(max_speed_mps=0.8, climb_speed_mps=0.5)
EVERY_MODEL = pytest.mark.parametrize("model", list(VehicleModel), ids=lambda model: model.value)
TRACKING_M = {VehicleModel.KINEMATIC: 1e-6, VehicleModel.SECOND_ORDER: 0.01, VehicleModel.CRAZYFLIE: 0.1}
"""How far a hovering vehicle may be from its height: Mellinger's default mass is not the drone's, so it sags."""


def vehicles(n: int = 1, model: VehicleModel = VehicleModel.KINEMATIC, **params: float) -> Vehicles:
    start_m = [[float(i), 0.0, 0.0] for i in range(n)]
    names = [f"cf{i + 1}" for i in range(n)]
    quiet = {"estimate_sd_m": 0.0, "estimate_sd_mps": 0.0}
    return Vehicles(names, start_m, [DRONE] * n, [BatteryParams()] * n, VehicleParams(**quiet | params), model)


class Clock:
    """Steps vehicles and knows the time."""

    def __init__(self, world: Vehicles) -> None:
        self.world, self.now_s = world, 0.0

    def run(self, duration_s: float) -> None:
        for _ in range(round(duration_s / DT_S)):
            self.now_s += DT_S
            self.world.step(self.now_s, DT_S)

    def stream(self, duration_s: float, velocity_mps: list[float]) -> None:
        """Setpoints at 50 Hz whose position is the velocity's integral."""
        reference_m = self.world.position_m[0].copy()
        for _ in range(round(duration_s / 0.02)):
            reference_m = reference_m + 0.02 * np.array(velocity_mps)
            assert self.world.setpoint("cf1", self.now_s, reference_m, velocity_mps).accepted
            self.run(0.02)


def flying(model: VehicleModel = VehicleModel.KINEMATIC) -> Clock:
    clock = Clock(vehicles(model=model))
    clock.world.arm("cf1", True)
    assert clock.world.takeoff("cf1", 1.0).accepted
    clock.run(6.0)
    return clock


def test_a_take_off_reaches_its_height_at_climb_speed_and_stays_there() -> None:
    clock = Clock(vehicles())
    clock.world.arm("cf1", True)
    clock.world.takeoff("cf1", 1.0)
    clock.run(1.0)
    assert clock.world.position_m[0, 2] == pytest.approx(0.5, abs=0.01)
    clock.run(5.0)
    np.testing.assert_allclose(clock.world.position_m[0], [0.0, 0.0, 1.0], atol=1e-9)


@EVERY_MODEL
def test_without_arming_nothing_takes_off(model: VehicleModel) -> None:
    clock = Clock(vehicles(model=model))
    answer = clock.world.takeoff("cf1", 1.0)
    clock.run(3.0)
    assert not answer.accepted
    assert "not armed" in answer.message
    assert clock.world.position_m[0, 2] == 0.0


@EVERY_MODEL
def test_landing_ends_on_the_ground_with_motors_off_and_unlocked(model: VehicleModel) -> None:
    clock = flying(model)
    assert clock.world.land("cf1").accepted
    clock.run(3.0)
    assert clock.world.position_m[0, 2] == 0.0
    assert clock.world.control[0] == Control.OFF
    assert not clock.world.locked[0]


@given(
    st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3),
    st.sampled_from([VehicleModel.KINEMATIC, VehicleModel.SECOND_ORDER]),
)
@settings(max_examples=25, deadline=None)
def test_no_setpoint_makes_a_point_mass_faster_than_its_airframe(
    velocity_mps: list[float], model: VehicleModel
) -> None:
    clock = Clock(vehicles(model=model))
    clock.world.arm("cf1", True)
    clock.world.takeoff("cf1", 1.0)
    clock.run(3.0)
    for _ in range(50):
        clock.world.setpoint("cf1", clock.now_s, np.array(velocity_mps) * 10.0, velocity_mps)
        clock.run(0.02)
        assert np.linalg.norm(clock.world.velocity_mps[0, :2]) <= DRONE.max_speed_mps + 1e-9
        assert abs(clock.world.velocity_mps[0, 2]) <= DRONE.climb_speed_mps + 1e-9
        assert clock.world.position_m[0, 2] >= 0.0


def test_without_lag_it_is_the_papers_single_integrator() -> None:
    clock = flying()
    before_m = clock.world.position_m[0].copy()
    clock.stream(2.0, [0.3, -0.2, 0.0])
    np.testing.assert_allclose(clock.world.position_m[0] - before_m, [0.6, -0.4, 0.0], atol=0.02)


def test_with_lag_the_velocity_is_reached_to_63_percent_after_one_time_constant() -> None:
    clock = Clock(vehicles(model=VehicleModel.SECOND_ORDER, velocity_lag_s=0.2, position_gain_per_s=0.0))
    clock.world.arm("cf1", True)
    clock.stream(0.2, [0.5, 0.0, 0.0])
    assert clock.world.velocity_mps[0, 0] == pytest.approx(0.5 * (1.0 - math.exp(-1.0)), rel=0.05)


@given(st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_no_setpoint_makes_a_second_order_vehicle_accelerate_beyond_its_airframe(velocity_mps: list[float]) -> None:
    clock = Clock(vehicles(model=VehicleModel.SECOND_ORDER, velocity_lag_s=0.02))
    clock.world.arm("cf1", True)
    clock.world.takeoff("cf1", 1.0)
    clock.run(3.0)
    for sign in (1.0, -1.0, 1.0):
        for _ in range(10):
            before_mps = clock.world.velocity_mps[0].copy()
            clock.world.setpoint("cf1", clock.now_s, clock.world.position_m[0], sign * np.array(velocity_mps))
            clock.run(DT_S)
            change_mps2 = (clock.world.velocity_mps[0] - before_mps) / DT_S
            assert np.linalg.norm(change_mps2[:2]) <= DRONE.max_acceleration_mps2 + 1e-6
            assert abs(change_mps2[2]) <= DRONE.max_acceleration_mps2 + 1e-6


@EVERY_MODEL
def test_several_setpoints_at_once_are_what_each_alone_is(model: VehicleModel) -> None:
    one, many = vehicles(3, model), vehicles(3, model)
    for world in (one, many):
        world.arm("cf1", True)
        world.arm("cf3", True)
    target_m, velocity_mps = np.arange(9.0).reshape(3, 3), np.full((3, 3), 0.1)
    alone = [
        one.setpoint(name, 0.0, *pair).accepted for name, *pair in zip(one.names, target_m, velocity_mps, strict=True)
    ]
    together = many.setpoints(np.ones(3, np.bool_), 0.0, target_m, velocity_mps)
    assert together.tolist() == alone == [True, False, True]
    for step in range(1, 100):
        for world in (one, many):
            world.step(step * DT_S, DT_S)
    np.testing.assert_array_equal(one.position_m, many.position_m)


@EVERY_MODEL
def test_streamed_setpoints_outrank_landing_until_notify_setpoints_stop(model: VehicleModel) -> None:
    clock = flying(model)
    clock.stream(0.5, [0.0, 0.0, 0.0])
    assert "outrank" in clock.world.land("cf1").message
    clock.stream(2.0, [0.0, 0.0, 0.0])
    assert clock.world.position_m[0, 2] == pytest.approx(1.0, abs=TRACKING_M[model])
    clock.world.notify_setpoints_stop("cf1")
    clock.world.land("cf1")
    clock.run(3.0)
    assert clock.world.position_m[0, 2] == 0.0
    assert not clock.world.locked[0]


@EVERY_MODEL
def test_half_a_second_without_setpoints_it_levels_out_and_drifts_at_its_height(model: VehicleModel) -> None:
    clock = flying(model)
    clock.stream(1.0, [0.5, 0.0, 0.0])
    clock.run(0.45)
    at_m, speed_mps = clock.world.position_m[0].copy(), clock.world.velocity_mps[0, 0]
    clock.run(1.0)
    assert 0.0 < clock.world.velocity_mps[0, 0] < speed_mps
    assert clock.world.position_m[0, 0] > at_m[0]
    assert clock.world.position_m[0, 2] == pytest.approx(at_m[2], abs=TRACKING_M[model])


@EVERY_MODEL
def test_two_seconds_without_setpoints_it_falls_and_is_locked(model: VehicleModel) -> None:
    clock = flying(model)
    clock.stream(1.0, [0.0, 0.0, 0.0])
    clock.run(1.95)
    assert not clock.world.locked[0]
    clock.run(1.0)
    assert clock.world.locked[0]
    assert clock.world.position_m[0, 2] == 0.0
    assert not clock.world.arm("cf1", True).accepted
    assert not clock.world.setpoint("cf1", clock.now_s, [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]).accepted


@EVERY_MODEL
def test_a_setpoint_before_the_deadline_takes_the_stream_up_again(model: VehicleModel) -> None:
    clock = flying(model)
    clock.stream(1.0, [0.0, 0.0, 0.0])
    clock.run(1.5)
    clock.stream(3.0, [0.0, 0.0, 0.0])
    assert not clock.world.locked[0]
    assert clock.world.position_m[0, 2] == pytest.approx(1.0, abs=TRACKING_M[model])


@EVERY_MODEL
def test_hovering_under_the_high_level_commander_has_no_deadline(model: VehicleModel) -> None:
    clock = flying(model)
    clock.run(10.0)
    assert not clock.world.locked[0]
    assert clock.world.position_m[0, 2] == pytest.approx(1.0, abs=TRACKING_M[model])


@EVERY_MODEL
def test_an_empty_cell_shuts_the_vehicle_down_after_five_seconds(model: VehicleModel) -> None:
    clock = flying(model)
    clock.world.set_charge("cf1", 0.0)
    clock.run(4.8)
    assert not clock.world.locked[0]
    clock.run(1.5)
    assert clock.world.locked[0]
    assert clock.world.position_m[0, 2] == 0.0


@EVERY_MODEL
def test_a_drone_emptied_in_flight_reaches_the_ground_before_it_shuts_down(model: VehicleModel) -> None:
    clock = flying(model)
    clock.world.set_charge("cf1", 0.0)
    clock.run(1.0)  # the monitor's dwell and one order
    clock.world.land("cf1")
    clock.run(5.0)
    assert not clock.world.locked[0]
    assert clock.world.position_m[0, 2] == 0.0


@EVERY_MODEL
def test_each_drone_is_discharged_by_what_it_does(model: VehicleModel) -> None:
    world = vehicles(2, model)
    clock = Clock(world)
    world.arm("cf1", True)
    world.takeoff("cf1", 1.0)
    clock.run(30.0)
    assert world.charge[0] < world.charge[1] < 1.0
    assert world.voltage_v[0] < world.voltage_v[1]


@EVERY_MODEL
def test_emergency_cuts_all_motors_at_once(model: VehicleModel) -> None:
    world = vehicles(3, model)
    clock = Clock(world)
    for name in world.names:
        world.arm(name, True)
        world.takeoff(name, 1.0)
    clock.run(3.0)
    world.emergency()
    clock.run(1.0)
    assert world.locked.all()
    np.testing.assert_array_equal(world.position_m[:, 2], 0.0)


@EVERY_MODEL
def test_a_vehicle_stepped_among_others_moves_as_it_does_alone(model: VehicleModel) -> None:
    alone, team = Clock(vehicles(1, model)), Clock(vehicles(4, model))
    for clock in (alone, team):
        for name in clock.world.names:
            clock.world.arm(name, True)
            clock.world.takeoff(name, 1.0)
        clock.run(2.0)
        clock.stream(1.0, [0.4, 0.1, 0.0])
    np.testing.assert_array_equal(alone.world.position_m[0], team.world.position_m[0])
    assert alone.world.charge[0] == team.world.charge[0]


@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [0.0, 0.0]])
def test_an_unusable_setpoint_is_refused_and_changes_nothing(bad: list[float]) -> None:
    clock = flying()
    before_m = clock.world.position_m[0].copy()
    with pytest.raises(InputError):
        clock.world.setpoint("cf1", clock.now_s, bad, [0.0, 0.0, 0.0])
    clock.run(1.0)
    np.testing.assert_allclose(clock.world.position_m[0], before_m)


def test_an_unknown_drone_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="cf9"):
        vehicles().arm("cf9", True)


def test_a_charger_fills_the_cell_on_the_ground_alone() -> None:
    battery = BatteryParams(charge_current_a=0.5)
    clock = Clock(Vehicles(["cf1"], [[0.0, 0.0, 0.0]], [DRONE], [battery], VehicleParams()))
    clock.world.set_charge("cf1", 0.5)
    clock.run(10.0)
    assert clock.world.charge[0] == pytest.approx(0.5 + 0.5 * 10.0 / 3.6 / battery.capacity_mah, rel=1e-3)
    assert clock.world.voltage_v[0] > BatteryParams().resistance_ohm * 0.5 + 3.9
    charged = clock.world.charge[0]
    clock.world.arm("cf1", True)
    clock.world.takeoff("cf1", 1.0)
    clock.run(10.0)
    assert clock.world.charge[0] < charged
