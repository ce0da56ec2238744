"""What nodes hear, subscriptions that the nodes of one process share, and what they say to each other.

Every received message is turned into Python objects once per subscription, which costs more than most that our nodes
do with it. What concerns the team, and poses and features of team-mates, are heard by the nodes of many drones: where
those share a process, one subscription serves them all, and there is less to discover. What a node hears of its own
drone stays its own, so that the graph tells who listens to what.

What one node alone says and another node of its process hears need not go through the network and back: where the
speaker is there, it is handed over (`Spoken`), after the message that made it speak has been taken by everybody.
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


class Receiver(NamedTuple):
    """Who takes what a topic brings."""

    hearer: Hearer
    what: str
    """The topic, as warnings name it."""
    take: Callable[[Any], object]


class Audience:
    """All receivers of one topic in this process."""

    def __init__(self) -> None:
        self._receivers: dict[Callable[[Any], Any], list[Receiver]] = {}
        """By conversion, so that each is done once."""

    def __bool__(self) -> bool:
        return bool(self._receivers)

    def join(self, convert: Callable[[Any], Any], receiver: Receiver) -> None:
        """One more who hears."""
        self._receivers.setdefault(convert, []).append(receiver)

    def leave(self, convert: Callable[[Any], Any], receiver: Receiver) -> None:
        """One who hears no more."""
        receivers = self._receivers[convert]
        receivers.remove(receiver)
        if not receivers:
            del self._receivers[convert]

    def take(self, message: Any, malformed: LgtcError | None = None) -> None:
        """Let everybody take a message, or tell everybody why there is none."""
        for convert, receivers in tuple(self._receivers.items()):
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

    def read(self, decode: Callable[[bytes], Any] | None, received: Any) -> None:
        """Let everybody take what came over the network: a message, or its bytes where there is what reads them."""
        message, malformed = received, None
        if decode is not None:
            try:
                message = decode(received)
            except LgtcError as error:
                malformed = error
        self.take(message, malformed)


class _Topic:
    """One topic that comes over the network."""

    def __init__(self, node: Node, kind: Any, name: str, qos: QoSProfile) -> None:
        self.audience = Audience()
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
        self.begun = True
        self.audience.read(self._decode, received)


_TOPICS: dict[str, _Topic] = {}
"""The shared topics of this process, by their full names."""


class Spoken:
    """One topic that a node of this process says."""

    def __init__(self) -> None:
        self.audience = Audience()

    def close(self) -> None:
        """Nobody here hears it any more; the speaker goes on."""

    def said(self, message: Any) -> None:
        """Keep it for `hand_over`; a newer message takes its place."""
        _SAID[self] = message


_SPOKEN: dict[str, Spoken] = {}
"""What nodes of this process say, by full names."""
_SAID: dict[Spoken, Any] = {}
"""What is to be handed over."""


def spoken(name: str) -> Spoken:
    """The topic of that full name, which a node of this process says."""
    return _SPOKEN.setdefault(name, Spoken())


def is_spoken(name: str) -> bool:
    """Whether a node of this process says the topic of that full name."""
    return name in _SPOKEN


def hand_over() -> None:
    """Give what was said to those of this process who hear it, and what they say then."""
    while _SAID:
        topic = next(iter(_SAID))
        topic.audience.take(_SAID.pop(topic))


class Source(Protocol):
    """Where messages come from."""

    audience: Audience

    def close(self) -> None:
        """Nobody hears it any more."""


class Hearing:
    """One receiver's part in a topic; ends with `stop`."""

    def __init__(self, name: str, topic: Source, convert: Callable[[Any], Any], receiver: Receiver) -> None:
        self._name, self._topic, self._convert, self._receiver = name, topic, convert, receiver
        topic.audience.join(convert, receiver)

    def stop(self) -> None:
        """Hear no more; the last one unsubscribes."""
        self._topic.audience.leave(self._convert, self._receiver)
        if not self._topic.audience:
            if _TOPICS.get(self._name) is self._topic:
                del _TOPICS[self._name]
            self._topic.close()


def hear(
    node: Node, hearer: Hearer, kind: Any, topic: str, qos: QoSProfile, convert: Callable[[Any], Any],
    take: Callable[[Any], object],
    shared: bool = False, handed: bool = False,
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
        handed: it has one speaker, and where that is in this process already, take from it what it says, and nothing
            from the network.
    """
    name = node.resolve_topic_name(topic)
    receiver = Receiver(hearer, topic, take)
    if handed and is_spoken(name):
        return Hearing(name, _SPOKEN[name], convert, receiver)
    if not shared:
        return Hearing(name, _Topic(node, kind, name, qos), convert, receiver)
    known = _TOPICS.get(name)
    latched = qos.durability is DurabilityPolicy.TRANSIENT_LOCAL
    if known is None or (latched and known.begun):
        known = _TOPICS[name] = _Topic(node, kind, name, qos)
    return Hearing(name, known, convert, receiver)
