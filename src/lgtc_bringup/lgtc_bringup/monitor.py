"""The `lgtc` command's ear in the ROS graph: it takes the newest message of each topic when asked, and no oftener.

No executor runs and no callback fires between two looks, so that watching 50 Hz streams costs `lgtc` next to nothing;
DDS keeps the newest message of each (depth 1), or the bundles of the time between.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from lgtc_bringup.plan import ROS_ARGUMENTS
from lgtc_bringup.snapshot import ConsumerSnapshot, DroneSnapshot, Snapshot
from lgtc_core import topics
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.wire import bundle_from_wire
from lgtc_interfaces.msg import Bundle, Demand, MissionState, PolicyState, ResourceState, SafetyStatus, VehicleStatus

_PER_DRONE: Mapping[str, type] = {
    topics.VEHICLE: VehicleStatus,
    topics.RESOURCES: ResourceState,
    topics.POLICY_STATE: PolicyState,
    topics.SAFETY: SafetyStatus,
}
_BUNDLES = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Room for what all processes say between two looks; what does not find it is old."""
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_FACTOR_WINDOW_S = 5.0
_ABORT_ANSWER_S = 1.0


class Monitor:
    """Subscribes to mission, demand and, of each drone, vehicle, resources, policy_state and safety; publishes nothing.

    Asks /mission/abort when told to. A context manager, with a ROS context of its own.

    Args:
        drones: names of the drones to look at.
        bundled: what they say comes in bundles. Without, it is sent on their own topics as well, to be heard here.
    """

    def __init__(self, drones: tuple[str, ...], *, bundled: bool = False) -> None:
        self._context = Context()
        rclpy.init(
            args=["--ros-args", *ROS_ARGUMENTS], context=self._context, signal_handler_options=SignalHandlerOptions.NO
        )
        self._node = rclpy.create_node(
            "lgtc", context=self._context, start_parameter_services=False, enable_rosout=False
        )
        self._mission = self._listen(MissionState, topics.MISSION, _NEWEST)
        self._demand = self._listen(Demand, topics.DEMAND, _LATCHED)
        self._parts = {name: self._listen(Bundle, topics.bundled(name), _BUNDLES) for name in _PER_DRONE if bundled}
        self._drones = {
            (drone, name): self._listen(kind, topics.of_drone(drone, name), _NEWEST)
            for drone in drones
            for name, kind in _PER_DRONE.items()
            if not bundled
        }
        self._abort = self._node.create_client(Trigger, topics.MISSION_ABORT)
        self._beats: deque[tuple[float, float]] = deque()  # (wall, ROS) time [s] of the last heartbeats
        self._snapshot = Snapshot(drones=tuple(DroneSnapshot(name) for name in drones))

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._node.destroy_node()
        self._context.try_shutdown()

    def others_flying(self, wait_s: float = 1.0) -> bool:
        """True if, after `wait_s` of discovery, somebody publishes /mission or /clock: another flight is on."""
        time.sleep(wait_s)
        return any(self._node.count_publishers(topic) > 0 for topic in (topics.MISSION, topics.CLOCK))

    def look(self) -> Snapshot:
        """The team as of now."""
        now_s = time.monotonic()
        changes: dict[str, Any] = {}
        mission = _newest(self._mission)
        if mission is not None:
            time_s = mission.header.stamp.sec + mission.header.stamp.nanosec * 1e-9
            self._beats.append((now_s, time_s))
            changes = {
                "time_s": time_s,
                "mission": _name(MissionPhase, mission.phase),
                "reason": mission.reason,
                "elapsed_s": float(mission.elapsed_s),
            }
        demand = _newest(self._demand)
        if demand is not None:
            changes["kinds"] = tuple(demand.kinds)
            changes["consumers"] = tuple(
                ConsumerSnapshot(one.name, tuple(one.demanded), tuple(one.remaining), tuple(one.servers))
                for one in demand.consumers
            )
        said = self._said()
        drones = tuple(
            _with(drone, *(said.get((drone.name, name)) for name in _PER_DRONE)) for drone in self._snapshot.drones
        )
        distances = [drone.distance_min_m for drone in drones if drone.airborne]
        self._snapshot = replace(
            self._snapshot,
            drones=drones,
            silent_s=now_s - self._beats[-1][0] if self._beats else math.inf,
            distance_min_m=_least([self._snapshot.distance_min_m, *distances]),
            real_time_factor=self._real_time_factor(now_s),
            **changes,
        )
        return self._snapshot

    def abort(self) -> bool:
        """Ask the supervisor to abort the mission; True if it agreed in time."""
        if not self._abort.wait_for_service(timeout_sec=_ABORT_ANSWER_S):
            return False
        executor = SingleThreadedExecutor(context=self._context)
        answer = self._abort.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(self._node, answer, executor, timeout_sec=_ABORT_ANSWER_S)
        executor.shutdown()
        return answer.done() and answer.result() is not None and bool(answer.result().success)

    def _listen(self, message: type, topic: str, qos: QoSProfile) -> Subscription:
        return self._node.create_subscription(message, topic, lambda _: None, qos)

    def _said(self) -> dict[tuple[str, str], Any]:
        """The newest message of every drone and per-drone topic, where there is a new one."""
        said = {key: message for key, one in self._drones.items() if (message := _newest(one)) is not None}
        for name, bundles in self._parts.items():
            raw: dict[str, bytes] = {}
            while (bundle := _newest(bundles)) is not None:
                raw.update(bundle_from_wire(bundle))
            said |= {(drone, name): deserialize_message(data, _PER_DRONE[name]) for drone, data in raw.items()}
        return said

    def _real_time_factor(self, now_s: float) -> float:
        while self._beats and now_s - self._beats[0][0] > _FACTOR_WINDOW_S:
            self._beats.popleft()
        if len(self._beats) < 2 or self._beats[-1][0] - self._beats[0][0] < 0.5:
            return math.nan
        return (self._beats[-1][1] - self._beats[0][1]) / (self._beats[-1][0] - self._beats[0][0])


