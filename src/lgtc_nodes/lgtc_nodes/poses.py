"""How nodes hear where drones are: each drone on its own topic, or all of them in one message.

A motion capture system sees all drones in one frame. Where they are told so (/poses), every process hears one message
per frame instead of one per drone and node, and nobody subscribes anew when team-mates come near: with all hearing
all, poses are the largest part of a large team's traffic. The plan decides, as it knows who tells the poses; nodes do
the same with both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from lgtc_core import topics, wire
from lgtc_core.errors import InputError
from lgtc_core.loop.neighbourhood import Neighbourhood, Sighting
from lgtc_nodes.faulty import FaultyEars
from lgtc_nodes.hearing import Hearing
from lgtc_nodes.near import NearSubscriptions
from lgtc_nodes.node import NodeParams, SwarmNode

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PoseParams(NodeParams):
    """Parameters of nodes that hear where drones are."""

    poses_together: Annotated[bool, "Poses of all drones come in one message, /poses, instead of each on its topic"] = (
        False
    )


def hear_pose(
    node: SwarmNode[Any], together: bool, take: Callable[[wire.Pose], object], *, of: str | None = None
) -> Hearing:
    """Take the poses of one drone, by default of the node's own; `together`: out of /poses."""
    if not together:
        return node.hear(topics.POSE, wire.pose_from_wire, take, of=of)
    name = node.drone if of is None else of

    def pick(poses: wire.Poses) -> None:
        pose = poses.of.get(name)
        if pose is not None:
            take(pose)
        elif name in poses.refused:
            raise InputError(f"/poses: position of {name}", "numbers that are not finite", "finite numbers [m]")

    return node.hear(topics.POSES, wire.poses_from_wire, pick)


class NearPoses:
    """Poses of near team-mates, and of nobody else, out of /poses, which itself tells who is near.

    Args:
        node: hears.
        reach_m: who is within this distance over ground is near [m].
        ears: what becomes of them on the way, in simulation.
        take: takes those of one moment.
    """

    def __init__(
        self,
        node: SwarmNode[Any],
        reach_m: float,
        ears: FaultyEars,
        take: Callable[[Sequence[Sighting]], object],
    ) -> None:
        self._reach_m, self._hear = reach_m, ears.through_together("pose", lambda it: it.drone, take)
        self._others = frozenset(node.team.names) - {node.drone}
        self._own_m: Array | None = None
        node.hear(topics.POSES, wire.poses_from_wire, self._pick)

    def moved(self, position_m: Array) -> None:
        """Own position (3,), frame "world" [m]; without one, everybody is near."""
        self._own_m = position_m

    def _pick(self, poses: wire.Poses) -> None:
        near = list(poses.of)
        if self._own_m is not None:
            offset_m = poses.position_m[:, :2] - self._own_m[:2]
            rows = np.flatnonzero(np.hypot(offset_m[:, 0], offset_m[:, 1]) <= self._reach_m)
            near = [near[row] for row in rows.tolist()]
        sightings = [Sighting(name, *poses.of[name]) for name in near if name in self._others]
        if sightings:
            self._hear(sightings)


class NearPoseTopics:
    """Poses of near team-mates, and of nobody else, each on its topic; /presence tells who is near.

    Args:
        node: hears.
        neighbourhood: who is near.
        ears: what becomes of them on the way, in simulation.
        take: takes those of one moment.
    """

    def __init__(
        self,
        node: SwarmNode[Any],
        neighbourhood: Neighbourhood,
        ears: FaultyEars,
        take: Callable[[Sequence[Sighting]], object],
    ) -> None:
        self._node, self._neighbourhood = node, neighbourhood
        hear = ears.through_together("pose", lambda it: it.drone, self._seen)
        self._subscriptions = NearSubscriptions(node, topics.POSE, _sighting_of, lambda sighting: hear((sighting,)))
        self._take = take
        sighted = ears.through("presence", lambda it: it.drone, self._sighted)
        node.hear(topics.PRESENCE, wire.presence_from_wire, sighted)

    def moved(self, position_m: Array) -> None:
        """Own position (3,), frame "world" [m]; without one, everybody is near."""
        self._neighbourhood.moved(position_m)

    def _seen(self, sightings: Sequence[Sighting]) -> None:
        """A near drone's pose is its presence too: it is watched even when its policy, which sends it, is dead."""
        for sighting in sightings:
            self._neighbourhood.sighted(sighting)
        self._take(sightings)

    def _sighted(self, sighting: Sighting) -> None:
        self._neighbourhood.sighted(sighting)
        self._subscriptions.follow(self._neighbourhood.update(self._node.now_s()))


@cache
def _sighting_of(name: str) -> Callable[[Any], Sighting]:
    """Converter of another drone's PoseStamped; the same one for all nodes of a process."""
    return lambda message: Sighting(name, *wire.pose_from_wire(message))
