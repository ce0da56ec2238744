"""The `lgtc` command's voice in the ROS graph: hears one message, asks one service, and goes away again."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import BatteryState

from lgtc_bringup.plan import ROS_ARGUMENTS
from lgtc_core import topics, wire
from lgtc_core.demand.view import DemandView
from lgtc_core.errors import InputError
from lgtc_core.flight.gate import Seen
from lgtc_interfaces.msg import Demand

_SENSORS = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
REPEAT_S = 1.0
"""A request without an answer is sent again, unchanged."""


class Asking:
    """A node for one command. A context manager, with a ROS context of its own.

    Args:
        timeout_s: longest wait for a message or an answer.
    """

    def __init__(self, timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s
        self._context = Context()
        rclpy.init(
            args=["--ros-args", *ROS_ARGUMENTS], context=self._context, signal_handler_options=SignalHandlerOptions.NO
        )
        self._node = rclpy.create_node("lgtc_ask", context=self._context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def demand(self) -> DemandView:
        """What is asked for now.

        Raises:
            InputError: nobody says.
        """
        return wire.demand_from_wire(self.latched(Demand, topics.DEMAND))

    def latched(self, kind: Any, topic: str) -> Any:
        """The last message of a transient local topic.

        Raises:
            InputError: nobody says anything there.
        """
        heard: list[Any] = []
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        subscription = self._node.create_subscription(kind, topic, heard.append, qos)
        end_s = time.monotonic() + self.timeout_s
        while not heard:
            self._executor.spin_once(timeout_sec=0.1)
            if time.monotonic() > end_s:
                raise InputError(topic, f"silence for {self.timeout_s:g} s", "a flight in this ROS domain")
        self._node.destroy_subscription(subscription)
        return heard[-1]

    def ask(self, kind: Any, service: str, request: Any) -> Any:
        """The answer of a service to a request that may be repeated: it is, until there is an answer.

        Raises:
            InputError: nobody answers, or the answer is a refusal.
        """
        return self.ask_all(kind, service, [request])[0]

    def ask_all(self, kind: Any, service: str, requests: Sequence[Any]) -> list[Any]:
        """The answers to several requests: all are sent, and all again until all are answered.

        Raises:
            InputError: nobody answers, or an answer is a refusal.
        """
        client = self._node.create_client(kind, service)
        end_s, sent_s, futures = time.monotonic() + self.timeout_s, -math.inf, list[Any]()
        while not (futures and all(future.done() for future in futures)):
            now_s = time.monotonic()
            if now_s > end_s:
                raise InputError(service, f"no answer for {self.timeout_s:g} s", "a flight in this ROS domain")
            if now_s - sent_s >= REPEAT_S and client.service_is_ready():
                futures, sent_s = [client.call_async(request) for request in requests], now_s
            self._executor.spin_once(timeout_sec=0.05)
        answers = [future.result() for future in futures]
        for answer in answers:
            if not answer.accepted:
                raise InputError(service, "a refusal", answer.message)
        return answers

    def seen(self, names: Sequence[str], duration_s: float, *, real_time: bool) -> dict[str, Seen]:
        """Poses and batteries of these drones, listened to for `duration_s`.

        Args:
            names: of the drones.
            duration_s: how long to listen.
            real_time: poses are stamped by a clock that is this machine's, so that their age can be told.
        """
        heard: dict[str, list[tuple[float, Any]]] = {name: [] for name in names}
        batteries: dict[str, list[Any]] = {name: [] for name in names}
        for name in names:
            self._collect(PoseStamped, topics.of_drone(name, topics.POSE), heard[name])
            self._collect(BatteryState, topics.of_drone(name, topics.BATTERY), batteries[name])
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.05)
        return {name: _seen(heard[name], [battery for _, battery in batteries[name]], real_time) for name in names}

    def speakers(self, topic: str) -> int:
        """How many publish a topic, as far as is known by now."""
        return int(self._node.count_publishers(topic))

    def _collect(self, kind: Any, topic: str, into: list[tuple[float, Any]]) -> None:
        """Put every message of a topic there, with its time of arrival [s]."""

        def take(message: Any) -> None:
            into.append((time.time(), message))

        self._node.create_subscription(kind, topic, take, _SENSORS)

    def drones(self, still_s: float = 1.5) -> tuple[str, ...]:
        """Names of the drones that are there: discovery goes on until no new one has come for `still_s`."""
        found: set[str] = set()
        begun_s = news_s = time.monotonic()
        while (now_s := time.monotonic()) - news_s < still_s and now_s - begun_s < self.timeout_s:
            self._executor.spin_once(timeout_sec=0.1)
            names = [name.split("/") for name, _ in self._node.get_topic_names_and_types()]
            now = {parts[1] for parts in names if len(parts) == 3 and parts[2] == topics.VEHICLE}
            if now - found:
                found, news_s = found | now, time.monotonic()
        return tuple(sorted(found))


def _seen(heard: Sequence[tuple[float, Any]], batteries: Sequence[Any], real_time: bool) -> Seen:
    """What was heard of one drone: arrival times [s] with PoseStamped messages, and BatteryStates."""
    poses = [wire.pose_from_wire(message) for _, message in heard]
    arrivals_s = np.array([at_s for at_s, _ in heard])
    stamps_s = np.array([pose.stamp_s for pose in poses])
    return Seen(
        np.array([pose.position_m for pose in poses]).reshape(-1, 3),
        arrivals_s - stamps_s if real_time else np.diff(arrivals_s, prepend=arrivals_s[:1]),
        float(batteries[-1].voltage) if batteries else math.nan,
        float(batteries[-1].percentage) if batteries else math.nan,
    )
