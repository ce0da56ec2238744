"""The safety filter of one drone as a ROS node: every pose is answered by one safe velocity."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lgtc_core import topics, wire
from lgtc_core.demand.view import DemandView
from lgtc_core.flight.guard import Guard, GuardParams
from lgtc_core.flight.landing import NO_DISCS_M
from lgtc_core.flight.phases import MissionPhase
from lgtc_core.flight.response import with_response
from lgtc_core.loop.neighbourhood import Neighbourhood, NeighbourhoodParams
from lgtc_nodes.faulty import FaultyEars
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.poses import NearPoses, NearPoseTopics, PoseParams, hear_pose


@dataclass(frozen=True, kw_only=True)
class SafetyFilterParams(PoseParams):
    """Parameters of the safety filter node."""

    guard: GuardParams = field(default_factory=GuardParams)
    neighbourhood: NeighbourhoodParams = field(default_factory=NeighbourhoodParams)


class SafetyFilterNode(SwarmNode[SafetyFilterParams]):
    """Keeps one drone away from the others, from the walls and from the floor.

    Subscribes:
        pose (PoseStamped), or out of /poses (Poses): own, from the vehicle; each is answered at once.
        velocity_nominal (TwistStamped): where the policy wants to fly.
        /<other>/pose (PoseStamped), or out of /poses (Poses): of near team-mates only.
        /presence (Presence): who is near, where /poses does not tell it.
        vehicle (VehicleStatus): while LANDING, the command leads to a free place instead of where the policy wants.
        /demand (Demand): where the discs are, in which it does not land while others fly on.
        /mission (MissionState): whether others fly on.
        /faults (Faults): what becomes of messages from others, in simulation.

    Publishes:
        velocity_safe (TwistStamped): stamped with the pose that it answers.
        safety (SafetyStatus): what the filter did and why, with the same stamp.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("safety_filter", drone, SafetyFilterParams, lifeline)
        others = {other.name: other for other in self.team.drones if other.name != drone}
        params = with_response(self.params.guard, self.team.command_period_s, self.spec.response)
        self.guard = Guard(drone, self.spec, self.team.arena, params, others)
        self._period_s = 1.0 / params.rate_hz
        self._commanded_s: float | None = None
        self._active = False
        self._say_velocity = self.speak(topics.VELOCITY_SAFE)
        self._say_safety = self.speak(topics.SAFETY)
        self.hear(topics.VELOCITY_NOMINAL, wire.velocity_from_wire, lambda nominal: self.guard.nominal(*nominal))
        ears = FaultyEars(self)
        self.hear(topics.VEHICLE, wire.vehicle_from_wire, self.guard.vehicle)
        self.hear(topics.DEMAND, wire.demand_from_wire, self._demand)
        near, radius_m = self.params.neighbourhood, self.team.arena.radius_m
        self._near: NearPoses | NearPoseTopics
        if self.params.poses_together:
            self._near = NearPoses(self, radius_m + near.margin_m, ears, self.guard.neighbours)
        else:
            self._near = NearPoseTopics(self, Neighbourhood(drone, radius_m, near), ears, self.guard.neighbours)
        hear_pose(self, self.params.poses_together, self._pose)  # last: of one message the own pose is what is answered
        self.every(self._period_s, self._watch)

    def _pose(self, pose: wire.Pose) -> None:
        self._near.moved(pose.position_m)
        if self.guard.pose(*pose):
            self._command(self.now_s())

    def on_mission(self, report: wire.MissionReport) -> None:
        """Nobody serves any more once all land."""
        self._active = report.phase is MissionPhase.ACTIVE

    def _demand(self, view: DemandView) -> None:
        self.guard.discs_m = view.discs_m if self._active else NO_DISCS_M

    def _watch(self, now_s: float) -> None:
        """Without a pose to answer, commands go on at the guard's rate, so that the silence is told."""
        if self._commanded_s is not None and now_s - self._commanded_s >= 1.5 * self._period_s:
            self._command(now_s)

    def _command(self, now_s: float) -> None:
        self._commanded_s = now_s
        command = self.guard.command(now_s)
        if math.isnan(command.stamp_s):
            self.tell("safety", command.reason)
            return
        self._say_velocity(wire.velocity_to_wire(wire.Velocity(command.stamp_s, command.velocity_mps)))
        self._say_safety(wire.safety_to_wire(command))


create = SafetyFilterNode
