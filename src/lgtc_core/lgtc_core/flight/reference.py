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

ONE_MOTION_S = 0.25
"""Setpoints further apart than this are not taken for one motion."""
SLACK = 1.0 - 1e-9
"""Of the leash's length: who is nearer hangs loose, whatever rounding says."""


class Setpoint(NamedTuple):
    """What is streamed to a vehicle."""

    position_m: Array  # (3,)
    """Position reference, frame "world" [m]."""
    velocity_mps: Array  # (3,)
    """Velocity reference, frame "world" [m/s]."""


def share(dt_s: float, lag_s: float) -> float:
    """Share of a change of velocity that is made after `dt_s`."""
    return 1.0 if lag_s == 0.0 else -math.expm1(-dt_s / lag_s)


def advanced(
    position_m: float, velocity_mps: float, wanted_mps: float, share_: float, dt_s: float
) -> tuple[float, float]:
    """One component of r [m] and w [m/s] after `dt_s` with the velocity `wanted_mps`; the leash is left out."""
    velocity_mps = velocity_mps + share_ * (wanted_mps - velocity_mps)
    return position_m + dt_s * velocity_mps, velocity_mps


class Reference:
    """The position reference of one vehicle.

    Args:
        leash_m: longest distance to the measured position.
        lag_s: time constant tau.
        position_m: r (3,), where it is kept: changed in place. None: here.
        velocity_mps: w (3,), likewise.
    """

    def __init__(
        self, leash_m: float, lag_s: float = 0.0, position_m: Array | None = None, velocity_mps: Array | None = None
    ) -> None:
        self.leash_m, self.lag_s = leash_m, lag_s
        self._position_m = np.zeros(3) if position_m is None else position_m
        self._velocity_mps = np.zeros(3) if velocity_mps is None else velocity_mps

    def reset(self, position_m: Array) -> None:
        """Start again at `position_m` (3,), frame "world" [m], at rest."""
        self._position_m[:], self._velocity_mps[:] = position_m, 0.0

    def advance(self, velocity_mps: Array, dt_s: float, measured_m: Array | None) -> Setpoint:
        """The setpoint after `dt_s` with `velocity_mps` (3,) [m/s].

        Args:
            velocity_mps: commanded velocity.
            dt_s: time since the last setpoint [s].
            measured_m: measured position (3,) [m], or None where unknown: then nothing leashes.
        """
        share_ = share(dt_s, self.lag_s)
        now = self._position_m.tolist(), self._velocity_mps.tolist(), velocity_mps.tolist()
        r, w = zip(*(advanced(*axis, share_, dt_s) for axis in zip(*now, strict=True)), strict=True)
        self._position_m[:], self._velocity_mps[:] = r, w
        if measured_m is not None and math.dist(r, measured_m.tolist()) > SLACK * self.leash_m:
            self._position_m[:] = self._leashed(self._position_m, measured_m)
        return Setpoint(self._position_m.copy(), self._velocity_mps.copy())

    def _leashed(self, position_m: Array, measured_m: Array) -> Array:
        """A position reference (3,) [m], drawn back to the leash's end."""
        ahead_m = position_m - measured_m
        distance_m = math.sqrt(ahead_m @ ahead_m)
        drawn = distance_m > self.leash_m
        return measured_m + ahead_m * (self.leash_m / distance_m) if drawn else position_m


def acceleration_mps2(before_mps: Array, after_mps: Array, dt_s: npt.ArrayLike, largest_mps2: npt.ArrayLike) -> Array:
    """Acceleration references (..., 3) [m/s^2] between setpoints `dt_s` (...) apart, per axis at most `largest_mps2`.

    Zero where they are too far apart to belong to one motion.
    """
    apart_s = np.asarray(dt_s, dtype=np.float64)[..., None]
    limit_mps2 = np.asarray(largest_mps2, dtype=np.float64)[..., None]
    one_motion = (apart_s > 0.0) & (apart_s <= ONE_MOTION_S)
    wanted_mps2 = (after_mps - before_mps) / np.where(one_motion, apart_s, 1.0)
    return np.where(one_motion, np.clip(wanted_mps2, -limit_mps2, limit_mps2), 0.0)
