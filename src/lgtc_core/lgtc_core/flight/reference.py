"""From velocities to setpoints: a position reference, integrated from the velocity, on a leash to where the drone is.

    r(t + dt) = r(t) + v dt,    then   |r - p| <= leash

A setpoint carries position and velocity. The Crazyflie's default controller (Mellinger) takes a setpoint without a
position as "height 0" and sinks, and a reference that were the measured position itself would let the drone drift;
without the leash a drone that is held back (by a hand, by a wall) would dart off when let go.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Setpoint(NamedTuple):
    """What is streamed to a vehicle."""

    position_m: Array  # (3,)
    """Position reference, frame "world" [m]."""
    velocity_mps: Array  # (3,)
    """Velocity reference, frame "world" [m/s]."""


class Reference:
    """The position reference of one vehicle."""

    def __init__(self, leash_m: float) -> None:
        self.leash_m = leash_m
        self._position_m: Array = np.zeros(3)

    def reset(self, position_m: Array) -> None:
        """Start again at `position_m` (3,), frame "world" [m]."""
        self._position_m = np.array(position_m, dtype=np.float64)

    def advance(self, velocity_mps: Array, dt_s: float, measured_m: Array | None) -> Setpoint:
        """The setpoint after `dt_s` with `velocity_mps` (3,) [m/s].

        Args:
            velocity_mps: commanded velocity.
            dt_s: time since the last setpoint [s].
            measured_m: measured position (3,) [m], or None where unknown: then nothing leashes.
        """
        velocity_mps = np.array(velocity_mps, dtype=np.float64)
        position_m = self._position_m + dt_s * velocity_mps
        if measured_m is not None:
            ahead_m = position_m - measured_m
            distance_m = math.sqrt(ahead_m @ ahead_m)
            if distance_m > self.leash_m:
                position_m = measured_m + ahead_m * (self.leash_m / distance_m)
        self._position_m = position_m
        return Setpoint(position_m.copy(), velocity_mps)
