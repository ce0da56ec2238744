"""N simulated vehicles that obey and disobey as a Crazyflie's firmware does, whatever body they have.

What the firmware does, and these do as well (crazyflie-firmware 2024.10 and later: commander.c, supervisor.c,
pm_stm32f4.c):
- motors run only when armed;
- streamed setpoints outrank the high-level commands takeoff and land until `notify_setpoints_stop`;
- 0.5 s after the last streamed setpoint the vehicle levels out: it keeps its height and drifts on, braked by drag only;
- 2.0 s after it the motors are cut and the vehicle is locked: it falls, and needs a person;
- below 3.0 V for 5 s it shuts down;
- tilted by more than 60 degrees for a second, or upside down, it has tumbled: motors cut and locked.
Where a battery has a charger (`charge_current_a`), the cell is charged while its vehicle stands with its motors off.
Collisions are not simulated: they are found in the recorded positions.

Bodies (`VehicleModel` of the fleet or the scenario): `kinematic` and `second_order` (body.py), `crazyflie`
(crazyflie.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import ConfigError, InputError
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.fleet.team import Team
from lgtc_core.flight.airframe import Airframe
from lgtc_core.flight.battery import BatteryParams
from lgtc_core.flight.checks import finite_vector
from lgtc_core.flight.reference import acceleration_mps2
from lgtc_core.schema import Bounds
from lgtc_sim.body import Array, Body, Control, Drive, Flags, PointMasses, compiled
from lgtc_sim.cells import Cells
from lgtc_sim.crazyflie import AIRFRAMES, Crazyflies
from lgtc_sim.disturbance import Disturbance

LEVEL_OUT_S = 0.5
CUT_OFF_S = 2.0
SHUTDOWN_V = 3.0
SHUTDOWN_S = 5.0
STANDING_M = 0.03
"""A vehicle that is lower stands on the ground [m]."""
BATTERY_STEP_S = 0.1
"""The cell changes slowly: it is stepped this often, not at every step of the motion."""

_OFF, _STREAM = int(Control.OFF), int(Control.STREAM)
"""Plain numbers: compiled code takes no others, and NumPy compares them sooner."""


@dataclass(frozen=True, kw_only=True)
class VehicleParams:
    """How simulated vehicles move."""

    velocity_lag_s: Annotated[
        float, Bounds(0.0, 2.0, "s"), "second_order: time constant tau with which a velocity is followed"
    ] = 0.15
    position_gain_per_s: Annotated[
        float,
        Bounds(0.0, 20.0, "1/s"),
        "kinematic, second_order: k, how fast a deviation from the position reference is corrected",
    ] = 2.0
    drift_s: Annotated[
        float,
        Bounds(0.0, 60.0, "s"),
        "kinematic, second_order: time constant with which drag brakes a vehicle that has levelled out",
    ] = 1.0
    airframe: Annotated[str, "crazyflie: identified airframe, by its name in drone-models"] = "cf2x_L250"
    estimate_sd_m: Annotated[
        float, Bounds(0.0, 0.1, "m"), "crazyflie: noise of the position that its own controller sees, per axis"
    ] = 0.001
    estimate_sd_mps: Annotated[
        float, Bounds(0.0, 1.0, "m/s"), "crazyflie: noise of the velocity that its own controller sees, per axis"
    ] = 0.01

    def __post_init__(self) -> None:
        """Refuse an airframe that nobody has identified."""
        if self.airframe not in AIRFRAMES:
            raise ConfigError("", "airframe", repr(self.airframe), f"one of {', '.join(AIRFRAMES)}")


class Ack(NamedTuple):
    """Answer to a command."""

    accepted: bool
    message: str


_UNHEARD = Ack(True, "sent; it did not arrive")
"""As a radio answers that sends without being told whether anybody hears."""


class Vehicles:
    """N vehicles, stepped together. Deterministic.

    Args:
        names: of the N drones.
        start_m: where they stand (N, 3), frame "world" [m].
        airframes: their limits.
        batteries: their cells, full at the start.
        params: how they move.
        model: which body they have.
        seed: of the noise that a crazyflie's own controller sees.
        body: that of a simulator elsewhere, instead of the model's.
    """

    def __init__(
        self,
        names: Sequence[str],
        start_m: npt.ArrayLike,
        airframes: Sequence[Airframe],
        batteries: Sequence[BatteryParams],
        params: VehicleParams | None = None,
        model: VehicleModel = VehicleModel.KINEMATIC,
        seed: int = 0,
        body: Body | None = None,
    ) -> None:
        self.names, self.params = tuple(names), params or VehicleParams()
        self._index = {name: i for i, name in enumerate(self.names)}
        n = len(self.names)
        self.model = model
        position_m: Array = np.array(start_m, dtype=np.float64).reshape(n, 3)
        self._drive = Drive.idle(position_m)
        self._body = body or _body(model, position_m, airframes, self.params, seed)
        self.control = self._drive.control
        """What moves each vehicle (N,), values of `Control`."""
        self.armed = np.zeros(n, dtype=bool)
        self.locked = np.zeros(n, dtype=bool)
        """Motors cut for good (N,): the firmware needs a restart."""
        self._cells = Cells(batteries)
        self.disturbance = Disturbance(self.names, seed)
        """What faults do to them."""
        self._asked_m, self._asked_mps = position_m.copy(), np.zeros((n, 3))
        self._acceleration_mps2 = np.array([airframe.max_acceleration_mps2 for airframe in airframes])
        self._streamed_s = np.full(n, -np.inf)
        self._low_s = np.zeros(n)
        self._voltage_v = self.voltage_v
        self._battery_due_s = 0.0

    @classmethod
    def of_team(
        cls,
        team: Team,
        start_m: npt.ArrayLike,
        params: VehicleParams | None = None,
        model: VehicleModel = VehicleModel.KINEMATIC,
        seed: int = 0,
        body: Body | None = None,
    ) -> Vehicles:
        """The vehicles of a team, each cell charged as the team's supplies say; arguments as of the class."""
        batteries = [drone.battery for drone in team.drones]
        vehicles = cls(team.names, start_m, team.drones, batteries, params, model, seed, body)
        for drone in team.drones:
            if drone.battery_kind is not None:
                vehicles.set_charge(drone.name, drone.supply[team.kinds.index(drone.battery_kind)])
        return vehicles

    @property
    def position_m(self) -> Array:
        """True positions (N, 3), frame "world" [m]; changed in place by every step."""
        return self._body.position_m

    @property
    def velocity_mps(self) -> Array:
        """True velocities (N, 3), frame "world" [m/s]; changed in place by every step."""
        return self._body.velocity_mps

    @property
    def charge(self) -> Array:
        """State of charge (N,), 0 empty .. 1 full."""
        return self._cells.charge.copy()

    @property
    def voltage_v(self) -> Array:
        """Voltages as measured, under the present load or on the charger (N,) [V]."""
        return self._cells.voltage_v(self._body.load, self._standing())

    def set_charge(self, name: str, charge: float) -> None:
        """Replace a drone's charge.

        Raises:
            InputError: unknown drone, or not a number between 0 and 1.
        """
        self._cells.set_charge(self._of(name), charge)

    def arm(self, name: str, on: bool) -> Ack:
        """Arm or disarm; disarming in the air cuts the motors."""
        i = self._of(name)
        if self.disturbance.deaf[i]:
            return _UNHEARD
        if on and self.locked[i]:
            return Ack(False, "locked: restart it first")
        self.armed[i] = on
        if not on:
            self.control[i] = Control.OFF
        return Ack(True, "armed" if on else "disarmed")

    def takeoff(self, name: str, height_m: float) -> Ack:
        """Climb straight up to `height_m` and hover there."""
        i = self._of(name)
        if self.disturbance.deaf[i]:
            return _UNHEARD
        refusal = self._refusal(i)
        if refusal:
            return Ack(False, refusal)
        if self.control[i] == Control.STREAM:
            return Ack(True, "without effect: streamed setpoints outrank it")
        self._command(i, Control.CLIMB, height_m)
        return Ack(True, "taking off")

    def land(self, name: str) -> Ack:
        """Sink straight down and switch the motors off on the ground."""
        i = self._of(name)
        if self.disturbance.deaf[i]:
            return _UNHEARD
        if self.control[i] == Control.STREAM:
            return Ack(True, "without effect: streamed setpoints outrank it")
        if self.control[i] == Control.OFF:
            return Ack(False, self._refusal(i) or "the motors are off")
        self._command(i, Control.DESCEND, 0.0)
        return Ack(True, "landing")

    def notify_setpoints_stop(self, name: str) -> Ack:
        """Streamed setpoints no longer outrank the high-level commander, which hovers where it is."""
        i = self._of(name)
        if self.disturbance.deaf[i]:
            return _UNHEARD
        if self.control[i] == Control.STREAM:
            self._command(i, Control.CLIMB, float(self.position_m[i, 2]))
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
        given, both = np.zeros(len(self.names), np.bool_), np.zeros((2, len(self.names), 3))
        given[i], both[0, i], both[1, i] = True, target_m, feedforward_mps
        accepted = self.setpoints(given, now_s, *both)
        return Ack(True, "") if accepted[i] else _UNHEARD

    def setpoints(self, given: Flags, now_s: float, position_m: Array, velocity_mps: Array) -> Flags:
        """Setpoints of several vehicles at once, which must be finite: `setpoint` without its checks and words.

        Args:
            given: who gets one (N,).
            now_s: time [s].
            position_m: (N, 3), frame "world" [m].
            velocity_mps: (N, 3), frame "world" [m/s].

        Returns:
            Who accepted (N,).
        """
        accepted = np.empty(len(given), np.bool_)
        disturbance, drive = self.disturbance, self._drive
        if self.model is VehicleModel.CRAZYFLIE:
            apart_s = now_s - self._streamed_s
            change_mps2 = acceleration_mps2(self._asked_mps, velocity_mps, apart_s, self._acceleration_mps2)
        _stream(
            given, now_s, position_m, velocity_mps, self.armed, self.locked, disturbance.deaf, disturbance.lags,
            drive.control, self._streamed_s, self._asked_m, self._asked_mps, drive.target_m, drive.feedforward_mps,
            accepted,
        )  # fmt: skip
        if self.model is VehicleModel.CRAZYFLIE:
            np.copyto(drive.acceleration_mps2, change_mps2, where=accepted[:, None])
        return accepted

    def emergency(self) -> None:
        """Cut all motors, everywhere, at once, and lock."""
        self._cut(np.ones(len(self.names), dtype=bool))

    def step(self, now_s: float, dt_s: float) -> None:
        """Move by `dt_s`; `now_s` is the time at the end of the step [s]."""
        if _watch(self.control, self._streamed_s, self._drive.levelled, self._body.tumbled, now_s):
            late = (self.control == Control.STREAM) & (now_s - self._streamed_s > CUT_OFF_S)
            self._cut(late | (self._body.tumbled & (self.control != Control.OFF)))
        if self.disturbance.lags:
            self._lag(dt_s)
        self._body.step(self._drive, self._voltage_v, dt_s)
        if self.disturbance.blows:
            flying = self.control != Control.OFF
            self.position_m[flying] += dt_s * self.disturbance.wind_mps[flying]
        elapsed_s = self._drive.elapsed_s
        elapsed_s += dt_s
        self._battery_due_s += dt_s
        if self._battery_due_s >= BATTERY_STEP_S - 1e-9:
            self._discharge(self._battery_due_s)
            self._battery_due_s = 0.0

    def _lag(self, dt_s: float) -> None:
        """References follow what is asked for with the lag of the moment."""
        streams, drive = self.control == Control.STREAM, self._drive
        for reference, asked in ((drive.target_m, self._asked_m), (drive.feedforward_mps, self._asked_mps)):
            reference[streams] = self.disturbance.follow(reference, asked, dt_s)[streams]

    def _command(self, i: int, control: Control, height_m: float) -> None:
        """A high-level command: straight up or down from where the vehicle is."""
        drive = self._drive
        drive.control[i], drive.elapsed_s[i] = control, 0.0
        drive.origin_m[i] = drive.target_m[i] = self.position_m[i]
        drive.target_m[i, 2] = height_m

    def _discharge(self, dt_s: float) -> None:
        standing = self._standing()
        self._cells.step(dt_s, self._body.load, standing)
        self._voltage_v = self._cells.voltage_v(self._body.load, standing)
        low = (self.control != _OFF) & (self._voltage_v < SHUTDOWN_V)
        self._low_s = np.where(low, self._low_s + dt_s, 0.0)
        if low.any():
            self._cut(self._low_s > SHUTDOWN_S)

    def _standing(self) -> Flags:
        """Who stands with its motors off (N,)."""
        standing: Flags = (self.control == _OFF) & (self.position_m[:, 2] <= STANDING_M)
        return standing

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


