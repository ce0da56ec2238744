"""What many drones say goes over the network together, and everybody takes what concerns him."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from geometry_msgs.msg import TwistStamped as RosTwistStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from lgtc_core import topics, wire
from lgtc_nodes import bundles, hearing
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.qos import STREAMS, bundled

pytestmark = pytest.mark.ros


class Ear(Node):
    """A node that remembers what it warned of, and waits for what comes."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__("ear", context=context)
        self.told: list[str] = []
        self.executor_ = SingleThreadedExecutor(context=context)
        self.executor_.add_node(self)

    def tell(self, what: str, sentence: str) -> None:
        """Keep it."""
        self.told.append(f"{what}: {sentence}")

    def wait(self, true: Callable[[], bool]) -> None:
        """Spin until `true`."""
        end_s = time.monotonic() + 20.0
        while not true():
            assert time.monotonic() < end_s
            self.executor_.spin_once(timeout_sec=0.05)

    def hear(self, drone: str, take: Callable[[wire.Velocity], object]) -> hearing.Hearing:
        """Take what a drone says."""
        return bundles.hear_part(self, self, topics.VELOCITY_NOMINAL, drone, wire.velocity_from_wire, take)


@pytest.fixture
def ear(ros_domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    for module, name in ((bundles, "_BUNDLES"), (bundles, "_PARTS"), (hearing, "_TOPICS")):
        monkeypatch.setattr(module, name, {})
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = Ear(context)
    yield node
    node.executor_.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def velocity(stamp_s: float, x_mps: float = 0.0) -> Any:
    return to_ros(RosTwistStamped, wire.velocity_to_wire(wire.Velocity(stamp_s, [x_mps, 0.0, 0.0])))  # type: ignore[arg-type]


def test_everybody_takes_what_concerns_him_in_the_order_of_its_saying(ear: Ear) -> None:
    of_cf1, of_cf2, everything = list[float](), list[float](), list[tuple[str, float]]()
    ear.hear("cf1", lambda it: of_cf1.append(it.stamp_s))
    ear.hear("cf1", lambda it: of_cf1.append(10.0 * it.stamp_s))
    ear.hear("cf2", lambda it: of_cf2.append(it.stamp_s))

    def take_all(said: list[tuple[str, bytes]]) -> None:
        for drone, raw in said:
            everything.append((drone, wire.stamp_from_wire(deserialize_message(raw, RosTwistStamped))))

    bundles.hear_bundles(ear, ear, topics.VELOCITY_NOMINAL, take_all)
    said = bundles.bundle(ear, topics.VELOCITY_NOMINAL)
    assert bundles.bundle(ear, topics.VELOCITY_NOMINAL) is said
    ear.wait(said.heard)
    for drone, stamp_s in (("cf1", 1.0), ("cf2", 2.0), ("cf3", 3.0), ("cf1", 4.0)):
        said.add(drone, velocity(stamp_s))
    bundles.send_bundles()
    bundles.send_bundles()  # nothing is left
    ear.wait(lambda: len(everything) >= 4)
    assert of_cf1 == [1.0, 10.0, 4.0, 40.0]
    assert of_cf2 == [2.0]
    assert everything == [("cf1", 1.0), ("cf2", 2.0), ("cf3", 3.0), ("cf1", 4.0)]
    assert ear.told == []


def test_one_bad_part_is_refused_by_name_and_the_others_are_taken(ear: Ear) -> None:
    taken = list[float]()
    for drone in ("cf1", "cf2", "cf3"):
        ear.hear(drone, lambda it: taken.append(it.stamp_s))
    kind, qos = bundled(STREAMS[topics.VELOCITY_NOMINAL])
    say = ear.create_publisher(kind, topics.bundled(topics.VELOCITY_NOMINAL), qos)
    said = bundles.Bundle(ear, topics.VELOCITY_NOMINAL)
    ear.wait(lambda: said.heard() and say.get_subscription_count() > 0)
    say.publish(to_ros(kind, wire.bundle_to_wire([("cf1", b"\x00\x01"), ("cf2", b"")])))
    said.add("cf2", velocity(1.0, float("nan")))
    said.add("cf3", velocity(2.0))
    said.send()
    say.publish(to_ros(kind, {"drones": ["cf1"], "ends": [9]}))
    ear.wait(lambda: len(ear.told) >= 4 and bool(taken))
    assert taken == [2.0]
    assert sorted(sentence.partition(":")[0] for sentence in ear.told) == [
        "/bundle/velocity_nominal", "/cf1/velocity_nominal", "/cf2/velocity_nominal", "/cf2/velocity_nominal",
    ]  # fmt: skip


def test_who_hears_no_more_unsubscribes_when_it_was_the_last(ear: Ear) -> None:
    topic = topics.bundled(topics.VELOCITY_NOMINAL)

    def subscribed() -> bool:
        return any(subscription.topic_name == topic for subscription in ear.subscriptions)

    first, second = ear.hear("cf1", print), ear.hear("cf2", print)
    first.stop()
    assert subscribed()
    second.stop()
    assert not subscribed()
    ear.hear("cf1", print)
    assert subscribed()
