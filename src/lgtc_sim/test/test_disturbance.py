"""Wind, lag and deafness act on whom they concern, as their table says, and leave nothing behind."""

from __future__ import annotations

import numpy as np
import pytest

from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.fleet.fleet import DroneType
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.flight.battery import BatteryParams
from lgtc_sim.body import Control
from lgtc_sim.vehicle import CUT_OFF_S, Vehicles

DT_S = 0.01
ANY_MODEL = pytest.mark.parametrize("model", list(VehicleModel))


def hovering(model: VehicleModel) -> Vehicles:
    """Two vehicles 2 m apart that stream at 1 m."""
    airframes = [DroneType(), DroneType()]
    starts = [(-1.0, 0.0, 0.0), (1.0, 0.0, 0.0)]
    vehicles = Vehicles(("cf1", "cf2"), starts, airframes, [BatteryParams()] * 2, model=model)
    for name in vehicles.names:
        vehicles.arm(name, True)
        vehicles.takeoff(name, 1.0)
    fly(vehicles, 4.0, stream=False)
    fly(vehicles, 1.0)
    return vehicles


def fly(
    vehicles: Vehicles,
    duration_s: float,
    towards_mps: tuple[float, float, float] = (0.0, 0.0, 0.0),
    stream: bool = True,
) -> None:
    reference_m = np.array([(-1.0, 0.0, 1.0), (1.0, 0.0, 1.0)])
    for _ in range(round(duration_s / DT_S)):
        clock.now_s += DT_S
        if stream:
            for name, at_m in zip(vehicles.names, reference_m, strict=True):
                at_m += DT_S * np.array(towards_mps)
                vehicles.setpoint(name, clock.now_s, at_m, towards_mps)
        vehicles.step(clock.now_s, DT_S)


class Clock:
    now_s = 0.0


clock = Clock()


@ANY_MODEL
def test_wind_blows_off_course_and_the_controller_holds_against_it_till_it_ends(model: VehicleModel) -> None:
    vehicles = hovering(model)
    vehicles.disturbance.apply([Fault(kind=FaultKind.WIND, drones=("cf1",), amount=0.2)])
    fly(vehicles, 3.0)
    off_m = np.linalg.norm(vehicles.position_m[:, :2] - [(-1.0, 0.0), (1.0, 0.0)], axis=1)
    assert 0.02 < off_m[0] < 0.3
    assert off_m[1] < 0.02
    vehicles.disturbance.apply([])
    fly(vehicles, 4.0)
    assert np.allclose(vehicles.position_m[:, :2], [(-1.0, 0.0), (1.0, 0.0)], atol=0.03)


@ANY_MODEL
def test_a_tracking_lag_leaves_a_drone_behind_and_lets_it_catch_up(model: VehicleModel) -> None:
    vehicles = hovering(model)
    vehicles.disturbance.apply([Fault(kind=FaultKind.TRACKING_LAG, drones=("cf1",), amount=0.5)])
    fly(vehicles, 1.5, towards_mps=(0.0, 0.4, 0.0))
    assert vehicles.position_m[1, 1] - vehicles.position_m[0, 1] > 0.1
    vehicles.disturbance.apply([])
    fly(vehicles, 4.0)
    assert np.allclose(vehicles.position_m[0, :2], (-1.0, 0.0), atol=0.05)


@ANY_MODEL
def test_a_drone_that_hears_no_commands_meets_its_firmwares_deadlines_and_the_other_does_not(
    model: VehicleModel,
) -> None:
    vehicles = hovering(model)
    vehicles.disturbance.apply([Fault(kind=FaultKind.IGNORES_COMMANDS, drones=("cf1",))])
    assert vehicles.land("cf1").accepted
    fly(vehicles, CUT_OFF_S - 0.1)
    assert vehicles.position_m[0, 2] > 0.8
    fly(vehicles, 2.0)
    assert vehicles.locked.tolist() == [True, False]
    assert vehicles.control.tolist() == [Control.OFF, Control.STREAM]
