"""Core value -> message -> bytes -> message -> core value: what goes in comes out, by rclpy and by rosbags alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from geometry_msgs.msg import PoseStamped as RosPoseStamped
from geometry_msgs.msg import TwistStamped as RosTwistStamped
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry as RosOdometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import BatteryState as RosBatteryState

from lgtc_analysis.messages import build, read_definitions, typestore
from lgtc_core import wire
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.errors import InputError
from lgtc_core.fleet.fault import AMOUNTS, Fault, FaultKind
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.flight.reference import Setpoint
from lgtc_core.loop.neighbourhood import Sighting
from lgtc_core.mind.policy import Decision, Features
from lgtc_interfaces.msg import AgentFeatures as RosAgentFeatures
from lgtc_interfaces.msg import Bundle as RosBundle
from lgtc_interfaces.msg import ConsumerDemand as RosConsumerDemand
from lgtc_interfaces.msg import Demand as RosDemand
from lgtc_interfaces.msg import Fault as RosFault
from lgtc_interfaces.msg import Faults as RosFaults
from lgtc_interfaces.msg import MissionState as RosMissionState
from lgtc_interfaces.msg import PolicyState as RosPolicyState
from lgtc_interfaces.msg import Poses as RosPoses
from lgtc_interfaces.msg import Presence as RosPresence
from lgtc_interfaces.msg import ResourceState as RosResourceState
from lgtc_interfaces.msg import SafetyStatus as RosSafetyStatus
from lgtc_interfaces.msg import VehicleStatus as RosVehicleStatus
from lgtc_nodes.conversions import to_ros

TYPES = typestore(read_definitions(Path(get_package_share_directory("lgtc_interfaces")) / "msg"))

stamps = st.integers(0, 4_000_000_000_000).map(lambda ns: ns / 1e9)
numbers = st.floats(-1e6, 1e6, width=32)
amounts = st.floats(0.0, 1e6, width=32)
maybe = st.one_of(st.just(math.nan), st.floats(0.0, 100.0, width=32))
words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


def vectors(size: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(numbers, min_size=size, max_size=size).map(lambda values: np.array(values, float))


def both_ways(kind: Any, values: wire.Wire) -> list[Any]:
    """The message as rclpy delivers it, and as rosbags reads it; each written by the other."""
    name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
    by_rclpy = serialize_message(to_ros(kind, values))
    by_rosbags = bytes(TYPES.serialize_cdr(build(TYPES, name, values), name))
    return [deserialize_message(by_rosbags, kind), TYPES.deserialize_cdr(by_rclpy, name)]


def same(a: Any, b: Any) -> None:
    """Fields are equal, NaN to NaN, arrays by value."""
    for name in type(a).__dataclass_fields__ if hasattr(a, "__dataclass_fields__") else a._fields:
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, (float, np.ndarray)):
            np.testing.assert_array_equal(x, y, err_msg=name)
        elif isinstance(x, tuple) and x and isinstance(x[0], ConsumerView):
            for one, other in zip(x, y, strict=True):
                same(one, other)
        else:
            assert x == y, name


@given(stamps, vectors(3))
def test_pose(stamp_s: float, position_m: np.ndarray) -> None:
    pose = wire.Pose(stamp_s, position_m)
    for message in both_ways(RosPoseStamped, wire.pose_to_wire(pose)):
        same(wire.pose_from_wire(message), pose)
        assert message.header.frame_id == "world"
        assert message.pose.orientation.w == 1.0


@given(stamps, st.dictionaries(words, vectors(3), min_size=1, max_size=4))  # of nobody, nothing is said
def test_poses(stamp_s: float, position_m: dict[str, np.ndarray]) -> None:
    for message in both_ways(RosPoses, wire.poses_to_wire(stamp_s, position_m)):
        poses, together_m, refused = wire.poses_from_wire(message)
        assert list(poses) == list(position_m)
        np.testing.assert_array_equal(together_m, [*position_m.values()])
        assert refused == ()
        for name, pose in poses.items():
            same(pose, wire.Pose(stamp_s, position_m[name]))
        assert message.header.frame_id == "world"


def test_poses_are_refused_as_a_whole_where_numbers_lack_and_for_one_drone_where_they_are_not_finite() -> None:
    lacking = {"header": 1.0, "drones": ["cf1", "cf2"], "position": np.zeros(5)}
    for twice in both_ways(RosPoses, {"header": 1.0, "drones": ["cf1", "cf1"], "position": np.zeros(6)}):
        with pytest.raises(InputError, match="cf1, cf1; expected every name once"):
            wire.poses_from_wire(twice)
    one_bad = wire.poses_to_wire(1.0, {"cf1": np.array([0.0, math.inf, 0.0]), "cf2": np.ones(3)})
    for short, bad in zip(both_ways(RosPoses, lacking), both_ways(RosPoses, one_bad), strict=True):
        with pytest.raises(InputError, match="5 numbers; expected three for each of 2 drones"):
            wire.poses_from_wire(short)
        poses, together_m, refused = wire.poses_from_wire(bad)
        assert refused == ("cf1",)
        assert list(poses) == ["cf2"]
        assert together_m.tolist() == [[1.0, 1.0, 1.0]]
        same(poses["cf2"], wire.Pose(1.0, np.ones(3)))


@given(st.lists(st.tuples(words, st.binary(max_size=40)), min_size=1, max_size=5))  # of nobody, nothing is said
def test_bundle(said: list[tuple[str, bytes]]) -> None:
    for message in both_ways(RosBundle, wire.bundle_to_wire(said)):
        assert wire.bundle_from_wire(message) == said


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ([5], "1 ends; expected one for each of 2 messages"),
        ([3, 4], r"\[3, 4\]; expected ends that rise to the 5 bytes there are"),
        ([6, 5], "expected ends that rise to the 5 bytes there are"),
    ],
)
def test_a_bundle_whose_ends_do_not_divide_its_bytes_is_refused(ends: list[int], sentence: str) -> None:
    values = {"drones": ["cf1", "cf2"], "ends": ends, "data": np.arange(5, dtype=np.uint8)}
    for message in both_ways(RosBundle, values):
        with pytest.raises(InputError, match=sentence):
            wire.bundle_from_wire(message)


@given(stamps, vectors(3))
def test_velocity(stamp_s: float, velocity_mps: np.ndarray) -> None:
    velocity = wire.Velocity(stamp_s, velocity_mps)
    for message in both_ways(RosTwistStamped, wire.velocity_to_wire(velocity)):
        same(wire.velocity_from_wire(message), velocity)


@given(stamps, maybe, st.one_of(st.just(math.nan), st.floats(0.0, 1.0, width=32)))
def test_battery(stamp_s: float, voltage_v: float, charge: float) -> None:
    battery = wire.BatteryReading(stamp_s, voltage_v, charge)
    for message in both_ways(RosBatteryState, wire.battery_to_wire(battery)):
        same(wire.battery_from_wire(message), battery)
        assert math.isnan(message.current)


@given(stamps, st.integers(0, 2**32 - 1), vectors(2), words, st.lists(numbers, max_size=40))
def test_features(stamp_s: float, sequence: int, position_m: np.ndarray, contract: str, data: list[float]) -> None:
    features = Features("cf1", sequence, stamp_s, position_m, contract, np.array(data, np.float32))
    for message in both_ways(RosAgentFeatures, wire.features_to_wire(features)):
        same(wire.features_from_wire(message, "cf1"), features)


@given(stamps, vectors(3), st.sampled_from(SafetyMode), words, maybe, st.integers(0, 1000))
def test_safe_command_as_velocity_and_status(
    stamp_s: float, velocity_mps: np.ndarray, mode: SafetyMode, reason: str, number: float, count: int
) -> None:
    command = SafeCommand(stamp_s, velocity_mps, mode, reason, number, number, number, number, count, number)
    velocities = both_ways(RosTwistStamped, wire.velocity_to_wire(wire.Velocity(stamp_s, velocity_mps)))
    for message, velocity in zip(both_ways(RosSafetyStatus, wire.safety_to_wire(command)), velocities, strict=True):
        assert wire.stamp_from_wire(message) == stamp_s
        same(wire.safety_from_wire(message, wire.velocity_from_wire(velocity)), command)


FAULTS = st.sampled_from(FaultKind).flatmap(
    lambda kind: st.builds(
        lambda drones, start_s, duration_s, share: Fault(
            kind=kind,
            drones=tuple(drones),
            start_s=start_s,
            duration_s=duration_s,
            amount=AMOUNTS[kind].hi * share if kind in AMOUNTS else None,
        ),
        st.lists(words, min_size=1, max_size=3),
        st.floats(0.0, 1e6),
        st.none() | st.floats(0.0, 1e6),
        st.floats(0.0, 1.0),
    )
)


@given(stamps, st.lists(FAULTS, max_size=3))
def test_faults(stamp_s: float, faults: list[Fault]) -> None:
    report = wire.FaultsReport(stamp_s, tuple(faults))
    for message in both_ways(RosFaults, wire.faults_to_wire(report)):
        same(wire.faults_from_wire(message), report)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "gremlins"}, {"amount": 2.0}, {"amount": math.nan}, {"start_s": math.nan}, {"duration_s": -1.0}],
    ids=str,
)
def test_a_fault_that_is_none_is_refused_with_what_may_come(wrong: dict[str, Any]) -> None:
    values = wire.fault_to_wire(Fault(kind=FaultKind.LOSS, amount=0.5)) | wrong
    with pytest.raises(InputError, match="expected"):
        wire.fault_from_wire(to_ros(RosFault, values))


SUPPLIES = st.lists(amounts, min_size=1, max_size=4)


@given(stamps, SUPPLIES, vectors(3), st.booleans(), maybe, st.sampled_from(Tier), words)
def test_resources(
    stamp_s: float, supply: list[float], position_m: np.ndarray, serving: bool, number: float, tier: Tier, reason: str
) -> None:
    kinds = tuple(f"k{i}" for i in range(len(supply)))
    resources = wire.Resources(
        stamp_s, kinds, np.array(supply), position_m, serving, number, number, number, tier, reason
    )
    for message in both_ways(RosResourceState, wire.resources_to_wire(resources)):
        same(wire.resources_from_wire(message), resources)


@given(stamps, st.sampled_from(VehiclePhase), words, st.one_of(vectors(3), st.just(wire.UNKNOWN_M)), maybe)
def test_vehicle(stamp_s: float, phase: VehiclePhase, reason: str, reference_m: np.ndarray, age_s: float) -> None:
    report = wire.VehicleReport(stamp_s, phase, reason, reference_m, age_s)
    for message in both_ways(RosVehicleStatus, wire.vehicle_to_wire(report)):
        same(wire.vehicle_from_wire(message), report)


@given(stamps, st.sampled_from(MissionPhase), st.floats(0.0, 1e4, width=32), words)
def test_mission(stamp_s: float, phase: MissionPhase, elapsed_s: float, reason: str) -> None:
    report = wire.MissionReport(stamp_s, phase, elapsed_s, reason)
    for message in both_ways(RosMissionState, wire.mission_to_wire(report)):
        same(wire.mission_from_wire(message), report)


@given(words, stamps, vectors(3))
def test_presence(drone: str, stamp_s: float, position_m: np.ndarray) -> None:
    sighting = Sighting(drone, stamp_s, position_m)
    for message in both_ways(RosPresence, wire.presence_to_wire(sighting)):
        same(wire.presence_from_wire(message), sighting)


@given(stamps, vectors(3), vectors(3))
def test_setpoint(stamp_s: float, position_m: np.ndarray, velocity_mps: np.ndarray) -> None:
    setpoint = Setpoint(position_m, velocity_mps)
    for message in both_ways(RosOdometry, wire.setpoint_to_wire(setpoint, stamp_s)):
        same(wire.setpoint_from_wire(message), setpoint)
        assert wire.stamp_from_wire(message) == stamp_s


@st.composite
def consumer_views(draw: st.DrawFn, slot: int, kinds: int) -> ConsumerView:
    several = st.lists(amounts, min_size=kinds, max_size=kinds).map(lambda values: np.array(values, float))
    return ConsumerView(
        name=draw(words),
        slot=slot,
        position_m=draw(vectors(2)),
        radius_m=draw(st.floats(0.125, 100.0, width=32)),
        demanded=draw(several),
        remaining=draw(several),
        depletion=np.array(draw(st.lists(st.integers(0, 1), min_size=kinds, max_size=kinds)), np.int64),
        servers=tuple(draw(st.lists(words, max_size=3))),
    )


@given(st.data(), st.integers(0, 3), st.integers(1, 3))
def test_demand(data: st.DataObject, consumers: int, kinds: int) -> None:
    view = DemandView(
        data.draw(st.integers(0, 2**32 - 1)),
        tuple(f"k{i}" for i in range(kinds)),
        tuple(data.draw(consumer_views(slot, kinds)) for slot in range(consumers)),
    )
    for message in both_ways(RosDemand, wire.demand_to_wire(view, 1.5)):
        same(wire.demand_from_wire(message), view)


def test_a_request_to_edit_a_consumer() -> None:
    consumer = ConsumerSpec(name="a", position_m=(0.5, -0.25), radius_m=0.5, demanded=(1.0, 0.5), depletion=(0, 1))
    for message in both_ways(RosConsumerDemand, wire.consumer_spec_to_wire(consumer)):
        assert wire.consumer_spec_from_wire(message) == consumer


def test_a_decision_arrives_whole() -> None:
    features = Features("cf1", 7, 2.0, np.array([0.5, 0.25]), "abc", np.ones(3, np.float32))
    decision = Decision(
        velocity_mps=np.array([0.5, 0.0]),
        action=np.array([0.5, 0.0], np.float32),
        features=features,
        consumers=("a", "b"),
        assignment=np.array([0.25, 0.75], np.float32),
        chosen=1,
        state=np.array([0.5, -0.5], np.float32),
        neighbours_heard=2,
        oldest_message_age_s=math.nan,
        step_time_s=0.125,
    )
    for message in both_ways(RosPolicyState, wire.decision_to_wire(decision, 1.75)):
        assert wire.stamp_from_wire(message) == 1.75
        assert (message.sequence, message.chosen, message.neighbours_heard) == (7, 1, 2)
        assert list(message.consumers) == ["a", "b"]
        np.testing.assert_array_equal(message.action, decision.action)
        np.testing.assert_array_equal(message.assignment, decision.assignment)
        np.testing.assert_array_equal(message.state, decision.state)
        assert math.isnan(message.oldest_message_age_s)
        assert message.step_time_s == 0.125


NAN = np.full(3, math.nan)


@pytest.mark.parametrize(
    ("kind", "values", "read", "evidence"),
    [
        (RosPoseStamped, {"pose": {"position": NAN}}, wire.pose_from_wire, "nan"),
        (RosTwistStamped, {"twist": {"linear": (0, math.inf, 0)}}, wire.velocity_from_wire, "inf"),
        (RosOdometry, {"pose": {"pose": {"position": NAN}}}, wire.setpoint_from_wire, "nan"),
        (RosBatteryState, {"percentage": 50.0}, wire.battery_from_wire, "50"),
        (RosBatteryState, {"voltage": -1.0}, wire.battery_from_wire, "-1"),
        (RosPresence, {"drone": "cf9", "position": NAN}, wire.presence_from_wire, "cf9"),
        (RosResourceState, {"kinds": ["a", "b"], "supply": [1.0]}, wire.resources_from_wire, "2"),
        (RosResourceState, {"kinds": ["a"], "supply": [-1.0]}, wire.resources_from_wire, "-1"),
        (RosResourceState, {"kinds": [], "supply": [], "tier": 9}, wire.resources_from_wire, "9"),
        (RosVehicleStatus, {"phase": 77}, wire.vehicle_from_wire, "77"),
        (RosMissionState, {"phase": 77}, wire.mission_from_wire, "77"),
        (RosDemand, {"kinds": ["a"], "consumers": [{"name": "x"}]}, wire.demand_from_wire, "x"),
    ],
)
def test_what_cannot_be_is_refused_with_its_evidence(kind: Any, values: wire.Wire, read: Any, evidence: str) -> None:
    for message in both_ways(kind, values):
        with pytest.raises(InputError, match=evidence):
            read(message)
