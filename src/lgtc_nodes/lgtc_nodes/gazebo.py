"""Gazebo as a ROS node of ours: topics and services of the embedded simulator over ros_gz_bridge."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np
from geometry_msgs.msg import Twist as RosTwist
from nav_msgs.msg import Odometry as RosOdometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool as RosBool

from lgtc_core import topics, wire
from lgtc_core.errors import InputError
from lgtc_core.flight.phases import GROUNDED_HEIGHT_M
from lgtc_core.flight.reference import Setpoint
from lgtc_core.schema import Bounds
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import NodeParams, SwarmNode
from lgtc_nodes.orders import take_orders
from lgtc_nodes.relay import ClockRelay
from lgtc_sim import gazebo
from lgtc_sim.remote import RemoteBodies
from lgtc_sim.vehicle import VehicleParams, Vehicles

_TO_BRIDGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""The bridge subscribes reliably; the newest command never waits behind an old one."""
_FROM_BRIDGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True, kw_only=True)
class GazeboParams(NodeParams):
    """Parameters of the adapter to Gazebo."""

    battery_period_s: Annotated[float, Bounds(0.05, 2.0, "s"), "Time between two readings of a drone's battery"] = 0.2
    vehicle: VehicleParams = field(default_factory=VehicleParams)


class GazeboNode(SwarmNode[GazeboParams]):
    """Obeys as a Crazyflie's firmware does, and lets Gazebo fly. The clock is Gazebo's; time goes on with it only.

    Subscribes:
        /<drone>/setpoint (Odometry): streamed position and velocity references.
        /gazebo/clock (Clock), /gazebo/<drone>/odometry (Odometry): where each is; velocities in the body's frame.

    Publishes:
        /gazebo/<drone>/command/twist (Twist): velocity in the body's frame; stands still when setpoints pause.
        /gazebo/<drone>/command/enable (Bool): whether the rotors turn.
        /<drone>/pose (PoseStamped), /<drone>/battery (BatteryState, simulated here), /clock (Clock).

    Serves, as crazyswarm2 does:
        /<drone>/arm (SetBool), /<drone>/takeoff, /<drone>/land, /<drone>/notify_setpoints_stop (Trigger).
        /all/emergency (Empty): rotors off, everywhere, at once.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("gazebo", drone, GazeboParams, lifeline)
        drones, names = self.team.drones, self.team.names
        start_m = np.array([(*one.start_m, 0.0) for one in drones])
        self.bodies = RemoteBodies(
            start_m.copy(),
            np.array([one.max_speed_mps for one in drones]),
            np.array([one.climb_speed_mps for one in drones]),
            self.params.vehicle.position_gain_per_s,
        )
        self.vehicles = Vehicles.of_team(self.team, start_m, self.params.vehicle, body=self.bodies)
        self._now_s: float | None = None
        self._battery_due_s = self._command_due_s = 0.0
        self._say_pose = [self.speak(topics.POSE, of=name) for name in names]
        self._say_battery = [self.speak(topics.BATTERY, of=name) for name in names]
        self._say_twist = [self._to_bridge(RosTwist, name, gazebo.COMMAND) for name in names]
        self._say_enable = [self._to_bridge(RosBool, name, gazebo.ENABLE) for name in names]
        for i, name in enumerate(names):
            odometry = gazebo.ros_topic(name, gazebo.ODOMETRY)
            self.create_subscription(RosOdometry, odometry, partial(self._odometry, i, odometry), _FROM_BRIDGE)
            self.hear(topics.SETPOINT, wire.setpoint_from_wire, partial(self._setpoint, name), of=name)
        take_orders(self, self.vehicles)
        self._relay = ClockRelay(self, gazebo.CLOCK, self._advance)

    def has_duty(self) -> bool:
        """True while a drone is off the ground: without commands Gazebo flies on for ever."""
        return bool((self.bodies.position_m[:, 2] > GROUNDED_HEIGHT_M).any())

    def close(self) -> None:
        """The last word: rotors off."""
        for say in self._say_enable:
            say.publish(RosBool(data=False))

    def _to_bridge(self, kind: Any, name: str, topic: str) -> Any:
        return self.create_publisher(kind, gazebo.ros_topic(name, topic), _TO_BRIDGE)

    def _advance(self, now_s: float) -> None:
        """Gazebo's time goes on: the firmware's clocks, batteries, and when they are due commands and readings."""
        dt_s = 0.0 if self._now_s is None else now_s - self._now_s
        self._now_s = now_s
        if dt_s > 0.0:
            self.vehicles.step(now_s, dt_s)
        if now_s >= self._command_due_s:
            self._command_due_s = now_s + self.team.command_period_s - 1e-6
            self._command()
        if now_s >= self._battery_due_s:
            self._battery_due_s = now_s + self.params.battery_period_s - 1e-6
            for say, volts, charge in zip(
                self._say_battery, self.vehicles.voltage_v, self.vehicles.charge, strict=True
            ):
                say(wire.battery_to_wire(wire.BatteryReading(now_s, float(volts), float(charge))))

    def _command(self) -> None:
        for i, (say_twist, say_enable) in enumerate(zip(self._say_twist, self._say_enable, strict=True)):
            enabled = bool(self.bodies.enabled[i])
            say_enable.publish(RosBool(data=enabled))
            if enabled:
                say_twist.publish(to_ros(RosTwist, {"linear": self.bodies.twist_mps(i)}))

    def _odometry(self, i: int, topic: str, message: Any) -> None:
        at, turn = message.pose.pose.position, message.pose.pose.orientation
        velocity = message.twist.twist.linear
        reading = np.array(
            [at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w, velocity.x, velocity.y, velocity.z], dtype=np.float64
        )
        self.guarded(topic, lambda: self._seen(i, topic, wire.stamp_from_wire(message), reading))

    def _seen(self, i: int, topic: str, stamp_s: float, reading: Any) -> None:
        position_m, quaternion, velocity_mps = np.split(reading, [3, 7])
        length = float(np.linalg.norm(quaternion))
        if not np.isfinite(reading).all() or abs(length - 1.0) > 0.01:
            raise InputError(topic, f"{reading.tolist()}", "finite numbers and a quaternion of length 1")
        self.bodies.seen(i, position_m, quaternion / length, velocity_mps)
        self._say_pose[i](wire.pose_to_wire(wire.Pose(stamp_s, position_m)))

    def _setpoint(self, name: str, setpoint: Setpoint) -> None:
        if self._now_s is not None:
            self.vehicles.setpoint(name, self._now_s, setpoint.position_m, setpoint.velocity_mps)


create = GazeboNode
