"""What `lgtc` sees of a flight is what the drones said last, on their own topics or in bundles."""

from __future__ import annotations

import time

import pytest

from lgtc_core import topics, wire
from lgtc_core.flight.phases import VehiclePhase
from lgtc_core.wire import UNKNOWN_M, VehicleReport

pytestmark = pytest.mark.ros


def vehicle(stamp_s: float, phase: VehiclePhase) -> wire.Wire:
    return wire.vehicle_to_wire(VehicleReport(stamp_s, phase, "", UNKNOWN_M, 0.0))


@pytest.mark.parametrize("bundled", [False, True])
def test_the_newest_that_every_drone_said_is_seen(ros_domain, monkeypatch, bundled):
    import rclpy
    from rclpy.serialization import serialize_message

    from lgtc_bringup.monitor import Monitor
    from lgtc_interfaces.msg import Bundle, VehicleStatus
    from lgtc_nodes.conversions import to_ros

    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros_domain))
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("drones", context=context)
    says = {
        name: node.create_publisher(VehicleStatus, topics.of_drone(name, topics.VEHICLE), 10) for name in ("cf1", "cf2")
    }
    says_bundle = node.create_publisher(Bundle, topics.bundled(topics.VEHICLE), 10)

    def say(phases: dict[str, VehiclePhase], stamp_s: float) -> None:
        messages = {name: to_ros(VehicleStatus, vehicle(stamp_s, phase)) for name, phase in phases.items()}
        if bundled:
            said = [(name, serialize_message(message)) for name, message in messages.items()]
            says_bundle.publish(to_ros(Bundle, wire.bundle_to_wire(said)))
        else:
            for name, message in messages.items():
                says[name].publish(message)

    def seen(monitor: Monitor) -> list[str]:
        return [drone.phase for drone in monitor.look().drones]

    try:
        with Monitor(("cf1", "cf2", "cf3"), bundled=bundled) as monitor:
            end_s = time.monotonic() + 20.0
            while time.monotonic() < end_s and seen(monitor)[:2] != ["FLYING", "LANDED"]:
                say({"cf1": VehiclePhase.TAKING_OFF, "cf2": VehiclePhase.LANDED}, 1.0)
                say({"cf1": VehiclePhase.FLYING}, 2.0)
                time.sleep(0.05)
            assert seen(monitor) == ["FLYING", "LANDED", ""]
            assert bool(says_bundle.get_subscription_count()) == bundled
            assert bool(says["cf1"].get_subscription_count()) != bundled
    finally:
        node.destroy_node()
        context.try_shutdown()
