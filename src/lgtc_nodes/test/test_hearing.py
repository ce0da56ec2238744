"""What a node says is handed over to those of its process who hear it, in order, without the network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import TwistStamped as RosTwistStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lgtc_core import topics, wire
from lgtc_core.errors import InputError
from lgtc_core.loop.neighbourhood import Sighting
from lgtc_nodes import hearing
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.hearing import Spoken, hand_over, hear, spoken
from lgtc_nodes.qos import NEWEST, STREAMS

pytestmark = pytest.mark.ros


class Hearer(Node):
    """A node that remembers what it warned of."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__("hearer", namespace="cf1", context=context)
        self.told: list[str] = []

    def tell(self, what: str, sentence: str) -> None:
        """Keep it."""
        self.told.append(f"{what}: {sentence}")


@pytest.fixture
def hearer(ros_domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hearer]:
    spoken_here: dict[str, Spoken] = {}
    monkeypatch.setattr(hearing, "_SPOKEN", spoken_here)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = Hearer(context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def velocity(stamp_s: float, x_mps: float) -> Any:
    return to_ros(RosTwistStamped, wire.velocity_to_wire(wire.Velocity(stamp_s, [x_mps, 0.0, 0.0])))  # type: ignore[arg-type]


def test_what_is_said_here_is_handed_over_the_newest_only_and_not_heard_from_the_network(hearer: Hearer) -> None:
    topic, taken = spoken("/cf1/velocity_safe"), list[float]()
    heard = hear(
        hearer, hearer, RosTwistStamped, "velocity_safe", NEWEST, wire.velocity_from_wire,
        lambda it: taken.append(it.stamp_s), handed=True,
    )  # fmt: skip
    assert not any(subscription.topic_name == "/cf1/velocity_safe" for subscription in hearer.subscriptions)
    topic.said(velocity(1.0, 0.1))
    topic.said(velocity(2.0, 0.1))
    assert taken == []
    hand_over()
    hand_over()
    assert taken == [2.0]
    heard.stop()
    topic.said(velocity(3.0, 0.1))
    hand_over()
    assert taken == [2.0]


def test_what_is_said_while_something_is_handed_over_is_handed_over_next(hearer: Hearer) -> None:
    first, second, taken = spoken("/cf1/first"), spoken("/cf1/second"), list[str]()
    kind, convert = RosTwistStamped, wire.velocity_from_wire

    def answer(_: wire.Velocity) -> None:
        taken.append("first")
        second.said(velocity(2.0, 0.1))

    hear(hearer, hearer, kind, "second", NEWEST, convert, lambda _: taken.append("second"), handed=True)
    hear(hearer, hearer, kind, "first", NEWEST, convert, answer, handed=True)
    first.said(velocity(1.0, 0.1))
    hand_over()
    assert taken == ["first", "second"]


def test_what_cannot_be_taken_is_told_and_the_others_take_theirs(hearer: Hearer) -> None:
    topic, taken = spoken("/cf1/velocity_safe"), list[float]()

    def refuse(_: wire.Velocity) -> None:
        raise InputError("velocity", "this one", "another")

    for take in (refuse, lambda it: taken.append(it.stamp_s)):
        hear(hearer, hearer, RosTwistStamped, "velocity_safe", NEWEST, wire.velocity_from_wire, take, handed=True)
    topic.said(velocity(1.0, 0.1))
    topic.said(velocity(1.0, float("nan")))
    hand_over()
    topic.said(velocity(2.0, 0.1))
    hand_over()
    assert taken == [2.0]
    assert [sentence.partition(";")[0] for sentence in hearer.told] == [
        *(["velocity_safe: twist.linear: got [nan, 0.0, 0.0]"] * 2),
        "velocity_safe: velocity: got this one",
    ]


def test_without_a_speaker_in_the_process_it_is_heard_from_the_network(hearer: Hearer) -> None:
    hear(hearer, hearer, RosTwistStamped, "velocity_safe", NEWEST, wire.velocity_from_wire, print, handed=True)
    assert any(subscription.topic_name == "/cf1/velocity_safe" for subscription in hearer.subscriptions)


def test_a_roll_call_of_many_that_comes_at_one_moment_is_heard_whole(hearer: Hearer) -> None:
    kind, qos = STREAMS[topics.PRESENCE]
    heard: list[str] = []
    hear(hearer, hearer, kind, topics.PRESENCE, qos, wire.presence_from_wire, lambda it: heard.append(it.drone))
    names = [f"cf{i}" for i in range(60)]
    says = [hearer.create_publisher(kind, topics.PRESENCE, qos) for _ in names]
    end_s = time.monotonic() + 20.0
    while any(say.get_subscription_count() < 1 for say in says) and time.monotonic() < end_s:
        time.sleep(0.05)
    for name, say in zip(names, says, strict=True):
        say.publish(to_ros(kind, wire.presence_to_wire(Sighting(name, 1.0, np.zeros(3)))))
    time.sleep(0.5)  # nobody listens meanwhile
    executor = SingleThreadedExecutor(context=hearer.context)
    executor.add_node(hearer)
    while len(heard) < len(names) and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    assert sorted(heard) == sorted(names)
