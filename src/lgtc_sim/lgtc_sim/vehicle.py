"""Kinematic vehicles that obey and disobey as a Crazyflie's firmware does. No dynamics but a first-order lag.

    dv/dt = (v_set + k (p_set - p) - v) / tau,      dp/dt = v             tau = 0: the paper's single integrator

What the firmware does, and these do as well (crazyflie-firmware, commander and supervisor, 2024.10):
- streamed setpoints outrank the high-level commands takeoff and land until `notify_setpoints_stop`;
- 0.5 s after the last streamed setpoint the vehicle levels out: it keeps its height and drifts on, braked by drag only;
- 2.0 s after it the motors are cut and the vehicle is locked: it falls, and needs a person;
- below 3.0 V for 5 s it shuts down.
Collisions are not simulated: they are found in the recorded positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import InputError
from lgtc_core.flight.airframe import Airframe
from lgtc_core.flight.battery import BatteryParams, CellModel
from lgtc_core.flight.checks import finite_vector
from lgtc_core.schema import Bounds

Array = npt.NDArray[np.float64]

LEVEL_OUT_S = 0.5
CUT_OFF_S = 2.0
SHUTDOWN_V = 3.0
SHUTDOWN_S = 5.0
GRAVITY_MPS2 = 9.81
BATTERY_STEP_S = 0.1
"""The cell changes slowly: it is stepped this often, not at every step of the motion."""


@dataclass(frozen=True, kw_only=True)
class VehicleParams:
    """How simulated vehicles move."""

    velocity_lag_s: Annotated[
        float, Bounds(0.0, 2.0, "s"), "Time constant tau with which a velocity is followed; 0: at once"
    ] = 0.0
    position_gain_per_s: Annotated[
        float, Bounds(0.0, 20.0, "1/s"), "k: how fast a deviation from the position reference is corrected"
    ] = 2.0
    drift_s: Annotated[
        float, Bounds(0.0, 60.0, "s"), "Time constant with which drag brakes a vehicle that has levelled out"
    ] = 1.0


class Ack(NamedTuple):
    """Answer to a command."""

    accepted: bool
    message: str


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


class Vehicles:
    """N vehicles, stepped together. Deterministic.

    Args:
        names: of the N drones.
        start_m: where they stand (N, 3), frame "world" [m].
        airframes: their limits.
        batteries: their cells, full at the start.
        params: how they move.
    """

    def __init__(
        self,
        names: Sequence[str],
        start_m: npt.ArrayLike,
        airframes: Sequence[Airframe],
        batteries: Sequence[BatteryParams],
        params: VehicleParams | None = None,
    ) -> None:
        self.names, self.params = tuple(names), params or VehicleParams()
        self._index = {name: i for i, name in enumerate(self.names)}
        n = len(self.names)
        self.position_m: Array = np.array(start_m, dtype=np.float64).reshape(n, 3)
        """True positions (N, 3), frame "world" [m]."""
        self.velocity_mps: Array = np.zeros((n, 3))
        """True velocities (N, 3), frame "world" [m/s]."""
        self.control = np.full(n, Control.OFF)
        """What moves each vehicle (N,)."""
        self.armed = np.zeros(n, dtype=bool)
        self.locked = np.zeros(n, dtype=bool)
        """Motors cut for good (N,): the firmware needs a restart."""
        self._speed_mps = np.array([airframe.max_speed_mps for airframe in airframes])
        self._climb_mps = np.array([airframe.climb_speed_mps for airframe in airframes])
        self._cells = [CellModel(battery) for battery in batteries]
        self._power_w = np.array([(battery.idle_power_w, battery.hover_power_w) for battery in batteries])
        self._target_m = self.position_m.copy()
        self._feedforward_mps = np.zeros((n, 3))
        self._streamed_s = np.full(n, -np.inf)
        self._low_s = np.zeros(n)
        self._battery_due_s = 0.0

    @property
    def charge(self) -> Array:
        """State of charge (N,), 0 empty .. 1 full."""
        return np.array([cell.charge for cell in self._cells])

    @property
    def voltage_v(self) -> Array:
        """Voltages as measured, under the present load (N,) [V]."""
        return np.array([cell.voltage_v(power) for cell, power in zip(self._cells, self._drawn_w(), strict=True)])

    def set_charge(self, name: str, charge: float) -> None:
        """Replace a drone's charge.

        Raises:
            InputError: unknown drone, or not a number between 0 and 1.
        """
        self._cells[self._of(name)].set_charge(charge)

    def arm(self, name: str, on: bool) -> Ack:
        """Arm or disarm; disarming in the air cuts the motors."""
        i = self._of(name)
        if on and self.locked[i]:
            return Ack(False, "locked: restart it first")
        self.armed[i] = on
        if not on:
            self.control[i] = Control.OFF
        return Ack(True, "armed" if on else "disarmed")

    def takeoff(self, name: str, height_m: float) -> Ack:
        """Climb straight up to `height_m` and hover there."""
        i = self._of(name)
        refusal = self._refusal(i)
        if refusal:
            return Ack(False, refusal)
        if self.control[i] == Control.STREAM:
            return Ack(True, "without effect: streamed setpoints outrank it")
        self.control[i] = Control.CLIMB
        self._target_m[i] = [*self.position_m[i, :2], height_m]
        return Ack(True, "taking off")

    def land(self, name: str) -> Ack:
        """Sink straight down and switch the motors off on the ground."""
        i = self._of(name)
        if self.control[i] == Control.STREAM:
            return Ack(True, "without effect: streamed setpoints outrank it")
        if self.control[i] == Control.OFF:
            return Ack(False, self._refusal(i) or "the motors are off")
        self.control[i] = Control.DESCEND
        self._target_m[i] = [*self.position_m[i, :2], 0.0]
        return Ack(True, "landing")

    def notify_setpoints_stop(self, name: str) -> Ack:
        """Streamed setpoints no longer outrank the high-level commander, which hovers where it is."""
        i = self._of(name)
        if self.control[i] == Control.STREAM:
            self.control[i] = Control.CLIMB
            self._target_m[i] = self.position_m[i]
        return Ack(True, "high-level commands count again")

    def setpoint(self, name: str, now_s: float, position_m: npt.ArrayLike, velocity_mps: npt.ArrayLike) -> Ack:
        """One streamed setpoint: position (3,) [m] and velocity (3,) [m/s], frame "world".

        Raises:
            InputError: unknown drone, or not three finite numbers each.
        """
        i = self._of(name)
        target_m = finite_vector(f"/{name}/setpoint.position", position_m, "m")
        feedforward_mps = finite_vector(f"/{name}/setpoint.velocity", velocity_mps, "m/s")
        refusal = self._refusal(i)
        if refusal:
            return Ack(False, refusal)
        self.control[i] = Control.STREAM
        self._streamed_s[i] = now_s
        self._target_m[i], self._feedforward_mps[i] = target_m, feedforward_mps
        return Ack(True, "")

    def emergency(self) -> None:
        """Cut all motors, everywhere, at once, and lock."""
        self._cut(np.ones(len(self.names), dtype=bool))

    def step(self, now_s: float, dt_s: float) -> None:
        """Move by `dt_s`; `now_s` is the time at the end of the step [s]."""
        silent_s = now_s - self._streamed_s
        streamed = self.control == Control.STREAM
        self._cut(streamed & (silent_s > CUT_OFF_S))
        self._move(dt_s, levelled=streamed & (silent_s > LEVEL_OUT_S))
        self._battery_due_s += dt_s
        if self._battery_due_s >= BATTERY_STEP_S - 1e-9:
            self._discharge(self._battery_due_s)
            self._battery_due_s = 0.0

    def _move(self, dt_s: float, levelled: npt.NDArray[np.bool_]) -> None:
        control = self.control
        wanted_mps = self._wanted_mps(dt_s)
        weight = _weight(dt_s, self.params.velocity_lag_s)
        velocity_mps = self.velocity_mps + weight * (wanted_mps - self.velocity_mps)
        drifting_mps = self.velocity_mps * (1.0 - _weight(dt_s, self.params.drift_s))
        drifting_mps[:, 2] = 0.0
        velocity_mps = np.where(levelled[:, None], drifting_mps, velocity_mps)
        off = control == Control.OFF
        falling_mps = self.velocity_mps - [0.0, 0.0, GRAVITY_MPS2 * dt_s]
        velocity_mps = np.where(off[:, None], falling_mps, velocity_mps)
        self.position_m = self.position_m + dt_s * velocity_mps
        down = self.position_m[:, 2] <= 0.0
        self.position_m[down, 2] = 0.0
        velocity_mps[down, 2] = np.maximum(velocity_mps[down, 2], 0.0)
        velocity_mps[down & off] = 0.0
        landed = down & (control == Control.DESCEND)
        self.control[landed] = Control.OFF
        velocity_mps[landed] = 0.0
        self.velocity_mps = velocity_mps

    def _wanted_mps(self, dt_s: float) -> Array:
        """The velocity that each controller asks for (N, 3), within the airframe's limits."""
        to_target_m = self._target_m - self.position_m
        streamed_mps = self._feedforward_mps + self.params.position_gain_per_s * to_target_m
        direct_mps = to_target_m / dt_s  # the high-level commander arrives, and stays
        wanted_mps = np.where((self.control == Control.STREAM)[:, None], streamed_mps, direct_mps)
        horizontal_mps = np.linalg.norm(wanted_mps[:, :2], axis=1)
        wanted_mps[:, :2] *= np.minimum(1.0, self._speed_mps / np.maximum(horizontal_mps, 1e-12))[:, None]
        wanted_mps[:, 2] = np.clip(wanted_mps[:, 2], -self._climb_mps, self._climb_mps)
        return wanted_mps

    def _discharge(self, dt_s: float) -> None:
        for i, (cell, power_w) in enumerate(zip(self._cells, self._drawn_w(), strict=True)):
            cell.step(dt_s, power_w)
            low = self.control[i] != Control.OFF and cell.voltage_v(power_w) < SHUTDOWN_V
            self._low_s[i] = self._low_s[i] + dt_s if low else 0.0
        self._cut(self._low_s > SHUTDOWN_S)

    def _drawn_w(self) -> list[float]:
        drawn_w: list[float] = np.where(self.control == Control.OFF, self._power_w[:, 0], self._power_w[:, 1]).tolist()
        return drawn_w

    def _cut(self, which: npt.NDArray[np.bool_]) -> None:
        self.control[which] = Control.OFF
        self.locked |= which
        self.armed &= ~which

    def _refusal(self, i: int) -> str:
        """Why the motors cannot run; empty if they can."""
        if self.locked[i]:
            return "locked: restart it first"
        return "" if self.armed[i] else "not armed"

    def _of(self, name: str) -> int:
        if name not in self._index:
            raise InputError("drone", repr(name), f"one of {', '.join(self.names)}")
        return self._index[name]


def _weight(dt_s: float, time_constant_s: float) -> float:
    """Share of a deviation that is gone after `dt_s`."""
    return 1.0 if time_constant_s == 0.0 else float(-np.expm1(-dt_s / time_constant_s))
