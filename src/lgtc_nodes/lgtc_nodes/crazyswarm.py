"""crazyswarm2 as a ROS node of ours: topics and services of the embedded simulator, passed on to a crazyflie_server.

crazyswarm2's names are ours with other types, so its server runs in the namespace of `NAMESPACE` and this node
translates. One client for three servers, which differ (crazyswarm2 1.0):

| the server | its simulator | cflib, cpp | what happens here |
| --- | --- | --- | --- |
| <drone>/arm | absent | there | taken as armed, told once |
| <drone>/takeoff, land | there | there | missing: refused by name |
| <drone>/notify_setpoints_stop | without effect | there | asked before every landing by the pilot |
| <drone>/cmd_full_state | there | there | the only setpoint used: Mellinger ignores velocities |
| <drone>/status | absent | if logged | absent: a simulated cell, told once; else nobody takes off unarmed or locked |
| <drone>/pose | absent | if logged | absent: /tf |
| clock | there | absent | relayed as /clock, thinned (relay.py) |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from rclpy.client import Client
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_srvs.srv import Empty as RosEmpty
from std_srvs.srv import SetBool as RosSetBool
from std_srvs.srv import Trigger as RosTrigger

from lgtc_core import topics, wire
from lgtc_core.errors import ConfigError
from lgtc_core.flight.battery import CellModel
from lgtc_core.flight.phases import GROUNDED_HEIGHT_M
from lgtc_core.flight.reference import Setpoint, acceleration_mps2
from lgtc_core.schema import Bounds
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import NodeParams, SwarmNode
from lgtc_nodes.relay import ClockRelay

Array = npt.NDArray[np.float64]

NAMESPACE = "crazyswarm"
LANDED_HEIGHT_M = 0.04
"""Where a landing ends, as crazyswarm2's own examples have it."""
IS_ARMED, CAN_FLY, IS_TUMBLED, IS_LOCKED = 2, 8, 32, 64
"""Bits of Status.supervisor_info."""
PM_SHUTDOWN = 4
"""Value of Status.pm_state."""
GROUP_MASK = 0
"""Orders go to a drone's own services, and 0 is everybody there: that drone. No server of crazyswarm2 1.0 sets masks,
so any other would be obeyed by nobody."""
_LATEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_TO_SERVER = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""The servers subscribe reliably; depth 1, so that the newest setpoint never waits behind an old one."""


@dataclass(frozen=True, kw_only=True)
class CrazyswarmParams(NodeParams):
    """Parameters of the adapter to crazyswarm2."""

    simulated: Annotated[bool, "The server is crazyswarm2's simulator: its clock and /tf count"] = False
    battery_period_s: Annotated[float, Bounds(0.05, 2.0, "s"), "Time between two readings of a simulated cell"] = 0.2


class CrazyswarmNode(SwarmNode[CrazyswarmParams]):
    """Translates between the swarm and one crazyflie_server.

    Subscribes:
        /<drone>/setpoint (Odometry): streamed position and velocity references.
        /crazyswarm/<drone>/pose (PoseStamped), /crazyswarm/<drone>/status (Status), /tf (TFMessage), /crazyswarm/clock.

    Publishes:
        /crazyswarm/<drone>/cmd_full_state (FullState): every setpoint, with the acceleration between two of them.
        /<drone>/pose (PoseStamped), /<drone>/battery (BatteryState), /clock (Clock, of a simulator).

    Serves:
        /<drone>/arm (SetBool), /<drone>/takeoff, /<drone>/land, /<drone>/notify_setpoints_stop (Trigger).
        /all/emergency (Empty).

    Asks:
        the same of /crazyswarm, with its types.

    Raises:
        ConfigError: crazyflie_interfaces (or, for a simulator, tf2_msgs) is not installed.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("crazyswarm", drone, CrazyswarmParams, lifeline)
        self._full_state = _interface("crazyflie_interfaces.msg", "FullState")
        self._emergency = self.create_client(RosEmpty, f"/{NAMESPACE}/all/emergency")
        self._drones = {spec.name: _Drone(self, spec.name) for spec in self.team.drones}
        self.create_service(RosEmpty, topics.EMERGENCY, self._stop_all)
        if self.params.simulated:
            self._relay = ClockRelay(self, f"/{NAMESPACE}/clock")
            self.create_subscription(_interface("tf2_msgs.msg", "TFMessage"), "/tf", self._transforms, 100)
            self.every(self.params.battery_period_s, self._simulate_cells)

    @property
    def server_ready(self) -> bool:
        """The service that a crazyflie_server offers last is there."""
        return self._emergency.service_is_ready()

    def has_duty(self) -> bool:
        """True while a drone is off the ground, as nobody else can bring it down."""
        return any(drone.height_m > GROUNDED_HEIGHT_M for drone in self._drones.values())

    def _transforms(self, message: Any) -> None:
        for transform in message.transforms:
            drone = self._drones.get(transform.child_frame_id)
            if drone is not None:
                at = transform.transform.translation
                drone.saw(wire.Pose(wire.stamp_from_wire(transform), np.array([at.x, at.y, at.z])))

    def _simulate_cells(self, now_s: float) -> None:
        for drone in self._drones.values():
            drone.simulate_cell(now_s, self.params.battery_period_s)

    def _stop_all(self, _: Any, response: Any) -> Any:
        self.get_logger().error("emergency: all motors off")
        self._emergency.call_async(RosEmpty.Request())
        return response


