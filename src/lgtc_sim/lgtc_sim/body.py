"""What Vehicles ask of a simulated body, and the two simplest: N point masses with a first-order lag.

    a = (w - v) / tau,   |a_xy| <= a_max, |a_z| <= a_max,      dv/dt = a,      dp/dt = v
    w = v_set + k (p_set - p),   |w_xy| <= v_max, |w_z| <= v_climb

`kinematic`: tau = 0 and a_max unlimited, the paper's single integrator. `second_order`: both from the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Protocol, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
F = TypeVar("F", bound=Callable[..., Any])

GRAVITY_MPS2 = 9.81
TOUCHDOWN_MPS = 0.2
"""A point mass that lands sinks at least so fast, or it would never arrive."""


def compiled(function: F) -> F:
    """Compiled ahead of its first use, the result kept on disk."""
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))


class Control(IntEnum):
    """What moves a vehicle."""

    OFF = 0
    """Nothing: motors off. In the air it falls."""
    CLIMB = 1
    """High-level commander: to the height of the take-off, then hovering."""
    DESCEND = 2
    """High-level commander: to the ground, then motors off."""
    STREAM = 3
    """Streamed setpoints."""


# Numba takes globals as constants only where they are plain numbers.
_OFF, _DESCEND, _STREAM = int(Control.OFF), int(Control.DESCEND), int(Control.STREAM)


@dataclass(frozen=True)
class Drive:
    """What the firmware of N vehicles tells its controllers. The arrays belong to the vehicles, which change them."""

    control: npt.NDArray[np.int64]
    """`Control` (N,)."""
    levelled: Flags
    """Streaming has paused: attitude level, height kept (N,)."""
    target_m: Array
    """Position reference (N, 3), frame "world"; of a high-level command its end."""
    feedforward_mps: Array
    """Velocity reference (N, 3); used when streaming."""
    acceleration_mps2: Array
    """Acceleration reference (N, 3); used when streaming, by bodies that have one."""
    origin_m: Array
    """Where a high-level command began (N, 3)."""
    elapsed_s: Array
    """Time since the high-level command began (N,)."""

    @classmethod
    def idle(cls, position_m: Array) -> Drive:
        """Motors off at `position_m` (N, 3)."""
        n = len(position_m)
        return cls(
            np.full(n, _OFF, dtype=np.int64),
            np.zeros(n, dtype=bool),
            position_m.copy(),
            np.zeros((n, 3)),
            np.zeros((n, 3)),
            position_m.copy(),
            np.zeros(n),
        )


class Body(Protocol):
    """N bodies under their controllers, between two decisions of the firmware."""

    position_m: Array
    """True positions (N, 3), frame "world" [m]."""
    velocity_mps: Array
    """True velocities (N, 3), frame "world" [m/s]."""
    load: Array
    """Power drawn by the motors (N,), as a share of hovering."""
    tumbled: Flags
    """Tilted so far and so long that the firmware stops the motors (N,)."""

    def step(self, drive: Drive, voltage_v: Array, dt_s: float) -> None:
        """Move by `dt_s`; a DESCEND that has ended on the ground becomes OFF.

        Args:
            drive: what the firmware asks for.
            voltage_v: of the cells under load (N,) [V].
            dt_s: time step [s].
        """


class PointMasses:
    """`kinematic` and `second_order`.

    Args:
        position_m: where they stand (N, 3), frame "world" [m]; taken over.
        speed_mps: largest speed over ground (N,).
        climb_mps: largest vertical speed (N,).
        acceleration_mps2: largest acceleration (N,), horizontal and vertical apart; inf: unlimited.
        lag_s: time constant tau; 0: at once.
        gain_per_s: k.
        drift_s: time constant with which drag brakes a levelled vehicle.
    """

    def __init__(
        self,
        position_m: Array,
        speed_mps: Array,
        climb_mps: Array,
        acceleration_mps2: Array,
        lag_s: float,
        gain_per_s: float,
        drift_s: float,
    ) -> None:
        self.position_m, self.velocity_mps = position_m, np.zeros_like(position_m)
        self.load, self.tumbled = np.zeros(len(position_m)), np.zeros(len(position_m), dtype=bool)
        self._limits = np.stack([speed_mps, climb_mps, acceleration_mps2], axis=1)
        self._lag_s, self._gain_per_s, self._drift_s = lag_s, gain_per_s, drift_s

    def step(self, drive: Drive, voltage_v: Array, dt_s: float) -> None:
        """See `Body.step`; a point mass hovers at any voltage."""
        _step_points(
            self.position_m,
            self.velocity_mps,
            self.load,
            drive.control,
            drive.levelled,
            drive.target_m,
            drive.feedforward_mps,
            self._limits,
            _weight(dt_s, self._lag_s),
            self._gain_per_s,
            _weight(dt_s, self._drift_s),
            dt_s,
        )


@cache
def _weight(dt_s: float, time_constant_s: float) -> float:
    """Share of a deviation that is gone after `dt_s`."""
    return 1.0 if time_constant_s == 0.0 else float(-np.expm1(-dt_s / time_constant_s))


@compiled
def _step_points(
    position_m: Array,
    velocity_mps: Array,
    load: Array,
    control: npt.NDArray[np.int64],
    levelled: Flags,
    target_m: Array,
    feedforward_mps: Array,
    limits: Array,
    weight: float,
    gain_per_s: float,
    drift_weight: float,
    dt_s: float,
) -> None:
    """One step of all points in place; shapes as in `Drive`, limits (N, 3): speed, climb, acceleration."""
    for i in range(len(control)):
        p, v, mode = position_m[i], velocity_mps[i], control[i]
        load[i] = 0.0 if mode == _OFF else 1.0
        if mode == _OFF:
            v[2] -= GRAVITY_MPS2 * dt_s
        elif levelled[i]:
            v[0] -= drift_weight * v[0]
            v[1] -= drift_weight * v[1]
            v[2] = 0.0
        else:
            accelerate(p, v, mode, target_m[i], feedforward_mps[i], limits[i], weight, gain_per_s, dt_s)
        for k in range(3):
            p[k] += dt_s * v[k]
        if p[2] <= 0.0:
            p[2], v[2] = 0.0, max(v[2], 0.0)
            if mode == _DESCEND:
                control[i] = _OFF
            if mode in (_OFF, _DESCEND):
                v[:] = 0.0


@compiled
def accelerate(
    p: Array,
    v: Array,
    mode: int,
    target_m: Array,
    feedforward_mps: Array,
    limits: Array,
    weight: float,
    gain_per_s: float,
    dt_s: float,
) -> None:
    """Velocity `v` (3,) of one point at `p` (3,) after `dt_s`, in place; limits (3,): speed, climb, acceleration."""
    speed_mps, climb_mps, acceleration_mps2 = limits
    streams = mode == _STREAM
    # Without lag and limit the high-level commander arrives within a step, and stays; else it approaches.
    gain = 1.0 / dt_s if not streams and weight == 1.0 and np.isinf(acceleration_mps2) else gain_per_s
    share = 1.0 if streams else 0.0
    x_mps = share * feedforward_mps[0] + gain * (target_m[0] - p[0])
    y_mps = share * feedforward_mps[1] + gain * (target_m[1] - p[1])
    z_mps = share * feedforward_mps[2] + gain * (target_m[2] - p[2])
    if mode == _DESCEND:
        z_mps = min(z_mps, -TOUCHDOWN_MPS)
    over = max(1.0, np.hypot(x_mps, y_mps) / speed_mps)
    x_mps, y_mps = weight * (x_mps / over - v[0]), weight * (y_mps / over - v[1])
    z_mps = weight * (min(max(z_mps, -climb_mps), climb_mps) - v[2])
    largest_mps = acceleration_mps2 * dt_s
    over = max(1.0, np.hypot(x_mps, y_mps) / largest_mps)
    v[0] += x_mps / over
    v[1] += y_mps / over
    v[2] += min(max(z_mps, -largest_mps), largest_mps)