def _with(drone: DroneSnapshot, vehicle: Any, resources: Any, policy: Any, safety: Any) -> DroneSnapshot:
    """The drone with what it has said since the last look; None: nothing."""
    if vehicle is not None:
        drone = replace(
            drone,
            phase=_name(VehiclePhase, vehicle.phase),
            airborne=vehicle.phase in (VehiclePhase.HOLDING, VehiclePhase.FLYING),
            reason=vehicle.reason,
        )
    if resources is not None:
        drone = replace(
            drone,
            state_of_charge=float(resources.state_of_charge),
            battery_voltage_v=float(resources.battery_voltage_v),
            tier=_name(Tier, resources.tier),
            supply=tuple(resources.supply),
            reason=drone.reason or resources.reason,
        )
    if policy is not None:
        known = 0 <= policy.chosen < len(policy.consumers)
        drone = replace(drone, chosen=policy.consumers[policy.chosen] if known else "")
    if safety is not None:
        mode = _name(SafetyMode, safety.mode)
        drone = replace(drone, safety=mode, distance_min_m=float(safety.distance_min_m))
    return drone


def _newest(subscription: Subscription) -> Any:
    """The next message that waits on a subscription, the newest where its depth is 1; or None."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    return None if taken is None else taken[0]


def _name(constants: type[IntEnum], value: int) -> str:
    """Name of a message constant, as in ``"TAKE_OFF"``; the number itself if it is a stranger."""
    return constants(value).name if value in set(constants) else str(value)


def _least(values: Iterable[float]) -> float:
    """Smallest of the numbers, NaN left out; NaN if none is left."""
    return min((value for value in values if not math.isnan(value)), default=math.nan)
