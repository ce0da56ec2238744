"""Subscriptions to one topic of those team-mates who are near, and of nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lgtc_nodes.hearing import Hearing
from lgtc_nodes.node import SwarmNode


class NearSubscriptions:
    """Follows a set of near team-mates.

    Args:
        node: subscribes.
        topic: per-drone topic of `lgtc_core.topics`.
        converter: name of a team-mate -> function from its message to the core value.
        take: takes the core value.
    """

    def __init__(
        self,
        node: SwarmNode[Any],
        topic: str,
        converter: Callable[[str], Callable[[Any], Any]],
        take: Callable[[Any], object],
    ) -> None:
        self._node, self._topic, self._converter, self._take = node, topic, converter, take
        self._subscriptions: dict[str, Hearing] = {}

    def follow(self, near: Iterable[str]) -> None:
        """Listen to `near`, names that are no drone of the team left out, and to nobody else."""
        wanted = frozenset(near) & frozenset(self._node.team.names) - {self._node.drone}
        for name in wanted - self._subscriptions.keys():
            self._subscriptions[name] = self._node.hear(
                self._topic, self._converter(name), self._take, of=name, shared=True
            )
        for name in self._subscriptions.keys() - wanted:
            self._subscriptions.pop(name).stop()
