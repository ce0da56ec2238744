"""The stand-in as a ROS node: hears every drone's setpoints, and flies a drone whose adapter has fallen silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np
from rclpy.client import Client
from rclpy.serialization import deserialize_message, serialize_message
from std_srvs.srv import Trigger as RosTrigger

from lgtc_core import topics, wire
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.flight.pilot import Action
from lgtc_core.flight.reference import Setpoint
from lgtc_core.loop.stand_in import SIGNATURE, StandIn, StandInParams
from lgtc_core.schema import Bounds
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.hearing import Hearing
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.poses import PoseParams, hear_pose
from lgtc_nodes.qos import STREAMS

_SETPOINT = STREAMS[topics.SETPOINT]


@dataclass(frozen=True, kw_only=True)
class StandInNodeParams(PoseParams):
    """Parameters of the stand-in."""

    period_s: Annotated[float, Bounds(0.005, 0.05, "s"), "Time between two looks, and between its setpoints"] = 0.02
    report_period_s: Annotated[float, Bounds(0.02, 1.0, "s"), "Time between two reports of a drone that it flies"] = 0.1
    stand_in: StandInParams = field(default_factory=StandInParams)


class StandInNode(SwarmNode[StandInNodeParams]):
    """Takes over any drone whose setpoints fall silent, and gives it back when its owner streams again.

    Subscribes:
        /<drone>/setpoint (Odometry): of every drone, unread while its owner streams.
        /<drone>/vehicle (VehicleStatus): of every drone: whether it is to be streamed to.
        /<drone>/pose (PoseStamped), or /poses (Poses): of all, while it flies one.
        /mission (MissionState): when to land; silent: land.

    Publishes:
        /<drone>/setpoint (Odometry), /<drone>/vehicle (VehicleStatus): in place of an owner that is silent.

    Asks:
        /<drone>/land, /<drone>/notify_setpoints_stop (Trigger): of the vehicle.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("stand_in", drone, StandInNodeParams, lifeline)
        specs = {spec.name: spec for spec in self.team.drones}
        self.stand_ins = {
            name: StandIn(
                name,
                spec,
                self.team.arena,
                self.params.stand_in.of_vehicle(self.team.command_period_s, spec.response),
                {other: others for other, others in specs.items() if other != name},
            )
            for name, spec in specs.items()
        }
        self._say_setpoint = {name: self.speak(topics.SETPOINT, of=name) for name in specs}
        self._say_report = {name: self.speak(topics.VEHICLE, of=name) for name in specs}
        self._orders: dict[tuple[str, Action], Client] = {
            (name, action): self.create_client(RosTrigger, topics.of_drone(name, service))
            for name in specs
            for action, service in ((Action.NOTIFY_STOP, topics.NOTIFY_SETPOINTS_STOP), (Action.LAND, topics.LAND))
        }
        self._poses: dict[str, Hearing] = {}
        for name, stand_in in self.stand_ins.items():
            self.hear(topics.VEHICLE, wire.vehicle_from_wire, stand_in.reported, of=name)
        self.hear_all(topics.SETPOINT, self._streamed)
        self._rehearse()
        self.get_logger().info(f"watching {len(specs)} drones")
        self.every(self.params.period_s, self._tick)
        self.every(self.params.report_period_s, self._report)

    def on_mission(self, report: wire.MissionReport) -> None:
        """What the team is to do."""
        for stand_in in self.stand_ins.values():
            stand_in.mission(report)

    def on_stop(self) -> None:
        """The process is to end: land what it flies."""
        for stand_in in self.stand_ins.values():
            stand_in.land("its process was asked to end")

    def has_duty(self) -> bool:
        """True while it flies a drone."""
        return any(stand_in.airborne for stand_in in self.stand_ins.values())

    def _rehearse(self) -> None:
        """Take a drone over once on paper: what is loaded at its first use would take too long in earnest."""
        spec, arena, now_s = self.team.drones[0], self.team.arena, 1.0
        stand_in = StandIn(spec.name, spec, arena, self.params.stand_in)
        at_m = np.array([*arena.centre_m, arena.flight_height_m])
        raw = serialize_message(to_ros(_SETPOINT.type, wire.setpoint_to_wire(Setpoint(at_m, np.zeros(3)), now_s)))
        stand_in.mission(wire.MissionReport(now_s, MissionPhase.ACTIVE, 0.0, ""))
        stand_in.reported(wire.VehicleReport(now_s, VehiclePhase.FLYING, "", at_m, 0.0))
        stand_in.streamed(now_s, lambda: _setpoint_of(raw))
        while now_s < 1.0 + self.params.stand_in.land_after_s:
            now_s += self.params.period_s
            stand_in.pose(wire.Pose(now_s, at_m))
            stand_in.neighbour("another", wire.Pose(now_s, at_m + np.array([0.5, 0.0, 0.0])))
            stand_in.tick(now_s)

    def _streamed(self, name: str, raw: bytes) -> None:
        """Only while it streams itself does it read who streams: deserialising costs more than all the rest."""
        stand_in = self.stand_ins.get(name)
        if stand_in is None:
            return
        if not stand_in.flying or deserialize_message(raw, _SETPOINT.type).child_frame_id != SIGNATURE:
            stand_in.streamed(self.now_s(), lambda: _setpoint_of(raw))

    def _tick(self, now_s: float) -> None:
        changed = []
        for name, stand_in in self.stand_ins.items():
            flew = stand_in.flying
            order = stand_in.tick(now_s)
            if stand_in.flying is not flew:
                changed.append(name)
            if order.setpoint is not None:
                self._say_setpoint[name](wire.setpoint_to_wire(order.setpoint, now_s, SIGNATURE))
            elif order.action in (Action.NOTIFY_STOP, Action.LAND):
                self._orders[name, order.action].call_async(RosTrigger.Request()).add_done_callback(self._answered)
        if changed:
            self._follow_poses()
            self._report(now_s)
        for name in changed:  # last, as writing to a log can take longer than all the rest
            report = self.stand_ins[name].report(now_s)
            self.get_logger().warning(f"{name} {'given back' if report is None else f'taken over, {report.reason}'}")

    def _report(self, now_s: float) -> None:
        for name, stand_in in self.stand_ins.items():
            report = stand_in.report(now_s)
            if report is not None:
                self._say_report[name](wire.vehicle_to_wire(report))

    def _follow_poses(self) -> None:
        """Listen to all poses while it flies a drone, and to none otherwise: they are half of a team's traffic."""
        flying, together = any(stand_in.flying for stand_in in self.stand_ins.values()), self.params.poses_together
        for name in self.stand_ins:
            if flying and name not in self._poses:
                self._poses[name] = hear_pose(self, together, partial(self._pose, name), of=name)
            elif not flying and name in self._poses:
                self._poses.pop(name).stop()

    def _pose(self, name: str, pose: wire.Pose) -> None:
        for other, stand_in in self.stand_ins.items():
            if stand_in.flying:
                stand_in.pose(pose) if other == name else stand_in.neighbour(name, pose)

    def _answered(self, done: Any) -> None:
        """An order that was refused is told; it is given again while it has no effect."""
        if not done.result().success:
            self.tell("vehicle", done.result().message)


def _setpoint_of(raw: bytes) -> Setpoint:
    return wire.setpoint_from_wire(deserialize_message(raw, _SETPOINT.type))


create = StandInNode
