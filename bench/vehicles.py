"""What a step of simulated vehicles costs, and how a Crazyflie follows velocities: the figures of docs/vehicles.md.

python bench/vehicles.py
"""

from __future__ import annotations

import time

import numpy as np

from lgtc_core.fleet.fleet import DroneType
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.flight.battery import BatteryParams
from lgtc_core.flight.reference import Reference
from lgtc_sim.vehicle import Vehicles

DT_S, PERIOD_S = 0.01, 0.02


def cost_us(model: VehicleModel, n: int, steps: int = 1000) -> float:
    """Median time of one step of `n` flying vehicles [us]."""
    world = airborne(model, n)
    times_s = []
    for step in range(steps):
        begun_s = time.perf_counter()
        world.step(4.0 + DT_S * (step + 1), DT_S)
        times_s.append(time.perf_counter() - begun_s)
    return float(np.median(times_s)) * 1e6


def tracking(lag_s: float, duration_s: float = 60.0, seed: int = 0) -> tuple[float, float]:
    """Largest speed [m/s] and 99 % quantile of the velocity error [m/s] against the smoothed command.

    A Crazyflie is given a new random velocity of 0, .4 or .8 m/s twice a second.
    """
    random, world = np.random.default_rng(seed), airborne(VehicleModel.CRAZYFLIE, 1)
    reference, now_s, wanted_mps = Reference(0.3, lag_s), 4.0, np.zeros(3)
    reference.reset(world.position_m[0])
    speeds, errors = [], []
    for tick in range(round(duration_s / PERIOD_S)):
        if tick % 25 == 0:
            angle, speed = random.uniform(0, 2 * np.pi), 0.4 * random.integers(0, 3)
            wanted_mps = speed * np.array([np.cos(angle), np.sin(angle), 0.0])
        setpoint = reference.advance(wanted_mps, PERIOD_S, world.position_m[0])
        world.setpoint("cf1", now_s, *setpoint)
        for _ in range(round(PERIOD_S / DT_S)):
            now_s += DT_S
            world.step(now_s, DT_S)
        speeds.append(np.linalg.norm(world.velocity_mps[0, :2]))
        errors.append(np.linalg.norm((world.velocity_mps[0] - setpoint.velocity_mps)[:2]))
    return float(np.max(speeds)), float(np.quantile(errors, 0.99))


def airborne(model: VehicleModel, n: int) -> Vehicles:
    """N vehicles that have hovered at 1 m until 4 s."""
    drone = DroneType(max_speed_mps=0.8)
    names = [f"cf{i + 1}" for i in range(n)]
    world = Vehicles(names, [[0.6 * i, 0, 0] for i in range(n)], [drone] * n, [BatteryParams()] * n, model=model)
    for name in names:
        world.arm(name, True)
        world.takeoff(name, 1.0)
    for step in range(400):
        world.step(DT_S * (step + 1), DT_S)
    return world


def main() -> None:
    """Print both tables."""
    for model in VehicleModel:
        print(f"{model.value:14}", *(f"{n} drones {cost_us(model, n):6.1f} us/step" for n in (5, 16, 32)), sep="  ")
    for lag_s in (0.0, 0.18, 0.3):
        speed_mps, error_mps = tracking(lag_s)
        print(f"crazyflie, smoothed by {lag_s:g} s: fastest {speed_mps:.2f} m/s, error p99 {error_mps:.2f} m/s")


if __name__ == "__main__":
    main()
