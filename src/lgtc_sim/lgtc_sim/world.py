"""The simulated world of one team: vehicles that move by fixed steps, and what their sensors say when it is due.

Time is counted in steps, so that equal seeds give equal flights to the last bit:

    t_n = n dt,   a reading with period T is due when n is a multiple of T / dt

Two things are random, both drawn from the seed: people put drones down by hand (`placement_sd_m`), and motion capture
is noisy (`pose_sd_m`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fault import Fault
from lgtc_core.fleet.team import Team
from lgtc_core.loop.faults import SENSOR_KINDS, Sensors
from lgtc_core.schema import Bounds
from lgtc_core.wire import BatteryReading, Pose
from lgtc_sim.crazyflie import CONTROL_S
from lgtc_sim.vehicle import VehicleParams, Vehicles

_PERIOD = Bounds(0.001, 10.0, "s")
AIRBORNE_M = 0.03
"""A drone higher than this is off the ground; measuring noise is far below."""

_SD = Bounds(0.0, 0.1, "m")
_DRAWN = 64
"""Measurements whose noise is drawn at once."""


@dataclass(frozen=True, kw_only=True)
class WorldParams:
    """How the world is stepped and seen."""

    dt_s: Annotated[float, Bounds(0.005, 0.02, "s"), "Time step; /clock comes no more often, so at 200 Hz at most"] = (
        0.01
    )
    battery_period_s: Annotated[float, _PERIOD, "Time between two battery readings of a drone"] = 0.2
    placement_sd_m: Annotated[float, _SD, "Standard deviation of a start place, per axis"] = 0.01
    pose_sd_m: Annotated[float, _SD, "Standard deviation of a measured position, per axis"] = 0.0005
    vehicle: VehicleParams = field(default_factory=VehicleParams)

    def __post_init__(self) -> None:
        """Refuse periods that are no multiple of the step."""
        self.check_period("", "battery_period_s", self.battery_period_s)
        if abs(self.dt_s / CONTROL_S - round(self.dt_s / CONTROL_S)) > 1e-6:
            raise ConfigError(
                "", "dt_s", f"{self.dt_s:g} s", f"a multiple of a Crazyflie's control period ({CONTROL_S:g} s)"
            )

    def check_period(self, source: str, key: str, period_s: float) -> None:
        """Refuse a period that is no multiple of the step.

        Raises:
            ConfigError: naming the key of that source.
        """
        if abs(period_s / self.dt_s - round(period_s / self.dt_s)) > 1e-6:
            raise ConfigError(source, key, f"{period_s:g} s", f"a multiple of dt_s ({self.dt_s:g} s)")


class Measured(NamedTuple):
    """Where sensors say that N drones are."""

    told: npt.NDArray[np.bool_]  # (N,)
    """Of which drones they say anything."""
    stamp_s: npt.NDArray[np.float64]  # (N,)
    position_m: npt.NDArray[np.float64]  # (N, 3)
    """Frame "world" [m]."""

    def poses(self, names: Sequence[str]) -> dict[str, Pose]:
        """What they say, by the names of the drones."""
        rows = zip(names, *self, strict=True)
        return {name: Pose(float(stamp_s), at_m) for name, told, stamp_s, at_m in rows if told}


class World:
    """Vehicles of a team with their sensors.

    Args:
        team: who flies, from where, with which battery.
        params: step, periods and noise.
        seed: of placement and noise; None: the team's.

    Raises:
        ConfigError: the team's command period is no multiple of the step.
    """

    def __init__(self, team: Team, params: WorldParams | None = None, seed: int | None = None) -> None:
        self.team, self.params = team, params or WorldParams()
        self.params.check_period("fleet", "command_period_s", team.command_period_s)
        self._random = np.random.default_rng(team.seed if seed is None else seed)
        start_m = np.array([(*drone.start_m, 0.0) for drone in team.drones])
        start_m[:, :2] += self._random.normal(0.0, self.params.placement_sd_m, (len(team.drones), 2))
        self.seed = team.seed if seed is None else seed
        """Of everything random."""
        self._noise_m = self._noise()
        self.vehicles = Vehicles.of_team(team, start_m, self.params.vehicle, team.vehicle, self.seed)
        self.faults: tuple[Fault, ...] = ()
        """What goes wrong now."""
        self._sensors, self._misled = Sensors(self.seed), False
        self._told = np.ones(len(team.drones), np.bool_)
        self.steps_made = 0
        """Since the start."""

    def suffer(self, faults: tuple[Fault, ...]) -> None:
        """These faults, and no others, hold from now on: at sensors and vehicles. Messages are no part of the world."""
        self.faults = faults
        self._misled = any(fault.kind in SENSOR_KINDS for fault in faults)
        if not self._misled:
            self._sensors.forget()
        self.vehicles.disturbance.apply(faults)

    @property
    def now_s(self) -> float:
        """Simulated time [s]; 0 before the first step."""
        return self.steps_made * self.params.dt_s

    @property
    def airborne(self) -> npt.NDArray[np.bool_]:
        """Which drones are off the ground, (N,)."""
        off: npt.NDArray[np.bool_] = self.vehicles.position_m[:, 2] > AIRBORNE_M
        return off

    def step(self) -> None:
        """Move everything by one time step."""
        self.steps_made += 1
        self.vehicles.step(self.now_s, self.params.dt_s)

    def steps_in(self, period_s: float) -> int:
        """After how many steps something with this period is due again."""
        return round(period_s / self.params.dt_s)

    def due(self, period_s: float) -> bool:
        """Whether something with this period is due at this step."""
        return self.steps_made % self.steps_in(period_s) == 0

    @property
    def poses_due(self) -> bool:
        """Whether sensors read poses at this step; a fault may keep single ones from being told."""
        return self.due(self.team.command_period_s)

    def measured(self) -> Measured:
        """What sensors read at this step, at which poses are due."""
        position_m = self.vehicles.position_m + next(self._noise_m)
        told, stamp_s = self._told, np.full(len(position_m), self.now_s)
        if self._misled:
            read = {name: Pose(self.now_s, at_m) for name, at_m in zip(self.team.names, position_m, strict=True)}
            poses = self._sensors.measured(self.faults, read)
            told = np.array([name in poses for name in self.team.names])
            position_m = np.array([poses.get(name, read[name]).position_m for name in self.team.names])
        return Measured(told, stamp_s, position_m)

    def _noise(self) -> Iterator[npt.NDArray[np.float64]]:
        """Of one measurement after the other (N, 3) [m]; drawn for many, as a draw takes longer than its numbers."""
        while True:
            yield from self._random.normal(0.0, self.params.pose_sd_m, (_DRAWN, len(self.team.drones), 3))

    def poses(self) -> dict[str, Pose]:
        """Measured poses, if they are due at this step; else none."""
        return self.measured().poses(self.team.names) if self.poses_due else {}

    def batteries(self) -> dict[str, BatteryReading]:
        """Battery readings, if they are due at this step; else none."""
        if not self.due(self.params.battery_period_s):
            return {}
        now_s, vehicles = self.now_s, self.vehicles
        readings = zip(self.team.names, vehicles.voltage_v.tolist(), vehicles.charge.tolist(), strict=True)
        return {name: BatteryReading(now_s, volts, charge) for name, volts, charge in readings}
