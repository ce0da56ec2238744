"""The adapter to Gazebo, run as in flight; the test stands at the other end of the bridge and moves as it is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time as RosTime
from geometry_msgs.msg import Twist as RosTwist
from nav_msgs.msg import Odometry as RosOdometry
from rosgraph_msgs.msg import Clock as RosClock
from std_msgs.msg import Bool as RosBool
from std_srvs.srv import SetBool as RosSetBool
from std_srvs.srv import Trigger as RosTrigger

from lgtc_core import topics, wire
from lgtc_core.flight.reference import Setpoint
from lgtc_sim import gazebo

STEP_S = 0.01
YAW_RAD = 2.0
"""The drones' noses point anywhere: what is told in their own frame must come out right in the world's."""
TURN = np.array([[np.cos(YAW_RAD), -np.sin(YAW_RAD), 0.0], [np.sin(YAW_RAD), np.cos(YAW_RAD), 0.0], [0.0, 0.0, 1.0]])


class Bridge:
    """Drones that follow body velocities at once; time goes on when the test says so."""

    def __init__(self, swarm: Any) -> None:
        self.swarm, node = swarm, swarm.node
        self.now_s, self.clocks = 0.0, []
        self.at_m = {name: np.array([x, 0.0, 0.0]) for name, x in (("cf1", -0.6), ("cf2", 0.6))}
        self.twists_mps = {name: np.zeros(3) for name in self.at_m}
        self.enabled = dict.fromkeys(self.at_m, False)
        self.say_clock = node.create_publisher(RosClock, gazebo.CLOCK, 10)
        self.say = {}
        for name in self.at_m:
            self.say[name] = node.create_publisher(RosOdometry, gazebo.ros_topic(name, gazebo.ODOMETRY), 10)
            node.create_subscription(RosTwist, gazebo.ros_topic(name, gazebo.COMMAND), partial(self.told, name), 10)
            node.create_subscription(RosBool, gazebo.ros_topic(name, gazebo.ENABLE), partial(self.switched, name), 10)
        swarm.watch(topics.CLOCK, lambda message: self.clocks.append(message.clock.sec + message.clock.nanosec * 1e-9))

    def told(self, name: str, message: Any) -> None:
        linear = message.linear
        self.twists_mps[name] = np.array([linear.x, linear.y, linear.z])

    def switched(self, name: str, message: Any) -> None:
        self.enabled[name] = message.data

    def step(self) -> None:
        self.now_s += STEP_S
        whole, nanosec = wire.split_stamp(self.now_s)
        stamp = RosTime(sec=whole, nanosec=nanosec)
        for name, at_m in self.at_m.items():
            velocity_mps = TURN @ self.twists_mps[name] if self.enabled[name] else np.array([0.0, 0.0, -2.0])
            self.at_m[name] = at_m = at_m + STEP_S * velocity_mps
            at_m[2] = max(at_m[2], 0.0)
            message = RosOdometry()
            message.header.stamp = stamp
            point, turn = message.pose.pose.position, message.pose.pose.orientation
            point.x, point.y, point.z = at_m.tolist()
            turn.z, turn.w = float(np.sin(YAW_RAD / 2.0)), float(np.cos(YAW_RAD / 2.0))
            self.say[name].publish(message)
        self.say_clock.publish(RosClock(clock=stamp))
        self.swarm.executor.spin_once(timeout_sec=0.002)
        for _ in range(20):
            self.swarm.executor.spin_once(timeout_sec=0.0)

    def until(self, what: str, true: Callable[[], bool], within_s: float) -> float:
        """Let time go on until `true`; how long it took [simulated s]."""
        begun_s = self.now_s
        while not true():
            assert self.now_s - begun_s < within_s, f"not within {within_s:g} s: {what}\n{self.swarm.logs()}"
            self.step()
        return self.now_s - begun_s


def test_it_takes_off_follows_setpoints_in_the_world_stops_a_silent_drone_and_lands_the_other(
    swarm: Callable[..., Any],
) -> None:
    team = swarm()
    team.start("gazebo")
    bridge = Bridge(team)
    team.wait("the adapter is there", lambda: bridge.say_clock.get_subscription_count() > 0)
    bridge.until("poses come through", lambda: set(team.heights_m) == {"cf1", "cf2"}, 60.0)
    bridge.until("the clock comes through", lambda: len(bridge.clocks) > 1, 60.0)
    assert min(np.diff(bridge.clocks), default=1.0) >= 1.0 / 100.0 - 1e-9
    assert not any(bridge.enabled.values())
    for name in team.drones:
        assert not team.call(RosTrigger, f"/{name}/takeoff", {}).success  # not armed
        assert team.call(RosSetBool, f"/{name}/arm", {"data": True}).success
        assert team.call(RosTrigger, f"/{name}/takeoff", {}).success
    bridge.until("both are up", lambda: all(at_m[2] > 0.45 for at_m in bridge.at_m.values()), 20.0)

    setpoint = Setpoint(np.array([-0.6, 0.8, 0.5]), np.zeros(3))
    stream = team.say(topics.SETPOINT, wire.setpoint_to_wire(setpoint, 0.0), "cf1")

    def there() -> bool:
        stream()
        return bool(np.linalg.norm(bridge.at_m["cf1"] - [-0.6, 0.8, 0.5]) < 0.05)

    bridge.until("cf1 is at its setpoint", there, 30.0)
    assert np.linalg.norm(bridge.at_m["cf2"][:2] - [0.6, 0.0]) < 0.05
    silent_s = bridge.until("cf1 loses its rotors", lambda: not bridge.enabled["cf1"], 10.0)
    assert 1.9 <= silent_s <= 2.5
    assert not team.call(RosSetBool, "/cf1/arm", {"data": True}).success  # locked
    assert team.call(RosTrigger, "/cf2/land", {}).success
    bridge.until("cf2 is down with its rotors off", lambda: not bridge.enabled["cf2"], 20.0)
    assert bridge.at_m["cf2"][2] < 0.1
    team.signal_all()
    assert set(team.wait_ended().values()) == {0}
