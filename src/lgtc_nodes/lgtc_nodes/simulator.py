"""The embedded simulator as a ROS node: the drones' topics and services, and the clock of everybody."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

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
from lgtc_sim.world import World, WorldParams

BEHIND_S = 0.2
"""When the machine cannot keep up, this much is made up for; what is beyond is given up, and time runs slower."""

AFTER_TOUCHDOWN_S = 2.0
"""Simulated time that goes on after the last touchdown."""


@dataclass(frozen=True, kw_only=True)
class SimulatorParams(NodeParams):
    """Parameters of the simulator."""

    speed: Annotated[float, Bounds(0.01, 100.0), "Simulated seconds per second that it aims at"] = 1.0
    world: WorldParams = field(default_factory=WorldParams)


class SimulatorNode(SwarmNode[SimulatorParams]):
    """Stands for the drones. It is the clock, so it alone looks at the wall's: to pace itself. It waits for nobody.

    Subscribes:
        /<drone>/setpoint (Odometry): streamed position and velocity references.
        /mission (MissionState): heartbeat, and when the policies took over: the scenario's faults count from then.

    Publishes:
        /clock (Clock): simulated time, every step.
        /<drone>/pose (PoseStamped), /<drone>/battery (BatteryState): what the sensors say.
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
        self._say_pose = {name: self.speak(topics.POSE, of=name) for name in self.team.names}
        self._say_battery = {name: self.speak(topics.BATTERY, of=name) for name in self.team.names}
        for name in self.team.names:
            self.hear(topics.SETPOINT, wire.setpoint_from_wire, partial(self._setpoint, name), of=name)
        take_orders(self, self.world.vehicles)
        self.serve(topics.EDIT_FAULTS, RosEditFaults, self._edit_faults)
        self._schedule = Schedule(self.team.faults)
        self._active_s: float | None = None
        self._say_faults = self.speak(topics.FAULTS)
        self._say_faults(wire.faults_to_wire(wire.FaultsReport(0.0, ())))
        self._airborne_s = -math.inf
        self._begun_s = time.monotonic()
        self.create_timer(
            self.params.world.dt_s / self.params.speed, self._advance, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def on_mission(self, report: wire.MissionReport) -> None:
        """The scenario's faults count from when the policies took over."""
        if self._active_s is None and report.phase is MissionPhase.ACTIVE:
            self._active_s = report.stamp_s - report.elapsed_s

    def has_duty(self) -> bool:
        """True while a drone is in the air, and a little longer, so that its adapter sees that it is down."""
        return self.world.now_s - self._airborne_s < AFTER_TOUCHDOWN_S

    def _advance(self) -> None:
        """Make the steps that are due by the wall's clock."""
        speed, dt_s = self.params.speed, self.params.world.dt_s
        now_s = time.monotonic()
        behind_s = (now_s - self._begun_s) * speed - self.world.now_s
        if behind_s > BEHIND_S:
            self._begun_s += (behind_s - BEHIND_S) / speed
            behind_s = BEHIND_S
        for _ in range(int(behind_s / dt_s)):
            self._step()

    def _step(self) -> None:
        holding = self._schedule.holding(self.world.now_s, self._active_s)
        if holding != self.world.faults:
            self.world.suffer(holding)
            self._say_faults(wire.faults_to_wire(wire.FaultsReport(self.world.now_s, holding)))
        self.world.step()
        if self.world.airborne.any():
            self._airborne_s = self.world.now_s
        self._say_clock({"clock": self.world.now_s})
        for name, pose in self.world.poses().items():
            self._say_pose[name](wire.pose_to_wire(pose))
        for name, battery in self.world.batteries().items():
            self._say_battery[name](wire.battery_to_wire(battery))

    def _setpoint(self, name: str, setpoint: Setpoint) -> None:
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


create = SimulatorNode
