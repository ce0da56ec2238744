"""Many drones' messages in one: what the processes of a large team say and hear of its per-drone topics.

A message costs its sender and every hearer some 50 us each before anybody has read a byte of it. Where many drones
share a process, their messages of one topic are said at nearly one moment: the process collects them while it does one
thing, and sends one bundle per topic (/bundle/<topic>). Hearers take the parts that concern them. A message travels
alone, too, where somebody outside of the team listens to its topic, as `ros2 topic echo /cf1/setpoint` does. The plan
decides, for all nodes alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.serialization import serialize_message

from lgtc_core import topics, wire
from lgtc_nodes import hearing
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.decoding import decoder
from lgtc_nodes.hearing import Audience, Hearer, Hearing, Receiver
from lgtc_nodes.qos import STREAMS, bundled


class Bundle:
    """What the drones of this process say on one topic, until it is sent."""

    def __init__(self, node: Node, topic: str) -> None:
        self._kind, qos = bundled(STREAMS[topic])
        self._publisher = node.create_publisher(self._kind, topics.bundled(topic), qos)
        self._said: list[tuple[str, bytes]] = []

    def heard(self) -> bool:
        """Whether anybody hears bundles of this topic."""
        return bool(self._publisher.get_subscription_count())

    def add(self, drone: str, message: Any) -> None:
        """One more message, of this drone."""
        self._said.append((drone, serialize_message(message)))

    def send(self) -> None:
        """Send what was said, if anything was."""
        if self._said:
            self._publisher.publish(to_ros(self._kind, wire.bundle_to_wire(self._said)))
            self._said = []


_BUNDLES: dict[str, Bundle] = {}
"""Of this process, by topic."""


def bundle(node: Node, topic: str) -> Bundle:
    """The bundle of this process for a per-drone topic; `node` owns the publisher, if there is none yet."""
    if topic not in _BUNDLES:
        _BUNDLES[topic] = Bundle(node, topic)
    return _BUNDLES[topic]


def send_bundles() -> None:
    """Send what the nodes of this process have said."""
    for one in _BUNDLES.values():
        one.send()


class _Part:
    """What one drone says on a topic that comes in bundles."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.audience, self.close = Audience(), close


class _Parts:
    """One topic of all drones, which comes in bundles."""

    def __init__(self, node: Node, hearer: Hearer, topic: str) -> None:
        self._decode = decoder(STREAMS[topic].type)
        self._parts: dict[str, _Part] = {}
        self._hearing = hear_bundles(node, hearer, topic, self._take)
        self._topic = topic

    def of(self, drone: str) -> _Part:
        """What this drone says."""
        if drone not in self._parts:
            self._parts[drone] = _Part(lambda: self._close(drone))
        return self._parts[drone]

    def _close(self, drone: str) -> None:
        del self._parts[drone]
        if not self._parts:
            del _PARTS[self._topic]
            self._hearing.stop()

    def _take(self, said: list[tuple[str, bytes]]) -> None:
        for drone, raw in said:
            part = self._parts.get(drone)
            if part is not None:
                part.audience.read(self._decode, raw)


_PARTS: dict[str, _Parts] = {}
"""Of this process, by topic."""


def hear_part(
    node: Node, hearer: Hearer, topic: str, drone: str, convert: Callable[[Any], Any], take: Callable[[Any], object]
) -> Hearing:
    """Take what one drone says on a per-drone topic, out of bundles; else as `hearing.hear`."""
    if topic not in _PARTS:
        _PARTS[topic] = _Parts(node, hearer, topic)
    name = topics.of_drone(drone, topic)
    return Hearing(name, _PARTS[topic].of(drone), convert, Receiver(hearer, name, take))


def hear_bundles(node: Node, hearer: Hearer, topic: str, take: Callable[[list[tuple[str, bytes]]], object]) -> Hearing:
    """Take all that comes in bundles of a per-drone topic: drone and serialised message each."""
    kind, qos = bundled(STREAMS[topic])
    return hearing.hear(node, hearer, kind, topics.bundled(topic), qos, wire.bundle_from_wire, take, shared=True)
