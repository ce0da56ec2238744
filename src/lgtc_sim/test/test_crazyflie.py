"""The Crazyflie's body and controller: laws of mechanics, and the packages that they were identified with."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import DroneType
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.flight.battery import BatteryParams
from lgtc_sim import crazyflie
from lgtc_sim.body import GRAVITY_MPS2, Array, Control, Drive
from lgtc_sim.crazyflie import AIRFRAMES, Crazyflies
from lgtc_sim.vehicle import VehicleParams, Vehicles

BODY = AIRFRAMES["cf2x_L250"]
FULL_V = 4.1
HOVER_N = BODY.mass_kg * GRAVITY_MPS2 / 4.0


def hovering(n: int = 1, height_m: float = 1.0) -> tuple[Crazyflies, Drive]:
    """N drones a metre apart, streamed to hold their place for three seconds."""
    position_m = np.array([[float(i), 0.0, height_m] for i in range(n)])
    bodies, drive = Crazyflies(position_m, np.full(n, 0.5), BODY), Drive.idle(position_m)
    drive.control[:] = Control.STREAM
    run(bodies, drive, 3.0)
    return bodies, drive


def run(bodies: Crazyflies, drive: Drive, duration_s: float, voltage_v: float = FULL_V) -> None:
    for _ in range(round(duration_s / 0.01)):
        bodies.step(drive, np.full(len(bodies.load), voltage_v), 0.01)


def rotation(q: Array) -> Array:
    r = np.empty((3, 3))
    crazyflie.rotation(q, r)
    return r


def test_in_hover_the_thrust_is_the_weight_and_the_power_is_that_of_hovering() -> None:
    bodies, _ = hovering()
    b1, b2 = BODY.thrust
    thrust_n = (b1 * bodies.rotor_rpm + b2 * bodies.rotor_rpm**2).sum()
    assert thrust_n == pytest.approx(BODY.mass_kg * GRAVITY_MPS2, rel=0.02)
    assert bodies.load[0] == pytest.approx(1.0, rel=0.03)
    assert np.linalg.norm(bodies.velocity_mps) < 0.03


def test_it_follows_a_moving_reference_within_its_leash() -> None:
    bodies, drive = hovering()
    for _ in range(400):
        drive.feedforward_mps[0] = [0.8, 0.0, 0.0]
        drive.target_m[0, 0] += 0.008
        run(bodies, drive, 0.01)
    assert np.linalg.norm(drive.target_m[0] - bodies.position_m[0]) < 0.1
    assert bodies.velocity_mps[0, 0] == pytest.approx(0.8, abs=0.02)


def test_without_thrust_and_air_it_falls_freely_and_keeps_its_angular_momentum() -> None:
    vacuum = BODY._replace(drag=(0.0, 0.0, 0.0), thrust=(0.0, 1e-30), torque=(0.0, 0.0))
    bodies = Crazyflies(np.array([[0.0, 0.0, 50.0]]), np.array([0.5]), vacuum)
    drive = Drive.idle(bodies.position_m)
    bodies.rates_radps[0] = [3.0, -2.0, 5.0]
    inertia = np.array(BODY.inertia_kgm2)
    before = rotation(bodies.attitude[0]) @ (inertia * bodies.rates_radps[0])
    run(bodies, drive, 1.0)
    after = rotation(bodies.attitude[0]) @ (inertia * bodies.rates_radps[0])
    np.testing.assert_allclose(after, before, rtol=0.01, atol=1e-7)
    assert bodies.velocity_mps[0, 2] == pytest.approx(-GRAVITY_MPS2, rel=1e-6)
    assert np.linalg.norm(bodies.attitude[0]) == pytest.approx(1.0, abs=1e-12)


@given(st.floats(0.05, 3.0), st.floats(0.05, 1.0))
@settings(max_examples=30, deadline=None)
def test_the_downwash_carries_the_momentum_of_the_thrust(below_m: float, thrust_n: float) -> None:
    across_m = np.linspace(0.0, 4.0, 4001)
    position_m = np.array([[0.0, 0.0, below_m]] + [[d, 0.0, 0.0] for d in across_m])
    thrusts_n, wind_mps = np.zeros(len(position_m)), np.zeros(len(position_m))
    thrusts_n[0] = thrust_n
    crazyflie.downwash_mps(position_m, thrusts_n, BODY.rotor_radius_m, wind_mps)
    flux_n = np.trapezoid(crazyflie.AIR_KG_PER_M3 * wind_mps[1:] ** 2 * 2.0 * math.pi * across_m, across_m)
    assert flux_n == pytest.approx(thrust_n, rel=0.01)
    assert wind_mps[0] == 0.0
    assert (wind_mps <= 0.0).all()


def test_a_drone_below_another_is_pushed_down_and_one_beside_it_is_not() -> None:
    bodies, drive = hovering(3)
    drive.target_m[0] = [1.0, 0.0, 1.5]
    bodies.position_m[0] = [1.0, 0.0, 1.5]
    before_m = bodies.position_m[:, 2].copy()
    run(bodies, drive, 0.5)
    assert bodies.position_m[1, 2] < before_m[1] - 0.01
    assert bodies.position_m[2, 2] == pytest.approx(before_m[2], abs=0.005)


def test_the_thrust_shrinks_with_the_voltage_until_the_drone_cannot_hover() -> None:
    caps_n = [crazyflie.thrust_cap_n(volts, BODY) for volts in np.linspace(2.0, 4.2, 50)]
    assert np.all(np.diff(caps_n) >= 0.0)
    assert caps_n[-1] == BODY.thrust_max_n
    assert caps_n[0] < HOVER_N
    bodies, drive = hovering()
    run(bodies, drive, 1.0, voltage_v=2.2)
    assert bodies.position_m[0, 2] < 0.8


def test_no_motor_is_driven_beyond_its_limits_and_a_saturated_one_lowers_all() -> None:
    wanted = np.empty(4)
    crazyflie.rotor_speeds(np.array([80000.0, 70000.0, 60000.0, -5000.0]), BODY.thrust_max_n, BODY, wanted)
    b1, b2 = BODY.thrust
    thrust_n = b1 * wanted + b2 * wanted**2
    expected = np.maximum(np.array([65535.0, 55535.0, 45535.0, 0.0]) / 65535.0 * BODY.thrust_max_n, BODY.thrust_min_n)
    np.testing.assert_allclose(thrust_n, expected, rtol=1e-9)


@given(st.floats(0.0, 3.0))
@settings(max_examples=30, deadline=None)
def test_a_high_level_command_moves_along_a_smooth_path_from_rest_to_rest(at_s: float) -> None:
    origin_m, target_m, h = np.array([1.0, 2.0, 0.0]), np.array([1.0, 2.0, 1.0]), 1e-5
    points = []
    for time_s in (at_s - h, at_s, at_s + h):
        out = np.empty(9)
        crazyflie.reference(target_m, origin_m, max(0.0, time_s), 0.5, out)
        points.append(out)
    before, now, after = points
    if h < at_s and abs(at_s - 2.0) > 2 * h:  # the path ends at 2 s, where its fourth derivative jumps
        np.testing.assert_allclose((after[:3] - before[:3]) / (2 * h), now[3:6], atol=1e-4)
        np.testing.assert_allclose((after[3:6] - before[3:6]) / (2 * h), now[6:], atol=1e-3)
    assert 0.0 <= now[2] <= 1.0
    if at_s >= 2.0:
        np.testing.assert_allclose(now, [*target_m, *np.zeros(6)], atol=1e-9)


def test_a_drone_turned_upside_down_is_cut_and_locked() -> None:
    world = Vehicles(["cf1"], [[0.0, 0.0, 0.0]], [DroneType()], [BatteryParams()], model=VehicleModel.CRAZYFLIE)
    world.arm("cf1", True)
    world.takeoff("cf1", 1.0)
    for step in range(300):
        world.step(0.01 * step, 0.01)
    body = world._body
    assert isinstance(body, Crazyflies)
    for step in range(300, 330):
        body.attitude[0] = [1.0, 0.0, 0.0, 0.0]  # a hand, a wall
        world.step(0.01 * step, 0.01)
    assert world.locked[0]


def test_equal_seeds_give_equal_noise_and_others_do_not() -> None:
    def flown(seed: int) -> list[float]:
        drone, battery = DroneType(), BatteryParams()
        world = Vehicles(["cf1"], [[0, 0, 0]], [drone], [battery], model=VehicleModel.CRAZYFLIE, seed=seed)
        world.arm("cf1", True)
        world.takeoff("cf1", 1.0)
        for step in range(1, 200):
            world.step(0.01 * step, 0.01)
        place_m: list[float] = world.position_m[0].tolist()
        return place_m

    assert flown(1) == flown(1)
    assert flown(1) != flown(2)


def test_an_airframe_that_nobody_identified_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"cf9.*cf2x_L250"):
        VehicleParams(airframe="cf9")


def published(airframe: str, states: dict[str, Array], tmp_path: Path) -> Any:
    """What drone-models and drone-controllers say of these states (published_crazyflie.py); skips without them."""
    if not all(importlib.util.find_spec(name) for name in ("drone_models", "drone_controllers")):
        pytest.skip("the packages it was identified with are missing: pip install drone-models drone-controllers")
    given, said = tmp_path / "states.npz", tmp_path / "said.npz"
    np.savez(given, **states)
    program = Path(__file__).parent / "published_crazyflie.py"
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}  # the packages ask for it before SciPy is loaded
    subprocess.run([sys.executable, program, airframe, given, said], check=True, env=environment)
    return np.load(said)


def random_states(n: int, tilt: float, seed: int) -> dict[str, Array]:
    """N states; `tilt` is the standard deviation of the quaternion's entries."""
    rng = np.random.default_rng(seed)
    q = np.array([0.0, 0.0, 0.0, 1.0]) + rng.normal(0.0, tilt, (n, 4))
    w = rng.normal(0.0, 0.05, (n, 3))
    memory = np.concatenate([0.02 * rng.normal(0, 1, (n, 6)), w + 0.01 * rng.normal(0, 1, (n, 3))], axis=1)
    return {
        "p": rng.normal(0, 0.03, (n, 3)),
        "v": rng.normal(0, 0.1, (n, 3)),
        "q": q / np.linalg.norm(q, axis=1, keepdims=True),
        "w": w,
        "rpm": rng.uniform(10000.0, 22000.0, (n, 4)),
        "wanted": rng.uniform(10000.0, 22000.0, (n, 4)),
        "memory": memory,
        "setpoint": np.concatenate([np.zeros((n, 3)), 0.2 * rng.normal(0, 1, (n, 6))], axis=1),
    }