class _Drone:
    """One drone of the server."""

    def __init__(self, node: CrazyswarmNode, name: str) -> None:
        self.name, self.spec, self.height_m = name, node.team.drone(name), 0.0
        self._node, self._flight_height_m = node, node.team.arena.flight_height_m
        self._say_pose, self._say_battery = node.speak(topics.POSE, of=name), node.speak(topics.BATTERY, of=name)
        self._cell, self._metered = CellModel(self.spec.battery), False
        self._supervisor_info: int | None = None
        self._lacking: set[str] = set()
        self._velocity_mps: Array = np.zeros(3)
        self._streamed_s = self._seen_s = -math.inf
        node.hear(topics.SETPOINT, wire.setpoint_from_wire, self._setpoint, of=name)
        there = f"/{NAMESPACE}/{name}"
        self._say_state = node.create_publisher(node._full_state, f"{there}/cmd_full_state", _TO_SERVER)
        status = _interface("crazyflie_interfaces.msg", "Status")
        node.create_subscription(status, f"{there}/status", self._status, _LATEST)
        pose = _interface("geometry_msgs.msg", "PoseStamped")
        node.create_subscription(pose, f"{there}/pose", lambda m: node.guarded(there, lambda: self._pose(m)), _LATEST)
        kinds = {"arm": "Arm", "takeoff": "Takeoff", "land": "Land", "notify_setpoints_stop": "NotifySetpointsStop"}
        services = {service: _interface("crazyflie_interfaces.srv", kind) for service, kind in kinds.items()}
        self._clients = {service: node.create_client(kind, f"{there}/{service}") for service, kind in services.items()}
        node.serve(topics.of_drone(name, topics.TAKEOFF), RosTrigger, lambda _: self._take_off())
        node.serve(topics.of_drone(name, topics.LAND), RosTrigger, lambda _: self._land())
        node.serve(topics.of_drone(name, topics.NOTIFY_SETPOINTS_STOP), RosTrigger, lambda _: self._stop_setpoints())
        node.serve(topics.of_drone(name, topics.ARM), RosSetBool, lambda request: self._arm(request.data))

    def saw(self, pose: wire.Pose) -> None:
        """A pose from wherever the server gives it."""
        period_s = self._node.team.command_period_s  # the simulator tells a pose per step of its physics
        if self._node.server_ready and pose.stamp_s - self._seen_s >= period_s - 1e-6:
            self._seen_s = pose.stamp_s
            self.height_m = float(pose.position_m[2])
            self._say_pose(wire.pose_to_wire(pose))

    def simulate_cell(self, now_s: float, dt_s: float) -> None:
        """A server without status has no battery; its simulated drones get the cell of the fleet file."""
        if self._metered:
            return
        self._lacks("status", "its battery is simulated here")
        battery = self.spec.battery
        power_w = battery.hover_power_w if self.height_m > GROUNDED_HEIGHT_M else battery.idle_power_w
        self._cell.step(dt_s, power_w)
        reading = wire.BatteryReading(now_s, self._cell.voltage_v(power_w), self._cell.charge)
        self._say_battery(wire.battery_to_wire(reading))

    def _lacks(self, what: str, instead: str) -> None:
        """What the server does not have it will not have later: told once, not for as long as it flies."""
        if what not in self._lacking:
            self._lacking.add(what)
            self._node.get_logger().warning(f"{self.name}: the server has no {what}: {instead}")

    def _pose(self, message: Any) -> None:
        self.saw(wire.pose_from_wire(message))

    def _status(self, message: Any) -> None:
        self._metered, self._supervisor_info = True, int(message.supervisor_info)
        fault = unfit(self._supervisor_info)
        if fault:
            self._node.tell(f"{self.name}/status", f"{fault}: it needs a person")
        if message.pm_state == PM_SHUTDOWN:
            self._node.tell(f"{self.name}/status", "its power management shuts it down")
        reading = wire.BatteryReading(self._node.now_s(), float(message.battery_voltage), math.nan)
        self._say_battery(wire.battery_to_wire(reading))

    def _setpoint(self, setpoint: Setpoint) -> None:
        now_s = self._node.now_s()
        apart_s, largest_mps2 = now_s - self._streamed_s, self.spec.max_acceleration_mps2
        change = acceleration_mps2(self._velocity_mps, setpoint.velocity_mps, apart_s, largest_mps2)
        self._velocity_mps, self._streamed_s = setpoint.velocity_mps, now_s
        self._say_state.publish(to_ros(self._node._full_state, full_state(setpoint, change, now_s)))

    def _arm(self, on: bool) -> wire.Wire:
        if not self._clients["arm"].service_is_ready():
            if not self._node.server_ready:
                return {"success": False, "message": "no crazyflie_server"}
            self._lacks("arm service", "taken as armed")
            return {"success": True, "message": "this server arms nobody"}
        return self._ask("arm", {"arm": on})

    def _take_off(self) -> wire.Wire:
        fault = "" if self._supervisor_info is None else unfit(self._supervisor_info, to_fly=True)
        if fault:
            return {"success": False, "message": f"{self.name} is {fault}"}
        duration_s = self._flight_height_m / self.spec.climb_speed_mps
        return self._ask("takeoff", {"height": self._flight_height_m, "duration": duration(duration_s)})

    def _land(self) -> wire.Wire:
        duration_s = max(1.0, (self.height_m - LANDED_HEIGHT_M) / self.spec.climb_speed_mps)
        return self._ask("land", {"height": LANDED_HEIGHT_M, "duration": duration(duration_s)})

    def _stop_setpoints(self) -> wire.Wire:
        return self._ask("notify_setpoints_stop", {"remain_valid_millisecs": 100})

    def _ask(self, service: str, request: wire.Wire) -> wire.Wire:
        """Pass an order on. Its effect is seen in the poses; the pilot gives it again where there is none."""
        client: Client = self._clients[service]
        if not client.service_is_ready():
            return {"success": False, "message": f"the server does not offer /{NAMESPACE}/{self.name}/{service}"}
        if "group_mask" in client.srv_type.Request.get_fields_and_field_types():
            request = {**request, "group_mask": GROUP_MASK}
        client.call_async(to_ros(client.srv_type.Request, request))
        return {"success": True, "message": "passed on"}


