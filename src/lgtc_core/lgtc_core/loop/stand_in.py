"""The stand-in of one drone: who flies it when its own adapter falls silent. One process has them all, long discovered.

A process that is started again needs a second or more to come up and half a second to be heard; a Crazyflie levels
out 0.5 s after its last setpoint and cuts its motors after 2.0 s. So somebody who is already there must take the stream
over:

| the owner's setpoints are silent for | what the stand-in does |
| --- | --- |
| take_over_s (0.2 s) | streams: holds at the owner's last reference, giving way to the others as any drone does |
| land_after_s (1.0 s) | lands: to a place with nobody below, then notify_setpoints_stop and land |
| the adapter, for report_lost_s, in a take-off or a descent | orders to land, which its firmware then does |

Two masters. Who streams has the drone: one setpoint of the owner, and the stand-in is silent again, in mid-landing too.
Once it has brought the drone down, the owner's next word of a drone on the ground is enough.
An owner that was silent for almost `land_after_s` does not come back to fly: its pilot sees its own pause
(PilotParams.stall_s, shorter than land_after_s) and lands, looking for a free place as the stand-in does. The owner's
report says when it last streamed; an owner whose reports come while its setpoints do not is not silent. A drone on the
ground, and one that its owner brings down, is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import ConfigError
from lgtc_core.flight.airframe import Airframe
from lgtc_core.flight.guard import Guard, GuardParams
from lgtc_core.flight.phases import VehiclePhase
from lgtc_core.flight.pilot import Action, Order
from lgtc_core.flight.reference import Setpoint
from lgtc_core.flight.response import Response, with_response, with_smoothing
from lgtc_core.loop.flyer import Flyer, FlyerParams
from lgtc_core.schema import Bounds
from lgtc_core.wire import MissionReport, Pose, VehicleReport
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SIGNATURE = "stand-in"
"""Begins the reason in every report that a stand-in makes in its owner's place."""

_SILENCE = Bounds(0.05, 10.0, "s")
_LISTENING = (VehiclePhase.HOLDING, VehiclePhase.FLYING)
_ON_THE_GROUND = (VehiclePhase.GROUNDED, VehiclePhase.LANDED, VehiclePhase.FAILED, VehiclePhase.TAKING_OFF)


@dataclass(frozen=True, kw_only=True)
class StandInParams:
    """When a stand-in acts, and how it flies."""

    take_over_s: Annotated[float, _SILENCE, "Silence of a drone's setpoints after which the stand-in streams"] = 0.2
    land_after_s: Annotated[float, _SILENCE, "Silence of a drone's setpoints after which the stand-in lands it"] = 1.0
    report_lost_s: Annotated[
        float, _SILENCE, "Silence of an adapter in a take-off or a descent after which the stand-in orders to land"
    ] = 1.0
    guard: GuardParams = field(default_factory=GuardParams)
    flyer: FlyerParams = field(default_factory=FlyerParams)

    def of_vehicle(self, command_period_s: float, response: Response) -> StandInParams:
        """The same for a vehicle that is commanded so often, and responds like this."""
        guard = with_response(self.guard, command_period_s, response)
        return replace(self, guard=guard, flyer=with_smoothing(self.flyer, command_period_s, response))

    def __post_init__(self) -> None:
        """Refuse times by which owner and stand-in could both believe that they fly."""
        stall_s = self.flyer.pilot.stall_s
        if not self.take_over_s < stall_s < self.land_after_s:
            got = f"{self.take_over_s:g}, {stall_s:g} and {self.land_after_s:g} s"
            raise ConfigError("", "take_over_s", got, "take_over_s < flyer.pilot.stall_s < land_after_s")