def _body(
    model: VehicleModel, position_m: Array, airframes: Sequence[Airframe], params: VehicleParams, seed: int
) -> Body:
    """N bodies of a model."""
    climb_mps = np.array([airframe.climb_speed_mps for airframe in airframes])
    if model is VehicleModel.CRAZYFLIE:
        noise = params.estimate_sd_m, params.estimate_sd_mps, seed
        return Crazyflies(position_m, climb_mps, AIRFRAMES[params.airframe], *noise)
    kinematic = model is VehicleModel.KINEMATIC
    limits_mps2 = [np.inf if kinematic else airframe.max_acceleration_mps2 for airframe in airframes]
    return PointMasses(
        position_m,
        np.array([airframe.max_speed_mps for airframe in airframes]),
        climb_mps,
        np.array(limits_mps2),
        0.0 if kinematic else params.velocity_lag_s,
        params.position_gain_per_s,
        params.drift_s,
    )


@compiled
def _watch(control: npt.NDArray[np.int64], streamed_s: Array, levelled: Flags, tumbled: Flags, now_s: float) -> bool:
    """Which vehicles level out, to `levelled`; whether the motors of any must be cut."""
    cut = False
    for i in range(len(control)):
        silent_s = now_s - streamed_s[i]
        streams = control[i] == _STREAM
        levelled[i] = streams and silent_s > LEVEL_OUT_S
        cut |= (streams and silent_s > CUT_OFF_S) or tumbled[i]
    return cut


@compiled
def _stream(
    given: Flags,
    now_s: float,
    position_m: Array,
    velocity_mps: Array,
    armed: Flags,
    locked: Flags,
    deaf: Flags,
    lags: bool,
    control: npt.NDArray[np.int64],
    streamed_s: Array,
    asked_m: Array,
    asked_mps: Array,
    target_m: Array,
    feedforward_mps: Array,
    accepted: Flags,
) -> None:
    """Vehicles take the setpoints that they are `given`, and can take, to `accepted`; where references lag, only
    `asked_m` follows, but for the first one of a stream.
    """
    for i in range(len(given)):
        accepted[i] = given[i] and armed[i] and not locked[i] and not deaf[i]
        if not accepted[i]:
            continue
        at_once = not lags or control[i] != _STREAM
        control[i], streamed_s[i] = _STREAM, now_s
        for c in range(3):
            asked_m[i, c], asked_mps[i, c] = position_m[i, c], velocity_mps[i, c]
            if at_once:
                target_m[i, c], feedforward_mps[i, c] = position_m[i, c], velocity_mps[i, c]
