"""Who is near is taken from /poses itself, at once, however many speak."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lgtc_core import topics, wire
from lgtc_core.loop.neighbourhood import Sighting

pytestmark = pytest.mark.ros

NAMES = ("cf1", "cf2", "cf3", "cf4")


class Ears:
    """Lets everything through."""

    def through_together(self, purpose: str, sender_of: Callable[[Any], str], take: Callable[[Any], object]) -> Any:
        """The same, unchanged."""
        return take


class Node:
    """What NearPoses asks of a node: its team, and to be heard for."""

    drone = "cf1"
    team = SimpleNamespace(names=NAMES)

    def hear(self, topic: str, convert: Callable[[Any], Any], take: Callable[[Any], object]) -> None:
        """Keep who takes /poses."""
        assert topic == topics.POSES
        self.take = lambda stamp_s, at_m: take(convert(message(stamp_s, at_m)))


def message(stamp_s: float, at_m: dict[str, tuple[float, float]]) -> SimpleNamespace:
    second, nanosecond = wire.split_stamp(stamp_s)
    stamp = SimpleNamespace(sec=second, nanosec=nanosecond)
    position = [number for x, y in at_m.values() for number in (x, y, 1.0)]
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), drones=list(at_m), position=position)


def test_it_takes_those_within_reach_of_where_it_is_and_everybody_while_it_does_not_know() -> None:
    from lgtc_nodes.poses import NearPoses

    node, taken = Node(), list[list[Sighting]]()
    near = NearPoses(node, 1.5, Ears(), lambda them: taken.append(list(them)))  # type: ignore[arg-type]
    at_m = {"cf1": (0.0, 0.0), "cf2": (1.4, 0.0), "cf3": (0.0, 1.6), "stranger": (0.1, 0.1)}
    node.take(1.0, at_m)
    near.moved(np.array([0.0, 0.0, 1.0]))
    node.take(2.0, at_m)
    near.moved(np.array([0.0, 0.2, 1.0]))
    node.take(3.0, at_m | {"cf2": (np.nan, 0.0)})
    node.take(4.0, {"cf1": (0.0, 0.0)})
    assert [[(one.drone, one.stamp_s) for one in them] for them in taken] == [
        [("cf2", 1.0), ("cf3", 1.0)],
        [("cf2", 2.0)],
        [("cf3", 3.0)],
    ]
    assert taken[2][0].position_m.tolist() == [0.0, 1.6, 1.0]
