"""What kinds of node there are, and what each says, hears, serves and asks.

The plan places nodes by this table; a test holds it against the graph of the running nodes, so it cannot lie.
Topic and service names come from `lgtc_core.topics`; those without a leading slash live in the drone's namespace. A
name that begins with ``*/`` belongs to every drone of the team.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lgtc_core import topics


@dataclass(frozen=True)
class NodeKind:
    """One kind of node: its name is the kind itself, in the drone's namespace or in the root."""

    kind: str
    per_drone: bool
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    """Services that the node calls."""

    def node(self, drone: str | None = None) -> str:
        """Fully qualified node name, as in ``/cf1/policy`` or ``/supervisor``."""
        return topics.of_drone(drone, self.kind) if drone is not None else f"/{self.kind}"


def _of_every(*names: str) -> tuple[str, ...]:
    return tuple(f"*/{name}" for name in names)


POLICY = NodeKind(
    "policy",
    per_drone=True,
    publishes=(topics.FEATURES, topics.VELOCITY_NOMINAL, topics.POLICY_STATE, topics.PRESENCE),
    subscribes=(
        topics.POSE,
        topics.RESOURCES,
        topics.VEHICLE,
        topics.DEMAND,
        topics.MISSION,
        topics.PRESENCE,
        topics.FAULTS,
        *_of_every(topics.FEATURES),
    ),
)
RESOURCE_MONITOR = NodeKind(
    "resource_monitor",
    per_drone=True,
    publishes=(topics.RESOURCES,),
    subscribes=(topics.POSE, topics.BATTERY, topics.VEHICLE, topics.DEMAND, topics.MISSION),
    serves=(topics.SET_SUPPLY,),
    asks=(topics.DELIVER, topics.PUT_IN),
)
SAFETY_FILTER = NodeKind(
    "safety_filter",
    per_drone=True,
    publishes=(topics.VELOCITY_SAFE, topics.SAFETY),
    subscribes=(
        topics.POSE,
        topics.VELOCITY_NOMINAL,
        topics.VEHICLE,
        topics.DEMAND,
        topics.MISSION,
        topics.PRESENCE,
        topics.FAULTS,
        *_of_every(topics.POSE),
    ),
)
VEHICLE = NodeKind(
    "vehicle",
    per_drone=True,
    publishes=(topics.SETPOINT, topics.VEHICLE),
    subscribes=(topics.POSE, topics.VELOCITY_SAFE, topics.SAFETY, topics.RESOURCES, topics.MISSION, topics.FAULTS),
    serves=(topics.VEHICLE_LAND,),
    asks=(topics.ARM, topics.TAKEOFF, topics.LAND, topics.NOTIFY_SETPOINTS_STOP),
)
SIMULATOR = NodeKind(
    "simulator",
    per_drone=False,
    publishes=(topics.CLOCK, topics.FAULTS, topics.POSES, *_of_every(topics.POSE, topics.BATTERY)),
    subscribes=(topics.MISSION, *_of_every(topics.SETPOINT, topics.VEHICLE, topics.RESOURCES)),
    serves=(
        topics.EMERGENCY,
        topics.EDIT_FAULTS,
        *_of_every(topics.ARM, topics.TAKEOFF, topics.LAND, topics.NOTIFY_SETPOINTS_STOP),
    ),
)
CRAZYSWARM = NodeKind(
    "crazyswarm",
    per_drone=False,
    publishes=(topics.CLOCK, *_of_every(topics.POSE, topics.BATTERY)),
    subscribes=(topics.MISSION, *_of_every(topics.SETPOINT)),
    serves=(topics.EMERGENCY, *_of_every(topics.ARM, topics.TAKEOFF, topics.LAND, topics.NOTIFY_SETPOINTS_STOP)),
)
"""In the place of the simulator; what it says to crazyflie_server is not a topic of ours."""
GAZEBO = replace(CRAZYSWARM, kind="gazebo")
"""Likewise; what it says to the bridge is not a topic of ours."""
DEMAND_SERVER = NodeKind(
    "demand_server",
    per_drone=False,
    publishes=(topics.DEMAND,),
    subscribes=(topics.MISSION, *_of_every(topics.RESOURCES)),
    serves=(topics.DELIVER, topics.EDIT_CONSUMER, topics.PUT_IN),
)
SUPERVISOR = NodeKind(
    "supervisor",
    per_drone=False,
    publishes=(topics.MISSION,),
    subscribes=(topics.MISSION, topics.DEMAND, topics.PRESENCE, *_of_every(topics.VEHICLE)),
    serves=(topics.MISSION_LAND, topics.MISSION_ABORT),
    asks=(topics.EDIT_CONSUMER, *_of_every(topics.SET_SUPPLY)),
)
RECORDER = NodeKind(
    "recorder",
    per_drone=False,
    publishes=(topics.FLIGHT_INFO,),
    subscribes=(
        topics.MISSION,
        topics.DEMAND,
        topics.PRESENCE,
        topics.FAULTS,
        *_of_every(
            topics.POSE,
            topics.FEATURES,
            topics.VELOCITY_NOMINAL,
            topics.VELOCITY_SAFE,
            topics.SAFETY,
            topics.RESOURCES,
            topics.POLICY_STATE,
            topics.BATTERY,
            topics.VEHICLE,
            topics.SETPOINT,
        ),
    ),
)

