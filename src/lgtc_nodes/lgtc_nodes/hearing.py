"""What nodes hear, and subscriptions that the nodes of one process share.

Every received message is turned into Python objects once per subscription, which costs more than most that our nodes
do with it. What concerns the team, and poses and features of team-mates, are heard by the nodes of many drones: where
those share a process, one subscription serves them all, and there is less to discover. What a node hears of its own
drone stays its own, so that the graph tells who listens to what.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from lgtc_core.errors import LgtcError
from lgtc_nodes.decoding import decoder


class Hearer(Protocol):
    """A node that hears."""

    def tell(self, what: str, sentence: str) -> None:
        """Warn about something, not too often."""


class _Receiver(NamedTuple):
    """Who takes what a topic brings."""

    hearer: Hearer
    what: str
    """The topic, as warnings name it."""
    take: Callable[[Any], object]


class _Topic:
    """One topic and all its receivers in this process."""

    def __init__(self, node: Node, kind: Any, name: str, qos: QoSProfile) -> None:
        self.receivers: dict[Callable[[Any], Any], list[_Receiver]] = {}
        """By conversion, so that each is done once."""
        self.begun = False
        self._node = node
        self._decode = decoder(kind)
        self._subscription: Subscription = node.create_subscription(
            kind, name, self._receive, qos, raw=self._decode is not None
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _receive(self, received: Any) -> None:
        """Take a message, or its bytes."""
        self.begun = True
        message, malformed = received, None
        if self._decode is not None:
            try:
                message = self._decode(received)
            except LgtcError as error:
                malformed = error
        for convert, receivers in tuple(self.receivers.items()):
            value, refusal = None, malformed
            try:
                value = None if malformed else convert(message)
            except LgtcError as error:
                refusal = error
            for receiver in tuple(receivers):
                try:
                    if refusal is not None:
                        raise refusal
                    receiver.take(value)
                except LgtcError as error:
                    receiver.hearer.tell(receiver.what, f"{error}; dropped")


_TOPICS: dict[str, _Topic] = {}
"""The shared topics of this process, by their full names."""


class Hearing:
    """One receiver's part in a topic; ends with `stop`."""

    def __init__(self, name: str, topic: _Topic, convert: Callable[[Any], Any], receiver: _Receiver) -> None:
        self._name, self._topic, self._convert, self._receiver = name, topic, convert, receiver
        topic.receivers.setdefault(convert, []).append(receiver)

    def stop(self) -> None:
        """Hear no more; the last one unsubscribes."""
        receivers = self._topic.receivers[self._convert]
        receivers.remove(self._receiver)
        if not receivers:
            del self._topic.receivers[self._convert]
        if not self._topic.receivers:
            if _TOPICS.get(self._name) is self._topic:
                del _TOPICS[self._name]
            self._topic.close()


def hear(
    node: Node, hearer: Hearer, kind: Any, topic: str, qos: QoSProfile, convert: Callable[[Any], Any],
    take: Callable[[Any], object],
    shared: bool = False,
) -> Hearing:  # fmt: skip
    """Take what a topic brings; what `convert` or `take` refuses is told and otherwise dropped.

    A latched topic that has brought something already is subscribed to anew: whoever comes late gets the last message.

    Args:
        node: owns the subscription, if there is none in this process yet.
        hearer: warns.
        kind: message class.
        topic: name, relative to the node.
        qos: how it travels.
        convert: message -> value; done once for all who use the same function.
        take: takes the value, which several may hold.
        shared: use the subscription that this process has already, or let others use this one.
    """
    name = node.resolve_topic_name(topic)
    receiver = _Receiver(hearer, topic, take)
    if not shared:
        return Hearing(name, _Topic(node, kind, name, qos), convert, receiver)
    known = _TOPICS.get(name)
    latched = qos.durability is DurabilityPolicy.TRANSIENT_LOCAL
    if known is None or (latched and known.begun):
        known = _TOPICS[name] = _Topic(node, kind, name, qos)
    return Hearing(name, known, convert, receiver)
