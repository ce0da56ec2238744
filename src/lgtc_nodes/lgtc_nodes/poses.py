"""How nodes hear where drones are: each drone on its own topic, or all of them in one message.

A motion capture system sees all drones in one frame. Where they are told so (/poses), every process hears one message
per frame instead of one per drone and node, and nobody subscribes anew when team-mates come near: with all hearing
all, poses are the largest part of a large team's traffic. The plan decides, as it knows who tells the poses; nodes do
the same with both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from lgtc_core import topics, wire
from lgtc_core.errors import InputError
from lgtc_core.loop.neighbourhood import Sighting
from lgtc_nodes.hearing import Hearing
from lgtc_nodes.near import NearSubscriptions, near_team_mates
from lgtc_nodes.node import NodeParams, SwarmNode


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
    """Poses of near team-mates, and of nobody else, out of /poses.

    Args:
        node: hears.
        take: takes those of one moment.
    """

    def __init__(self, node: SwarmNode[Any], take: Callable[[Sequence[Sighting]], object]) -> None:
        self._node, self._take = node, take
        self._near: frozenset[str] = frozenset()
        node.hear(topics.POSES, wire.poses_from_wire, self._pick)

    def follow(self, near: Iterable[str]) -> None:
        """Take the poses of `near`, names that are no drone of the team left out, and of nobody else."""
        self._near = near_team_mates(self._node, near)

    def _pick(self, poses: wire.Poses) -> None:
        near = [Sighting(name, *poses.of[name]) for name in self._near & poses.of.keys()]
        if near:
            self._take(near)


def hear_near_poses(
    node: SwarmNode[Any], together: bool, take: Callable[[Sequence[Sighting]], object]
) -> NearPoses | NearSubscriptions:
    """Take the poses of those team-mates that `follow` is told of."""
    if together:
        return NearPoses(node, take)
    return NearSubscriptions(node, topics.POSE, _sighting_of, lambda sighting: take((sighting,)))


@cache
def _sighting_of(name: str) -> Callable[[Any], Sighting]:
    """Converter of another drone's PoseStamped; the same one for all nodes of a process."""
    return lambda message: Sighting(name, *wire.pose_from_wire(message))
