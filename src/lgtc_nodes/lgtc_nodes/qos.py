"""Type and quality of service of every topic, chosen once, with reasons.

- NEWEST: fast streams of which only the newest counts (poses, velocities with their safety, setpoints). Best effort: a
  repeated old command is worse than a lost one, and the next follows in 20 ms. Depth 1, so that a slow reader acts on
  now, not on a queue; velocity and safety of one command belong together, so both.
- STREAM: fast streams of which each message counts a little (features, policy state, battery). Best effort for the same
  reason; a few deep, so that several of one burst arrive.
- STATE: slow states that others act on (resources, vehicle, mission). Reliable: a lost change of phase
  would cost a period of 100 ms or more.
- ROLL_CALL: all drones on one topic, at nearly one moment (presence). Reliable, and a reader has room for all of them
  until it gets to them: with less it drops some, the same ones every time, and two drones never hear of each other.
- BUNDLE: many drones' messages at once, from several processes on one topic: a reader has room for all of them, for
  some moments. Reliable or best effort, as the topic whose messages it carries.
- LATCHED: like STATE, and whoever starts late still gets the last one (demand, faults, flight information).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from geometry_msgs.msg import PoseStamped as RosPoseStamped
from geometry_msgs.msg import TwistStamped as RosTwistStamped
from nav_msgs.msg import Odometry as RosOdometry
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as RosClock
from sensor_msgs.msg import BatteryState as RosBatteryState
from std_msgs.msg import String as RosString

from lgtc_core import topics
from lgtc_interfaces.msg import AgentFeatures as RosAgentFeatures
from lgtc_interfaces.msg import Bundle as RosBundle
from lgtc_interfaces.msg import Demand as RosDemand
from lgtc_interfaces.msg import Faults as RosFaults
from lgtc_interfaces.msg import MissionState as RosMissionState
from lgtc_interfaces.msg import PolicyState as RosPolicyState
from lgtc_interfaces.msg import Poses as RosPoses
from lgtc_interfaces.msg import Presence as RosPresence
from lgtc_interfaces.msg import ResourceState as RosResourceState
from lgtc_interfaces.msg import SafetyStatus as RosSafetyStatus
from lgtc_interfaces.msg import VehicleStatus as RosVehicleStatus


def _profile(depth: int, *, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


NEWEST = _profile(1, reliable=False)
STREAM = _profile(5, reliable=False)
STATE = _profile(5, reliable=True)
ROLL_CALL = _profile(1000, reliable=True)
EVERY_STEP = _profile(100, reliable=False)
"""How a process hears /clock."""
LATCHED = _profile(1, reliable=True, latched=True)
BUNDLE_DEPTH = 100


class Stream(NamedTuple):
    """How one topic travels."""

    type: Any
    """Message class."""
    qos: QoSProfile


STREAMS: dict[str, Stream] = {
    topics.POSE: Stream(RosPoseStamped, NEWEST),
    topics.FEATURES: Stream(RosAgentFeatures, STREAM),
    topics.VELOCITY_NOMINAL: Stream(RosTwistStamped, NEWEST),
    topics.VELOCITY_SAFE: Stream(RosTwistStamped, NEWEST),
    topics.SAFETY: Stream(RosSafetyStatus, NEWEST),
    topics.RESOURCES: Stream(RosResourceState, STATE),
    topics.POLICY_STATE: Stream(RosPolicyState, STREAM),
    topics.BATTERY: Stream(RosBatteryState, STREAM),
    topics.VEHICLE: Stream(RosVehicleStatus, STATE),
    topics.SETPOINT: Stream(RosOdometry, NEWEST),
    topics.MISSION: Stream(RosMissionState, STATE),
    topics.POSES: Stream(RosPoses, NEWEST),
    topics.PRESENCE: Stream(RosPresence, ROLL_CALL),
    topics.DEMAND: Stream(RosDemand, LATCHED),
    topics.FAULTS: Stream(RosFaults, LATCHED),
    topics.FLIGHT_INFO: Stream(RosString, LATCHED),
    topics.CLOCK: Stream(RosClock, NEWEST),
}
"""By the names of `lgtc_core.topics`."""


def bundled(stream: Stream) -> Stream:
    """How bundles of a per-drone topic travel."""
    return Stream(RosBundle, _profile(BUNDLE_DEPTH, reliable=stream.qos.reliability is ReliabilityPolicy.RELIABLE))


def for_recorder(stream: Stream) -> QoSProfile:
    """The same quality of service with a queue deep enough that a slow disk loses nothing for a second."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=200,
        reliability=stream.qos.reliability,
        durability=stream.qos.durability,
    )
