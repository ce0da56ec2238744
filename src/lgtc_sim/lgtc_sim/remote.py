"""N bodies that another simulator moves: their poses come in, velocities for its controllers go out.

    w = v_set + k (p_set - p),   |w_xy| <= v_max, |w_z| <= v_climb        frame "world", as PointMasses
    u = R' w                                                              frame of the body, as Gazebo wants it

Gazebo's velocity control flies on with the last velocity for ever. Here the firmware's clock (vehicle.py) decides: a
drone whose setpoints pause is told to stand still after .5 s and its rotors are stopped after 2.0 s. Standing still is
where this differs from the firmware, which levels out and drifts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lgtc_sim.body import Array, Control, Drive, Flags, accelerate
from lgtc_sim.crazyflie import TILT_COSINE, TILT_S, UPSIDE_DOWN_COSINE, UPSIDE_DOWN_S

AT_ONCE_MPS2 = 1e9
"""The controller at the other end limits accelerations; nothing here does."""
DOWN_M = 0.02
"""A drone that lands and is lower is down [m]."""


class RemoteBodies:
    """See `Body`.

    Args:
        position_m: where they stand (N, 3), frame "world" [m]; taken over.
        speed_mps: largest speed over ground (N,).
        climb_mps: largest vertical speed (N,).
        gain_per_s: k.
    """

    def __init__(self, position_m: Array, speed_mps: Array, climb_mps: Array, gain_per_s: float) -> None:
        n = len(position_m)
        self.position_m, self.velocity_mps = position_m, np.zeros((n, 3))
        self.load, self.tumbled = np.zeros(n), np.zeros(n, dtype=bool)
        self.command_mps: Array = np.zeros((n, 3))
        """Velocity asked of each controller (N, 3), frame "world" [m/s]."""
        self.enabled: Flags = np.zeros(n, dtype=bool)
        """Whose rotors turn (N,)."""
        self._turn: Array = np.tile(np.eye(3), (n, 1, 1))
        self._limits = np.stack([speed_mps, climb_mps, np.full(n, AT_ONCE_MPS2)], axis=1)
        self._gain_per_s = gain_per_s
        self._tilted_s, self._upside_down_s = np.zeros(n), np.zeros(n)

    def seen(self, i: int, position_m: npt.ArrayLike, quaternion: npt.ArrayLike, velocity_mps: npt.ArrayLike) -> None:
        """A reading of body i.

        Args:
            i: which.
            position_m: (3,), frame "world" [m].
            quaternion: body to world (4,), x y z w; of length 1.
            velocity_mps: (3,), frame of the body [m/s].
        """
        self.position_m[i], self._turn[i] = position_m, rotation(quaternion)
        self.velocity_mps[i] = self._turn[i] @ np.asarray(velocity_mps)

    def twist_mps(self, i: int) -> Array:
        """u: the velocity command of body i in its own frame (3,) [m/s]."""
        command: Array = self._turn[i].T @ self.command_mps[i]
        return command

    def step(self, drive: Drive, voltage_v: Array, dt_s: float) -> None:
        """See `Body.step`: nothing moves here, commands are made."""
        running = drive.control != Control.OFF
        for i in np.flatnonzero(running):
            command_mps = self.command_mps[i]
            if drive.levelled[i]:
                command_mps[:] = 0.0
                continue
            target_m, feedforward_mps = drive.target_m[i], drive.feedforward_mps[i]
            mode = int(drive.control[i])
            accelerate(
                self.position_m[i],
                command_mps,
                mode,
                target_m,
                feedforward_mps,
                self._limits[i],
                1.0,
                self._gain_per_s,
                dt_s,
            )
            if mode == Control.DESCEND and self.position_m[i, 2] < DOWN_M:
                drive.control[i] = Control.OFF
        self.enabled[:] = drive.control != Control.OFF
        self.command_mps[~self.enabled] = 0.0
        self.load[:] = self.enabled
        upright = self._turn[:, 2, 2]
        self._tilted_s = np.where(upright < TILT_COSINE, self._tilted_s + dt_s, 0.0)
        self._upside_down_s = np.where(upright < UPSIDE_DOWN_COSINE, self._upside_down_s + dt_s, 0.0)
        self.tumbled[:] = (self._tilted_s > TILT_S) | (self._upside_down_s > UPSIDE_DOWN_S)


def rotation(quaternion: npt.ArrayLike) -> Array:
    """Matrix (3, 3) of a quaternion of length 1, x y z w."""
    x, y, z, w = np.asarray(quaternion, dtype=np.float64)
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
            [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
            [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
        ]
    )