@pytest.mark.parametrize("airframe", AIRFRAMES)
def test_the_body_accelerates_as_drone_models_says(airframe: str, tmp_path: Path) -> None:
    states = random_states(50, tilt=0.3, seed=1)
    said = published(airframe, states, tmp_path)
    body = AIRFRAMES[airframe]
    assert said["prop_inertia"] == body.rotor_inertia_kgm2
    body = body._replace(rotor_inertia_kgm2=0.0)  # the gyroscopic moment has another sign there
    for i, (v, q, w, rpm, wanted) in enumerate(
        zip(*(states[k] for k in ("v", "q", "w", "rpm", "wanted")), strict=True)
    ):
        out = np.empty(10)
        crazyflie.accelerations(v, rotation(q), w, rpm, wanted, 0.0, body, out)
        np.testing.assert_allclose(out, said["accelerations"][i], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("airframe", AIRFRAMES)
def test_the_controller_drives_the_rotors_as_drone_controllers_says(airframe: str, tmp_path: Path) -> None:
    states = random_states(100, tilt=0.02, seed=2)
    said = published(airframe, states, tmp_path)
    body, compared = AIRFRAMES[airframe], 0
    for i in range(100):
        p, v, q, w, memory, setpoint = (states[k][i].copy() for k in ("p", "v", "q", "w", "memory", "setpoint"))
        pwm, speeds = np.empty(4), np.empty(4)
        crazyflie.mellinger(p, v, rotation(q), w, memory, setpoint, False, body, pwm)
        if pwm.max() > crazyflie.PWM_MAX or pwm.min() < 7000.0:
            continue  # saturated: the package clips each motor, the firmware lowers all
        crazyflie.rotor_speeds(pwm, body.thrust_max_n, body, speeds)
        np.testing.assert_allclose(speeds, said["rotor_speeds"][i], rtol=1e-6)
        compared += 1
    assert compared > 30
