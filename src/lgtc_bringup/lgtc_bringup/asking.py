"""The `lgtc` command's voice in the ROS graph: hears one message, asks one service, and goes away again."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from lgtc_bringup.plan import ROS_ARGUMENTS
from lgtc_core import topics, wire
from lgtc_core.demand.view import DemandView
from lgtc_core.errors import InputError
from lgtc_interfaces.msg import Demand

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
        client = self._node.create_client(kind, service)
        end_s, sent_s, future = time.monotonic() + self.timeout_s, -REPEAT_S, None
        while future is None or not future.done():
            now_s = time.monotonic()
            if now_s > end_s:
                raise InputError(service, f"no answer for {self.timeout_s:g} s", "a flight in this ROS domain")
            if now_s - sent_s >= REPEAT_S and client.service_is_ready():
                future, sent_s = client.call_async(request), now_s
            self._executor.spin_once(timeout_sec=0.05)
        answer = future.result()
        if not answer.accepted:
            raise InputError(service, "a refusal", answer.message)
        return answer

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
