"""The demand server as a ROS node: the book of what is asked for, told to everybody, changed by requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from lgtc_core import topics, wire
from lgtc_core.demand.book import BookParams, DemandBook
from lgtc_core.loop import server
from lgtc_core.schema import Bounds
from lgtc_interfaces.srv import Deliver as RosDeliver
from lgtc_interfaces.srv import EditConsumer as RosEditConsumer
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import NodeParams, SwarmNode


@dataclass(frozen=True, kw_only=True)
class DemandServerParams(NodeParams):
    """Parameters of the demand server."""

    period_s: Annotated[float, Bounds(0.02, 1.0, "s"), "Time between two views of the demand"] = 0.1
    book: BookParams = field(default_factory=BookParams)


class DemandServerNode(SwarmNode[DemandServerParams]):
    """Keeps the book of the team.

    Subscribes:
        /<drone>/resources (ResourceState): of every drone: where it is, what it carries, whether it serves.
        /mission (MissionState): heartbeat only.

    Publishes:
        /demand (Demand): latched; steadily, and at once after a delivery or an edit.

    Serves:
        /demand/deliver (Deliver): a drone hands over an amount; repeated requests are answered as the first time.
        /demand/edit_consumer (EditConsumer): adds, changes or removes a consumer.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("demand_server", drone, DemandServerParams, lifeline)
        self.book = DemandBook.for_team(self.team, self.params.book)
        self._say = self.speak(topics.DEMAND)
        for name in self.team.names:
            self.hear(topics.RESOURCES, wire.resources_from_wire, partial(self._resources, name), of=name)
        self.serve(topics.DELIVER, RosDeliver, self._deliver)
        self.serve(topics.EDIT_CONSUMER, RosEditConsumer, self._edit)
        self.every(self.params.period_s, self._publish)

    def _resources(self, drone: str, resources: wire.Resources) -> None:
        answer = server.report(self.book, drone, resources)
        if not answer.accepted:
            self.tell(topics.of_drone(drone, topics.RESOURCES), answer.message)

    def _deliver(self, request: Any) -> wire.Wire:
        answer = self.book.deliver(request.request_id, request.drone, request.consumer, request.kind, request.offered)
        self._publish(self.now_s())
        return {
            "accepted": answer.accepted,
            "amount": answer.amount,
            "remaining": answer.remaining,
            "message": answer.message,
        }

    def _edit(self, request: Any) -> wire.Wire:
        answer = server.edit(self.book, request.operation, wire.consumer_spec_from_wire(request.consumer))
        self.get_logger().info(f"consumer {request.consumer.name}: {answer.message or 'edited'}")
        self._publish(self.now_s())
        return answer._asdict()

    def _publish(self, now_s: float) -> None:
        self._say(wire.demand_to_wire(self.book.view(now_s), now_s))


create = DemandServerNode
