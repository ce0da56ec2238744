"""What flies one drone: the pilot, with the ages of all that it hears.

| silent | for | what happens |
| --- | --- | --- |
| /mission | mission_lifetime_s | the supervisor counts as dead: the drone lands |
| resources | resources_lifetime_s | nobody watches the battery any more: the drone lands |
| own pose | pose_lifetime_s | the position counts as unknown; the pilot lands it (PilotParams.pose_lost_s) |
| safe commands | PilotParams.command_timeout_s | the pilot holds, later lands |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt

from lgtc_core.flight import flight_memory
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.flight_memory import Memory
from lgtc_core.flight.phases import Tier, VehiclePhase
from lgtc_core.flight.pilot import Order, Pilot, PilotParams
from lgtc_core.schema import Bounds
from lgtc_core.wire import UNKNOWN_M, MissionReport, Pose, Resources, VehicleReport
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]

_LIFETIME = Bounds(0.05, 60.0, "s")


@dataclass(frozen=True, kw_only=True)
class FlyerParams:
    """How a vehicle adapter treats what it hears."""

    mission_lifetime_s: Annotated[float, _LIFETIME, "Silence of /mission after which the drone lands"] = 2.0
    resources_lifetime_s: Annotated[float, _LIFETIME, "Silence of the resource monitor after which it lands"] = 1.8
    pose_lifetime_s: Annotated[float, _LIFETIME, "Age at which the own position counts as unknown"] = 0.2
    pilot: PilotParams = field(default_factory=PilotParams)


class Flyer:
    """Vehicle adapter of one drone, without ROS and without a vehicle.

    Args:
        arena: for the flight height.
        params: lifetimes, and the pilot's times and tolerances.
        rejoins: whether it takes off again, once charged, while the mission goes on.
        memory: where it is kept what it knows; without, it has its own.
        i: row of `memory`.
    """

    def __init__(
        self,
        arena: Arena,
        params: FlyerParams | None = None,
        rejoins: bool = False,
        memory: Memory | None = None,
        i: int = 0,
    ) -> None:
        self.params = params or FlyerParams()
        self._memory, self._i = memory or flight_memory.empty_memory(1), i
        for lifetime in ("pose_lifetime_s", "mission_lifetime_s", "resources_lifetime_s"):
            getattr(self._memory, lifetime)[i] = getattr(self.params, lifetime)
        self.pilot = Pilot(arena, self.params.pilot, rejoins, self._memory, i)
        self._command: SafeCommand | None = None
        self._resources: Resources | None = None
        self._mission: MissionReport | None = None

    def pose(self, pose: Pose) -> None:
        """Own pose."""
        self._memory.pose_s[self._i], self._memory.pose_m[self._i] = pose

    def command(self, command: SafeCommand) -> None:
        """Safe command of the own guard."""
        self._command = command
        self._memory.command_s[self._i] = command.stamp_s

    def resources(self, resources: Resources) -> None:
        """Battery's tier."""
        self._resources = resources
        self._memory.resources_s[self._i], self._memory.tier[self._i] = resources.stamp_s, resources.tier

    def mission(self, report: MissionReport) -> None:
        """What the team is to do."""
        self._mission = report
        self._memory.mission_s[self._i], self._memory.mission[self._i] = report.stamp_s, report.phase

    def land(self, reason: str) -> None:
        """An operator, or the end of the process, lands this drone."""
        self.pilot.land(reason)

    @property
    def airborne(self) -> bool:
        """True from take-off until the drone is down or has failed."""
        return self.pilot.phase.airborne

    def ready(self, now_s: float) -> bool:
        """Whether all that a flight needs has been heard lately."""
        return (
            self._position(now_s) is not None
            and bool(now_s - self._memory.command_s[self._i] <= self.params.pilot.command_timeout_s)
            and self._resources is not None
            and now_s - self._resources.stamp_s <= self.params.resources_lifetime_s
        )

    def tick(self, now_s: float) -> Order:
        """What to order the vehicle now."""
        mission, resources = self._mission, self._resources
        silent = mission is None or now_s - mission.stamp_s > self.params.mission_lifetime_s
        if resources is not None and now_s - resources.stamp_s > self.params.resources_lifetime_s and self.airborne:
            self.pilot.land(f"the resource monitor is silent for {now_s - resources.stamp_s:.1f} s")
        order = self.pilot.update(
            now_s,
            None if silent or mission is None else mission.phase,
            Tier.OK if resources is None else resources.tier,
            self._position(now_s),
            self._command,
            resources is not None and resources.may_take_off,
        )
        if order.setpoint is not None:
            self._memory.setpoint_s[self._i] = now_s
        elif order.phase not in (VehiclePhase.HOLDING, VehiclePhase.FLYING):
            self._memory.setpoint_s[self._i] = math.nan
        return order

    def report(self, now_s: float) -> VehicleReport:
        """Where the vehicle is between the ground and the ground."""
        setpoint_s = float(self._memory.setpoint_s[self._i])
        return VehicleReport(
            stamp_s=now_s,
            phase=self.pilot.phase,
            reason=self.pilot.reason,
            reference_m=UNKNOWN_M if math.isnan(setpoint_s) else self._memory.reference_m[self._i].copy(),
            setpoint_age_s=now_s - setpoint_s,
        )

    def _position(self, now_s: float) -> Array | None:
        aged = now_s - self._memory.pose_s[self._i] > self.params.pose_lifetime_s
        return None if aged else self._memory.pose_m[self._i]