class StandIn:
    """Watches one drone's stream, and flies the drone while its owner does not.

    Args:
        name: of the drone.
        airframe: its limits.
        arena: where it may be.
        params: times, filter, pilot.
        others: airframes of the other drones, by name.

    Raises:
        ConfigError: the guarantee cannot hold in this configuration.
    """

    def __init__(
        self,
        name: str,
        airframe: Airframe,
        arena: Arena,
        params: StandInParams | None = None,
        others: Mapping[str, Airframe] | None = None,
    ) -> None:
        self.name, self.arena, self.params = name, arena, params or StandInParams()
        self.guard = Guard(name, airframe, arena, self.params.guard, others)
        self._flyer: Flyer | None = None
        self._mission: MissionReport | None = None
        self._report: VehicleReport | None = None
        self._setpoint: Callable[[], Setpoint] | None = None
        self._setpoint_s = -math.inf
        self._taken_s = math.inf
        self._down_s = math.inf
        self._posed_s = -math.inf
        self._told = ""

    @property
    def flying(self) -> bool:
        """Whether the stand-in has the drone: then it needs its pose and those of the others."""
        return self._flyer is not None

    @property
    def airborne(self) -> bool:
        """Whether it has the drone and must bring it down yet."""
        return self._flyer is not None and self._flyer.airborne

    def streamed(self, now_s: float, setpoint: Callable[[], Setpoint]) -> None:
        """A setpoint of the owner was heard; it is read only if the stand-in must go on from it."""
        self._setpoint_s, self._setpoint = now_s, setpoint

    def reported(self, report: VehicleReport) -> None:
        """The owner's word about the vehicle; one that this stand-in gave in its place is none."""
        if not report.reason.startswith(SIGNATURE):
            self._report = report

    def mission(self, report: MissionReport) -> None:
        """What the team is to do."""
        self._mission = report
        if self._flyer is not None:
            self._flyer.mission(report)

    def pose(self, pose: Pose) -> None:
        """The drone's pose. Needed only while `flying`."""
        self._posed_s = pose.stamp_s
        self.guard.pose(*pose)
        if self._flyer is not None:
            self._flyer.pose(pose)

    def neighbour(self, name: str, pose: Pose) -> None:
        """Another drone's pose. Needed only while `flying`."""
        self.guard.neighbour(name, *pose)

    def meet(self, heard: Bools, stamp_s: Array, position_m: Array) -> None:
        """Positions of all of `others`, see `Guard.meet`. Needed only while `flying`."""
        self.guard.meet(heard, stamp_s, position_m)

    def land(self, reason: str) -> None:
        """Land the drone if the stand-in has it."""
        if self._flyer is not None:
            self._flyer.land(f"{SIGNATURE}: {reason}")

    def tick(self, now_s: float) -> Order:
        """What to order the vehicle now; NONE while the owner has it."""
        if self._flyer is None:
            if not self._is_lost(now_s):
                return Order(Action.NONE, None, VehiclePhase.GROUNDED, "")
            self._flyer = self._take_over(now_s)
        elif self._last_streamed_s() > self._taken_s or self._owner_is_down_too():
            self._flyer = None
            return Order(Action.NONE, None, VehiclePhase.GROUNDED, "")
        flyer = self._flyer
        silent_s = now_s - self._last_streamed_s()
        if self._owner_descends():
            flyer.pilot.descend(f"{SIGNATURE}: its owner is landing it")
        elif silent_s >= self.params.land_after_s:
            flyer.land(f"{SIGNATURE}: setpoints silent for {self.params.land_after_s:g} s")
        if flyer.airborne:
            self.guard.landing = flyer.pilot.phase is VehiclePhase.LANDING
            command = self.guard.command(now_s)
            if self._posed_s > self._taken_s:  # before, the guard knows at best where the drone was another time
                flyer.command(command)
        order = flyer.tick(now_s)
        if not flyer.airborne:
            self._down_s = min(self._down_s, now_s)
        return order

    def report(self, now_s: float) -> VehicleReport | None:
        """What its owner would say of the vehicle; None while the owner has it."""
        if self._flyer is None:
            return None
        report = self._flyer.report(now_s)
        phase = VehiclePhase.HOLDING if report.phase is VehiclePhase.FLYING else report.phase
        reason = report.reason if report.reason.startswith(SIGNATURE) else f"{SIGNATURE}: {report.reason or self._told}"
        return report._replace(phase=phase, reason=reason)

    def _last_streamed_s(self) -> float:
        """When the owner last streamed, by its setpoints and by its own word."""
        said_s = -math.inf if self._report is None else self._report.stamp_s - self._report.setpoint_age_s
        return max(self._setpoint_s, -math.inf if math.isnan(said_s) else said_s)

    def _streams(self) -> bool:
        """Whether the owner is to stream: by its last word, or because it did after it."""
        report = self._report
        if report is None:
            return False
        says = report.phase in _LISTENING or (
            report.phase is VehiclePhase.LANDING and not math.isnan(report.setpoint_age_s)
        )
        return says or (report.phase is VehiclePhase.TAKING_OFF and self._setpoint_s > report.stamp_s)

    def _is_lost(self, now_s: float) -> bool:
        """Whether the owner has left its drone in the air without a word."""
        report = self._report
        if report is None:
            return False
        if self._streams():
            return now_s - self._last_streamed_s() >= self.params.take_over_s
        moving = report.phase in (VehiclePhase.TAKING_OFF, VehiclePhase.LANDING)
        return moving and now_s - report.stamp_s >= self.params.report_lost_s

    def _owner_descends(self) -> bool:
        """Whether the owner, back after all, has ordered the descent since the stand-in took over."""
        report = self._report
        return (
            report is not None
            and report.stamp_s > self._taken_s
            and report.phase is VehiclePhase.LANDING
            and math.isnan(report.setpoint_age_s)
        )

    def _owner_is_down_too(self) -> bool:
        """Whether the owner has spoken of the drone on the ground since the stand-in brought it there: it has it again.

        Otherwise both would report until the owner's first setpoint, two seconds into a second take-off.
        """
        report = self._report
        return report is not None and report.stamp_s > self._down_s and report.phase in _ON_THE_GROUND

    def _take_over(self, now_s: float) -> Flyer:
        flyer = Flyer(self.arena, self.params.flyer)
        if self._mission is not None:
            flyer.mission(self._mission)
        last = self._last_setpoint() if self._streams() else None
        silent_s = now_s - (self._last_streamed_s() if last is not None else self._report_s())
        self._told = f"{'setpoints' if last is not None else 'its adapter'} silent for {silent_s:.2f} s"
        flyer.pilot.take_over(now_s, None if last is None else last.position_m, f"{SIGNATURE}: {self._told}")
        self._taken_s, self._down_s = now_s, math.inf
        return flyer

    def _last_setpoint(self) -> Setpoint | None:
        """What the owner streamed last, as heard or by its own word."""
        if self._setpoint is not None:
            return self._setpoint()
        if self._report is None or not np.isfinite(self._report.reference_m).all():
            return None
        return Setpoint(self._report.reference_m, np.zeros(3))

    def _report_s(self) -> float:
        return -math.inf if self._report is None else self._report.stamp_s
