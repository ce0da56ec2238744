"""The embedded simulator as a ROS node: the drones' topics and services, and the clock of everybody."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np
from rclpy.clock import Clock, ClockType

from lgtc_core import topics, wire
from lgtc_core.errors import InputError
from lgtc_core.flight.phases import MissionPhase
from lgtc_core.flight.reference import Setpoint
from lgtc_core.loop.faults import Schedule
from lgtc_core.schema import Bounds
from lgtc_interfaces.srv import EditFaults as RosEditFaults
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import NodeParams, SwarmNode
from lgtc_nodes.orders import take_orders
from lgtc_sim.body import Control
from lgtc_sim.pace import BEHIND_S, REPORT_LATE_S, SETPOINT_LATE_S, Pace
from lgtc_sim.world import World, WorldParams

TELL_WAITING_S = 5.0
"""Every so many seconds that the world has stood still for somebody, that is told [s, real time]."""
CLOCK_AGAIN_S = 0.05
"""A world that stands still tells its time again: who missed it would be waited for in vain [s, real time]."""
CLOCK_PERIODS_S = (0.02, 0.05)
"""Time is told where a multiple of one of these is reached, or poses are told: what nodes do has such periods. Told at
every step, it would be the most frequent message of all, which every process takes."""
AFTER_TOUCHDOWN_S = 2.0
"""Simulated time that goes on after the last touchdown."""


@dataclass(frozen=True, kw_only=True)
class SimulatorParams(NodeParams):
    """Parameters of the simulator."""

    speed: Annotated[float, Bounds(0.01, 100.0), "Simulated seconds per second that it aims at"] = 1.0
    patience_s: Annotated[
        float, Bounds(0.0, 60.0, "s"), "Real time for which the world waits for those who fly in it; 0: for nobody"
    ] = 1.0
    world: WorldParams = field(default_factory=WorldParams)


class SimulatorNode(SwarmNode[SimulatorParams]):
    """Stands for the drones. It is the clock, so it alone looks at the wall's: to pace itself (`lgtc_sim.pace`).

    Subscribes:
        /<drone>/setpoint (Odometry): streamed position and velocity references.
        /<drone>/vehicle (VehicleStatus), /<drone>/resources (ResourceState): how far wings and minds are, which it
            waits for.
        /mission (MissionState): heartbeat, and when the policies took over: the scenario's faults count from then.

    Publishes:
        /clock (Clock): simulated time, some 60 times a second.
        /poses (Poses), /<drone>/pose (PoseStamped), /<drone>/battery (BatteryState): what the sensors say, as far as
            somebody hears it: the team's own nodes hear the poses of all in one message.
        /faults (Faults): latched: what goes wrong on purpose, at the start and whenever it changes.

    Serves, as crazyswarm2 does:
        /<drone>/arm (SetBool), /<drone>/takeoff, /<drone>/land, /<drone>/notify_setpoints_stop (Trigger).
        /all/emergency (Empty): motors off, everywhere, at once.
        /faults/edit (EditFaults): makes something go wrong.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("simulator", drone, SimulatorParams, lifeline)
        self.world = World(self.team, self.params.world)
        self._say_clock = self.speak(topics.CLOCK)
        self._say_poses = self.speak(topics.POSES)
        self._say_pose = {name: self.speak(topics.POSE, of=name) for name in self.team.names}
        self._say_battery = {name: self.speak(topics.BATTERY, of=name) for name in self.team.names}
        n, dt_s, speed = len(self.team.drones), self.params.world.dt_s, self.params.speed
        limits_s = (max(SETPOINT_LATE_S, 3.0 * self.team.command_period_s),) * n + (REPORT_LATE_S,) * (2 * n + 1)
        self._pace = Pace(limits_s, dt_s, speed, self.params.patience_s)
        self._awaited = np.ones(len(limits_s), np.bool_)
        for i, name in enumerate(self.team.names):
            self.hear(topics.SETPOINT, _stamped_setpoint, partial(self._setpoint, i, name), of=name)
            if self.params.patience_s > 0.0:
                self.hear(topics.VEHICLE, wire.stamp_from_wire, partial(self._pace.heard, n + i), of=name)
                self.hear(topics.RESOURCES, wire.stamp_from_wire, partial(self._pace.heard, 2 * n + i), of=name)
        take_orders(self, self.world.vehicles)
        self.serve(topics.EDIT_FAULTS, RosEditFaults, self._edit_faults)
        self._schedule = Schedule(self.team.faults)
        self._active_s: float | None = None
        self._say_faults = self.speak(topics.FAULTS)
        self._say_faults(wire.faults_to_wire(wire.FaultsReport(0.0, ())))
        self._airborne_s = -math.inf
        self._told_waiting_s = self._clocked_s = 0.0
        self.create_timer(dt_s / speed, self._advance, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def on_mission(self, report: wire.MissionReport) -> None:
        """The scenario's faults count from when the policies took over; once the mission is done all may leave."""
        self._pace.heard(-1, report.stamp_s)
        self._awaited[len(self.team.drones) :] = report.phase is not MissionPhase.DONE
        if self._active_s is None and report.phase is MissionPhase.ACTIVE:
            self._active_s = report.stamp_s - report.elapsed_s

    def has_duty(self) -> bool:
        """True while a drone is in the air, and a little longer, so that its adapter sees that it is down."""
        return self.world.now_s - self._airborne_s < AFTER_TOUCHDOWN_S

    def _advance(self) -> None:
        """Make the steps that are due."""
        for _ in range(math.ceil(BEHIND_S / self._pace.dt_s)):  # no more at once: setpoints are to be heard in between
            self._awaited[: len(self.team.drones)] = self.world.vehicles.control == Control.STREAM
            if not self._pace.due(time.monotonic(), self.world.now_s, self._awaited):
                break
            self._step()
        if time.monotonic() - self._clocked_s > CLOCK_AGAIN_S:
            self._tell_clock()
        if self._pace.waited_s > self._told_waiting_s + TELL_WAITING_S:
            self._told_waiting_s = waited_s = self._pace.waited_s
            self.get_logger().warning(
                f"stood still for {waited_s:.1f} s so far, for others to keep up: too much to do here"
            )

    def _step(self) -> None:
        holding = self._schedule.holding(self.world.now_s, self._active_s)
        if holding != self.world.faults:
            self.world.suffer(holding)
            self._say_faults(wire.faults_to_wire(wire.FaultsReport(self.world.now_s, holding)))
        self.world.step()
        if self.world.airborne.any():
            self._airborne_s = self.world.now_s
        if self.world.poses_due or any(map(self.world.due, CLOCK_PERIODS_S)):
            self._tell_clock()
        poses = self.world.poses()
        if poses:
            together = {name: pose.position_m for name, pose in poses.items()}
            self._say_poses(wire.poses_to_wire(self.world.now_s, together))
        for name, pose in poses.items():
            self._say_pose[name](wire.pose_to_wire(pose))
        for name, battery in self.world.batteries().items():
            self._say_battery[name](wire.battery_to_wire(battery))

    def _tell_clock(self) -> None:
        self._clocked_s = time.monotonic()
        self._say_clock({"clock": self.world.now_s})

    def _setpoint(self, i: int, name: str, stamped: tuple[float, Setpoint]) -> None:
        stamp_s, setpoint = stamped
        self._pace.heard(i, stamp_s)
        self.world.vehicles.setpoint(name, self.world.now_s, setpoint.position_m, setpoint.velocity_mps)

    def _edit_faults(self, request: Any) -> wire.Wire:
        if request.operation == RosEditFaults.Request.CLEAR:
            count = self._schedule.clear()
            return {"accepted": True, "message": f"{count} faults ended"}
        if request.operation != RosEditFaults.Request.ADD:
            raise InputError("operation", f"{request.operation}", "0 ADD or 1 CLEAR")
        fault = wire.fault_from_wire(request.fault)
        for name in fault.drones:
            self.team.drone(name)
        self._schedule.add(self.world.now_s, fault)
        return {"accepted": True, "message": f"{fault}"}


def _stamped_setpoint(message: Any) -> tuple[float, Setpoint]:
    return wire.stamp_from_wire(message), wire.setpoint_from_wire(message)


create = SimulatorNode