STAND_IN = NodeKind(
    "stand_in",
    per_drone=False,
    publishes=_of_every(topics.SETPOINT, topics.VEHICLE),
    subscribes=(topics.MISSION, *_of_every(topics.SETPOINT, topics.VEHICLE, topics.POSE)),
    asks=_of_every(topics.LAND, topics.NOTIFY_SETPOINTS_STOP),
)

HANDED_OVER = (topics.VELOCITY_SAFE, topics.SAFETY)
"""A vehicle adapter hears these from the network only where its safety filter runs in another process."""

KINDS = {
    kind.kind: kind
    for kind in (
        CRAZYSWARM,
        GAZEBO,
        POLICY,
        RESOURCE_MONITOR,
        SAFETY_FILTER,
        VEHICLE,
        SIMULATOR,
        DEMAND_SERVER,
        SUPERVISOR,
        RECORDER,
        STAND_IN,
    )
}


def kind_of(node: str) -> NodeKind:
    """Kind of a node by its fully qualified name: ``kind_of("/cf1/policy") is POLICY``."""
    return KINDS[node.rsplit("/", 1)[-1]]


def with_poses_together(kind: NodeKind) -> NodeKind:
    """The kind of node where it hears poses out of /poses, those that hear none unchanged. /poses tells a safety filter
    who is near, too.
    """
    not_needed = (topics.POSE, *_of_every(topics.POSE), *((topics.PRESENCE,) if kind is SAFETY_FILTER else ()))
    others = tuple(name for name in kind.subscribes if name not in not_needed)
    return kind if others == kind.subscribes else replace(kind, subscribes=(topics.POSES, *others))


def with_bundles(kind: NodeKind) -> NodeKind:
    """The kind of node where what drones say travels in bundles. The drones' own topics stay, for whoever listens from
    outside of the team; bundle topics belong to the first node of a process that says or hears them.
    """
    return replace(
        kind,
        publishes=(*kind.publishes, *_bundles(kind.publishes)),
        subscribes=(*(name for name in kind.subscribes if name.startswith("/")), *_bundles(kind.subscribes)),
    )


def _bundles(names: tuple[str, ...]) -> tuple[str, ...]:
    """The bundle topics of those names that are per-drone topics."""
    ours = (name.removeprefix("*/") for name in names if not name.startswith("/"))
    return tuple(dict.fromkeys(topics.bundled(name) for name in ours))


def resolved(names: tuple[str, ...], drone: str | None, team: tuple[str, ...]) -> frozenset[str]:
    """Absolute topic or service names of one node.

    Args:
        names: an entry of the table above.
        drone: the node's drone, None for a team node.
        team: names of all drones, for the entries that begin with ``*/``.
    """
    result: set[str] = set()
    for name in names:
        if name.startswith("*/"):
            result.update(topics.of_drone(other, name[2:]) for other in team)
        elif name.startswith("/") or drone is None:
            result.add(name)
        else:
            result.add(topics.of_drone(drone, name))
    return frozenset(result)
