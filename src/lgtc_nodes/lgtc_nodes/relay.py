"""Another simulator's clock as /clock, thinned: Gazebo and crazyswarm2's simulator tell it at every step of theirs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rosgraph_msgs.msg import Clock as RosClock

from lgtc_core import topics, wire
from lgtc_nodes.node import P, SwarmNode

CLOCK_HZ = 100.0
"""/clock is told at most so often: whoever uses simulated time wakes at every one."""


class ClockRelay:
    """Passes a clock on.

    Args:
        node: that speaks and hears.
        topic: where the clock is told, absolute.
        ticked: called with every time that was passed on [s].
    """

    def __init__(self, node: SwarmNode[P], topic: str, ticked: Callable[[float], object] | None = None) -> None:
        self._say, self._ticked, self._told_s = node.speak(topics.CLOCK), ticked, -math.inf
        node.create_subscription(RosClock, topic, self._heard, 10)

    def _heard(self, message: Any) -> None:
        now_s = message.clock.sec + message.clock.nanosec / wire.NS_PER_S
        if now_s - self._told_s >= 1.0 / CLOCK_HZ - 1e-9:
            self._told_s = now_s
            self._say({"clock": now_s})
            if self._ticked is not None:
                self._ticked(now_s)