def unfit(supervisor_info: int, to_fly: bool = False) -> str:
    """What the firmware's supervisor has against a drone, one word or two; empty: nothing.

    Args:
        supervisor_info: bits of Status.
        to_fly: it is to take off now, so it must be armed and able to.
    """
    if supervisor_info & IS_LOCKED:
        return "locked"
    if supervisor_info & IS_TUMBLED:
        return "tumbled"
    if to_fly and not supervisor_info & IS_ARMED:
        return "not armed"
    return "unable to fly" if to_fly and not supervisor_info & CAN_FLY else ""


def full_state(setpoint: Setpoint, change_mps2: Array, now_s: float) -> wire.Wire:
    """crazyflie_interfaces/FullState of a setpoint with its acceleration (3,) [m/s^2]; yaw 0."""
    return {
        "header": now_s,
        "pose": {"position": setpoint.position_m, "orientation": {"w": 1.0}},
        "twist": {"linear": setpoint.velocity_mps},
        "acc": change_mps2,
    }


def duration(seconds: float) -> wire.Wire:
    """builtin_interfaces/Duration."""
    whole, nanosec = wire.split_stamp(seconds)
    return {"sec": whole, "nanosec": nanosec}


def _interface(module: str, name: str) -> Any:
    """A message or service class of a package that only this backend needs."""
    package = module.partition(".")[0]
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except ModuleNotFoundError:
        raise ConfigError(
            "backend", "", f"no package {package}", "crazyswarm2, built and sourced (docs/hardware.md)"
        ) from None
    return found


create = CrazyswarmNode
