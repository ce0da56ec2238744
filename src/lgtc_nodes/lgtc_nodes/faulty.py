"""Messages from other drones, as the faults of the moment let them through: at the receiving end, where nodes hear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from lgtc_core import topics, wire
from lgtc_core.loop.faults import Inbox, Links
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.periodic import Periodic

T = TypeVar("T")

LOOK_S = 0.01
"""While messages are held back, they are looked after this often."""


class FaultyEars:
    """What one node hears from other drones. Without a fault everything is taken at once, and no timer runs.

    Args:
        node: hears; also subscribes to /faults.
    """

    def __init__(self, node: SwarmNode[Any]) -> None:
        self._node = node
        self._inboxes: list[Inbox[Any]] = []
        self._timer: Periodic | None = None
        node.hear(topics.FAULTS, wire.faults_from_wire, self._apply)

    def through(self, purpose: str, sender_of: Callable[[T], str], take: Callable[[T], object]) -> Callable[[T], None]:
        """What takes a message instead of `take`; `purpose` tells several of one drone apart."""

        def take_each(items: Sequence[T]) -> None:
            for item in items:
                self._node.guarded(purpose, partial(take, item))

        inbox = self._inbox(purpose, sender_of, take_each)

        def hear(item: T) -> None:
            if inbox.link.clear:
                take(item)
            else:
                inbox.put(self._node.now_s(), (item,))

        return hear

    def through_together(
        self, purpose: str, sender_of: Callable[[T], str], take: Callable[[Sequence[T]], object]
    ) -> Callable[[Sequence[T]], None]:
        """The same for messages of different senders that come together, and are taken so."""
        inbox = self._inbox(purpose, sender_of, take)

        def hear(items: Sequence[T]) -> None:
            if inbox.link.clear:
                take(items)
            else:
                inbox.put(self._node.now_s(), items)

        return hear

    def _inbox(self, purpose: str, sender_of: Callable[[T], str], take: Callable[[Sequence[T]], object]) -> Inbox[T]:
        def guarded(items: Sequence[T]) -> None:
            self._node.guarded(purpose, partial(take, items))

        link: Links[Sequence[T]] = Links((self._node.drone,), self._node.team.seed, purpose)
        inbox = Inbox(link, sender_of, guarded)
        self._inboxes.append(inbox)
        return inbox

    def _apply(self, report: wire.FaultsReport) -> None:
        for inbox in self._inboxes:
            inbox.link.apply(report.faults)
        if self._timer is None and not self._clear:
            self._timer = self._node.every(LOOK_S, self._deliver)

    @property
    def _clear(self) -> bool:
        return all(inbox.link.clear for inbox in self._inboxes)

    def _deliver(self, now_s: float) -> None:
        for inbox in self._inboxes:
            inbox.deliver(now_s)
        if self._timer is not None and self._clear:
            self._node.no_more(self._timer)
            self._timer = None
