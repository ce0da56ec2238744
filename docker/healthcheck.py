"""Health of a container: exit code 0 when the supervisor's heartbeat on /mission is heard within five seconds.

The heartbeat says more than a living process: it crosses discovery, the network and the supervisor's own timer.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.qos import qos_profile_sensor_data

from lgtc_core import topics
from lgtc_interfaces.msg import MissionState

PATIENCE_S = 5.0


def hears_mission(patience_s: float) -> bool:
    """Return whether one mission state arrives within ``patience_s`` seconds."""
    heard: list[MissionState] = []
    rclpy.init()
    node = rclpy.create_node("healthcheck")
    node.create_subscription(MissionState, topics.MISSION, heard.append, qos_profile_sensor_data)
    deadline = time.monotonic() + patience_s
    while not heard and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()
    return bool(heard)


if __name__ == "__main__":
    sys.exit(0 if hears_mission(PATIENCE_S) else 1)
