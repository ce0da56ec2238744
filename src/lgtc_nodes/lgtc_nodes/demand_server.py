"""The demand server as a ROS node: the book of what is asked for, told to everybody, changed by requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from lgtc_core import topics, wire
from lgtc_core.demand.book import BookParams, DemandBook, Request
from lgtc_core.demand.ledger import KEEP_ROWS_S, Ledger, LedgerInUse, Turn
from lgtc_core.errors import InputError
from lgtc_core.loop import server
from lgtc_core.schema import Bounds
from lgtc_interfaces.srv import Deliver as RosDeliver
from lgtc_interfaces.srv import EditConsumer as RosEditConsumer
from lgtc_interfaces.srv import PutIn as RosPutIn
from lgtc_nodes.deferred import DeferredService
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import NodeParams, SwarmNode

STANDBY_S = 0.02
"""A standby looks this often whether the ledger is free."""
REVISIONS_PER_START = 2**20
"""Views of one start of the server have other revisions than those of the starts before it."""


@dataclass(frozen=True, kw_only=True)
class DemandServerParams(NodeParams):
    """Parameters of the demand server."""

    period_s: Annotated[float, Bounds(0.02, 1.0, "s"), "Time between two views of the demand"] = 0.1
    settle_s: Annotated[
        float, Bounds(0.01, 1.0, "s"), "Deliveries that come within this time are shared fairly and written together"
    ] = 0.05
    ledger_file: Annotated[str, "Ledger (SQLite) that the book is kept in over restarts; empty: in memory"] = ""
    keep_rows_s: Annotated[
        float, Bounds(60.0, 1e9, "s"), "Changes are kept row by row, and repeated requests known again, for so long"
    ] = KEEP_ROWS_S
    standby: Annotated[
        bool, "While another server has the ledger, wait, and take over when it ends; else that is an error"
    ] = False
    book: BookParams = field(default_factory=BookParams)


class DemandServerNode(SwarmNode[DemandServerParams]):
    """Keeps the book of the team.

    Other servers of the same ledger may stand by: they do nothing until the first one ends, however it ends; then the
    one that has waited longest, whom all have discovered, goes on from the ledger within a fraction of the time that a
    start takes.

    Subscribes:
        /<drone>/resources (ResourceState): of every drone: where it is, what it carries, whether it serves.
        /mission (MissionState): heartbeat only.

    Publishes:
        /demand (Demand): latched; steadily, and at once after deliveries or an edit.

    Serves:
        /demand/deliver (Deliver): a drone hands over an amount; repeated requests are answered as the first time.
        /demand/edit_consumer (EditConsumer): adds, changes or removes a consumer; parts of a whole (`server.parts`) all
            or none.
        /demand/put_in (PutIn): a drone was loaded.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("demand_server", drone, DemandServerParams, lifeline)
        self._ledger: Ledger | None = None
        self._book: DemandBook | None = None
        self._say = self.speak(topics.DEMAND)
        for name in self.team.names:
            self.hear(topics.RESOURCES, wire.resources_from_wire, partial(self._resources, name), of=name)
        # All of them are there at once, also on standby: to be discovered takes longer than anything else.
        self._deferred = (
            DeferredService(self, RosEditConsumer, topics.EDIT_CONSUMER, self._edit),
            DeferredService(self, RosPutIn, topics.PUT_IN, self._each(self._put_in)),
            DeferredService(self, RosDeliver, topics.DELIVER, self._deliver),
        )
        waits = self.params.standby and self.params.ledger_file
        self._turn = Turn(self.params.ledger_file) if waits else None
        if not self._take_over():
            self.get_logger().info("standing by")
        self.every(self.params.period_s, self._publish)
        self.every(self.params.settle_s, self._settle)
        self._watch = self.every(STANDBY_S, self._await_turn)

    @property
    def book(self) -> DemandBook:
        """The book, once this server has it.

        Raises:
            InputError: another server has it.
        """
        if self._book is None:
            raise InputError(topics.DEMAND, "a question to a server that stands by", "the one that has the ledger")
        return self._book

    def close(self) -> None:
        """Give the ledger back."""
        if self._ledger is not None:
            self._ledger.close()

    def _begin(self) -> None:
        """Open the book: from now on this server serves.

        Raises:
            LedgerError: the ledger cannot be used; LedgerInUse: not yet.
        """
        if not self.params.ledger_file:
            self._book = DemandBook.for_team(self.team, self.params.book)
            return
        file, keep_s = self.params.ledger_file, self.params.keep_rows_s
        self._ledger = ledger = Ledger(file, self.team.kinds, self.now_s, time.time, keep_s)
        revision = ledger.opened * REVISIONS_PER_START % 2**32
        self._book = DemandBook.for_team(self.team, self.params.book, ledger, ledger.accounts, revision)

    def _take_over(self) -> bool:
        """Begin, if it is this server's turn and the ledger is free; whether it serves.

        Raises:
            LedgerError: the ledger cannot be used.
        """
        if self._turn is None:
            self._begin()
            return True
        if self._turn.mine():
            try:
                self._begin()
            except LedgerInUse:
                return False
            self._turn.pass_on()
            return True
        return False

    def _await_turn(self, _: float) -> None:
        """On standby: begin as soon as it can."""
        if self._book is None:
            if not self._take_over():
                return
            self.get_logger().info("took over")
        self.no_more(self._watch)

    def _resources(self, drone: str, resources: wire.Resources) -> None:
        if self._book is None:
            return
        answer = server.report(self.book, drone, resources)
        if not answer.accepted:
            self.tell(topics.of_drone(drone, topics.RESOURCES), answer.message)

    def _settle(self, now_s: float) -> None:
        """Answer what came in; on standby another server answers it."""
        if self._book is None:
            for service in self._deferred:
                service.drop()
        elif sum(service.answer() for service in self._deferred):
            self._publish(now_s)

    @staticmethod
    def _each(answer: Callable[[Any], wire.Wire]) -> Callable[[Sequence[Any]], Sequence[wire.Wire]]:
        """Requests that are answered one by one."""
        return lambda requests: [answer(request) for request in requests]

    def _deliver(self, requests: Sequence[Any]) -> Sequence[wire.Wire]:
        asked = [Request(it.request_id, it.drone, it.consumer, it.kind, it.offered) for it in requests]
        answers = self.book.deliver_together(asked)
        for answer in answers:
            if not answer.final:
                self.tell(topics.DELIVER, answer.message)
        return [answer._asdict() for answer in answers]

    def _edit(self, requests: Sequence[Any]) -> Sequence[wire.Wire | None]:
        asked = [
            server.EditRequest(it.operation, wire.consumer_spec_from_wire(it.consumer), it.request_id)
            for it in requests
        ]
        answers = server.edits(self.book, asked)
        for request, answer in zip(asked, answers, strict=True):
            if answer is not None:
                self.get_logger().info(f"consumer {request.consumer.name}: {answer.message or 'edited'}")
        return [None if answer is None else answer._asdict() for answer in answers]

    def _put_in(self, request: Any) -> wire.Wire:
        return self.book.put_in(request.request_id, request.drone, request.kind, request.amount)._asdict()

    def _publish(self, now_s: float) -> None:
        if self._book is None:
            return
        view = self._book.view(now_s)
        if self._book.trouble:
            self.tell(topics.DEMAND, self._book.trouble)
        self._say(wire.demand_to_wire(view, now_s))


create = DemandServerNode
