"""The adapter between the swarm and one vehicle as a ROS node: safe velocities in, setpoints and orders out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from rclpy.client import Client
from std_srvs.srv import SetBool as RosSetBool
from std_srvs.srv import Trigger as RosTrigger

from lgtc_core import topics, wire
from lgtc_core.fleet.fault import FaultKind
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.phases import VehiclePhase
from lgtc_core.flight.pilot import Action
from lgtc_core.flight.response import with_smoothing
from lgtc_core.loop.faults import any_of
from lgtc_core.loop.flyer import Flyer, FlyerParams
from lgtc_core.schema import Bounds
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.poses import PoseParams, hear_pose


@dataclass(frozen=True, kw_only=True)
class VehicleParams(PoseParams):
    """Parameters of the vehicle adapter."""

    report_period_s: Annotated[float, Bounds(0.02, 1.0, "s"), "Time between two reports of the phase"] = 0.1
    flyer: FlyerParams = field(default_factory=FlyerParams)


class VehicleNode(SwarmNode[VehicleParams]):
    """Takes one drone from the ground to the ground.

    Subscribes:
        pose (PoseStamped), or out of /poses (Poses): own, from the vehicle.
        velocity_safe (TwistStamped), safety (SafetyStatus): the safe command; each pair moves the setpoint at once. A
            safety filter in the same process hands them over, and nothing is heard from the network.
        resources (ResourceState): the battery's tier.
        /mission (MissionState): when to take off and land; silent: land.
        /faults (Faults): it may be told to hang, in simulation.

    Publishes:
        setpoint (Odometry): position and velocity reference, without a gap from take-off to landing.
        vehicle (VehicleStatus): its phase, from when all that a flight needs is there.

    Serves:
        vehicle/land (Trigger): an operator lands this drone.

    Asks:
        arm (SetBool), takeoff, land, notify_setpoints_stop (Trigger): of the vehicle.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("vehicle", drone, VehicleParams, lifeline)
        params = with_smoothing(self.params.flyer, self.team.command_period_s, self.spec.response)
        self.flyer = Flyer(self.team.arena, params, self.team.rejoin)
        self._period_s = 1.0 / params.pilot.rate_hz
        self._velocity: wire.Velocity | None = None
        self._ticked_s = 0.0
        self._told = False
        self._hangs = False
        self._phase = VehiclePhase.GROUNDED
        self._say_setpoint = self.speak(topics.SETPOINT)
        self._say_report = self.speak(topics.VEHICLE)
        self._arm = self.create_client(RosSetBool, topics.ARM)
        self._orders: dict[Action, Client] = {
            Action.TAKE_OFF: self.create_client(RosTrigger, topics.TAKEOFF),
            Action.NOTIFY_STOP: self.create_client(RosTrigger, topics.NOTIFY_SETPOINTS_STOP),
            Action.LAND: self.create_client(RosTrigger, topics.LAND),
        }
        hear_pose(self, self.params.poses_together, self.flyer.pose)
        self.hear(topics.VELOCITY_SAFE, wire.velocity_from_wire, self._safe_velocity, handed=True)
        self.hear(topics.SAFETY, self._safe_command, self._command, handed=True)
        self.hear(topics.RESOURCES, wire.resources_from_wire, self.flyer.resources)
        self.hear(topics.FAULTS, wire.faults_from_wire, self._fail)
        self.serve(topics.VEHICLE_LAND, RosTrigger, self._land)
        self.every(self._period_s, self._watch)
        self.every(self.params.report_period_s, self._report)

    def on_mission(self, report: wire.MissionReport) -> None:
        """What the team is to do."""
        self.flyer.mission(report)

    def on_stop(self) -> None:
        """The process is to end: land first."""
        self.flyer.land("its process was asked to end")

    def has_duty(self) -> bool:
        """True while the drone is in the air."""
        return self.flyer.airborne

    def _fail(self, report: wire.FaultsReport) -> None:
        self._hangs = any_of(report.faults, FaultKind.HANGING_ADAPTER, self.drone)

    def _safe_velocity(self, velocity: wire.Velocity) -> None:
        self._velocity = velocity

    def _safe_command(self, message: Any) -> SafeCommand | None:
        """The command that a SafetyStatus completes; None while its velocity has not come."""
        velocity = self._velocity
        if velocity is None or velocity.stamp_s != wire.stamp_from_wire(message):
            return None
        return wire.safety_from_wire(message, velocity)

    def _command(self, command: SafeCommand | None) -> None:
        if command is not None:
            self.flyer.command(command)
            self._tick(self.now_s())

    def _watch(self, now_s: float) -> None:
        """Keep the pilot going when no commands come."""
        if now_s - self._ticked_s >= 1.5 * self._period_s:
            self._tick(now_s)

    def _tick(self, now_s: float) -> None:
        if self._hangs:
            return
        self._ticked_s = now_s
        order = self.flyer.tick(now_s)
        if order.phase is not self._phase:
            self._phase = order.phase
            self.get_logger().info(f"{order.phase.name} {order.reason}")
            self._report(now_s)
        elif order.action is Action.NOTIFY_STOP:
            self._report(now_s)  # the stand-in must know that the setpoints end on purpose
        if order.setpoint is not None:
            self._say_setpoint(wire.setpoint_to_wire(order.setpoint, now_s))
        elif order.action is Action.ARM:
            self._arm.call_async(to_ros(RosSetBool.Request, {"data": True})).add_done_callback(self._answered)
        elif order.action in self._orders:
            self._orders[order.action].call_async(RosTrigger.Request()).add_done_callback(self._answered)

    def _answered(self, done: Any) -> None:
        """An order that was refused is told; the pilot gives it again while it has no effect."""
        if not done.result().success:
            self.tell("vehicle", done.result().message)

    def _report(self, now_s: float) -> None:
        if self._hangs:
            return
        if not self._told:
            there = all(client.service_is_ready() for client in (self._arm, *self._orders.values()))
            self._told = there and self.flyer.ready(now_s)
        if self._told:
            self._say_report(wire.vehicle_to_wire(self.flyer.report(now_s)))

    def _land(self, _: Any) -> wire.Wire:
        self.flyer.land("an operator landed it")
        return {"success": True, "message": f"landing from {self._phase.name}"}


create = VehicleNode
