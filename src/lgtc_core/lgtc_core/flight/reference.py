"""From velocities to setpoints: a position reference, integrated from the velocity, on a leash to where the drone is.

    dw/dt = (v - w) / tau,    r(t + dt) = r(t) + w dt,    then   |r - p| <= leash

v is the safe velocity, w what is streamed. A drone cannot change its velocity at once; asked to, it falls behind its
position reference and overshoots to catch up. Smoothed by its own time constant, the reference is one that it can fly,
and its velocity follows v as the first-order lag that the guard reckons with (guarantee.py). tau = 0: at once.

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
_Triple = tuple[float, float, float]

ONE_MOTION_S = 0.25
"""Setpoints further apart than this are not taken for one motion."""
_SLACK = 1.0 - 1e-9
"""Of the leash's length: who is nearer hangs loose, whatever rounding says."""
_ZERO: _Triple = 0.0, 0.0, 0.0


class Setpoint(NamedTuple):
    """What is streamed to a vehicle."""

    position_m: Array  # (3,)
    """Position reference, frame "world" [m]."""
    velocity_mps: Array  # (3,)
    """Velocity reference, frame "world" [m/s]."""


class Reference:
    """The position reference of one vehicle.

    Args:
        leash_m: longest distance to the measured position.
        lag_s: time constant tau.
    """

    def __init__(self, leash_m: float, lag_s: float = 0.0) -> None:
        self.leash_m, self.lag_s = leash_m, lag_s
        self._position_m = self._velocity_mps = _ZERO

    def reset(self, position_m: Array) -> None:
        """Start again at `position_m` (3,), frame "world" [m], at rest."""
        self._position_m, self._velocity_mps = _triple(position_m), _ZERO

    def advance(self, velocity_mps: Array, dt_s: float, measured_m: Array | None) -> Setpoint:
        """The setpoint after `dt_s` with `velocity_mps` (3,) [m/s].

        Args:
            velocity_mps: commanded velocity.
            dt_s: time since the last setpoint [s].
            measured_m: measured position (3,) [m], or None where unknown: then nothing leashes.
        """
        share = 1.0 if self.lag_s == 0.0 else -math.expm1(-dt_s / self.lag_s)
        (vx, vy, vz), (wx, wy, wz), (x, y, z) = _triple(velocity_mps), self._velocity_mps, self._position_m
        w = wx + share * (vx - wx), wy + share * (vy - wy), wz + share * (vz - wz)
        r = x + dt_s * w[0], y + dt_s * w[1], z + dt_s * w[2]
        if measured_m is not None and math.dist(r, _triple(measured_m)) > _SLACK * self.leash_m:
            r = self._leashed(np.array(r), measured_m)
        self._position_m, self._velocity_mps = r, w
        return Setpoint(np.array(r), np.array(w))

    def _leashed(self, position_m: Array, measured_m: Array) -> _Triple:
        """A position reference (3,) [m], drawn back to the leash's end."""
        ahead_m = position_m - measured_m
        distance_m = math.sqrt(ahead_m @ ahead_m)
        drawn = distance_m > self.leash_m
        return _triple(measured_m + ahead_m * (self.leash_m / distance_m) if drawn else position_m)


def _triple(vector: Array) -> _Triple:
    """A vector (3,) as plain numbers, with which arithmetic costs a third of what it costs with so short an array."""
    x, y, z = vector.tolist()
    return x, y, z


def acceleration_mps2(before_mps: Array, after_mps: Array, dt_s: npt.ArrayLike, largest_mps2: npt.ArrayLike) -> Array:
    """Acceleration references (..., 3) [m/s^2] between setpoints `dt_s` (...) apart, per axis at most `largest_mps2`.

    Zero where they are too far apart to belong to one motion.
    """
    apart_s = np.asarray(dt_s, dtype=np.float64)[..., None]
    limit_mps2 = np.asarray(largest_mps2, dtype=np.float64)[..., None]
    one_motion = (apart_s > 0.0) & (apart_s <= ONE_MOTION_S)
    wanted_mps2 = (after_mps - before_mps) / np.where(one_motion, apart_s, 1.0)
    return np.where(one_motion, np.clip(wanted_mps2, -limit_mps2, limit_mps2), 0.0)
