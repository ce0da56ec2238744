"""The resource monitor of one drone as a ROS node: battery in, resource state out, deliveries to the demand server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from rclpy.client import Client
from rclpy.task import Future

from lgtc_core import topics, wire
from lgtc_core.demand.account import Load, Offer, SupplyAnswer
from lgtc_core.loop.carrier import Carrier, CarrierParams
from lgtc_core.schema import Bounds
from lgtc_interfaces.srv import Deliver as RosDeliver
from lgtc_interfaces.srv import PutIn as RosPutIn
from lgtc_interfaces.srv import SetSupply as RosSetSupply
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.deferred import DeferredService
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.poses import PoseParams, hear_pose

SETTLE_S = 0.02
"""What is set by hand takes effect, and is answered, within this time of its coming, or of the ledger's answer."""
UNBOOKED_S = 2.0
"""An operator waits no longer than this for the ledger."""


@dataclass(frozen=True, kw_only=True)
class ResourceMonitorParams(PoseParams):
    """Parameters of the resource monitor."""

    period_s: Annotated[float, Bounds(0.02, 1.0, "s"), "Time between two resource states"] = 0.1
    carrier: CarrierParams = field(default_factory=CarrierParams)


class ResourceMonitorNode(SwarmNode[ResourceMonitorParams]):
    """Knows what one drone carries.

    Subscribes:
        pose (PoseStamped), or out of /poses (Poses): own, from the vehicle.
        battery (BatteryState): from the vehicle.
        vehicle (VehicleStatus): supplies count only in the air.
        /demand (Demand): what is asked for.
        /mission (MissionState): supplies count only while ACTIVE.

    Publishes:
        resources (ResourceState): steadily, and at once after a change by hand.

    Serves:
        set_supply (SetSupply): sets by hand what is carried of one kind; it takes effect at once, and is answered when
            the ledger has it, or says that it has not yet.

    Asks:
        /demand/deliver (Deliver): repeated with the same request id until answered.
        /demand/put_in (PutIn): what was put in; at the start, what is carried. Repeated likewise.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("resource_monitor", drone, ResourceMonitorParams, lifeline)
        # Not the time: in simulation every flight begins at 0, and a request id is to be unique for ever.
        self.carrier = Carrier(self.spec, self.team.kinds, secrets.token_hex(6), self.params.carrier, True)
        self._say = self.speak(topics.RESOURCES)
        self._asked: dict[str, Future] = {}
        self._deliver = self.create_client(RosDeliver, topics.DELIVER)
        self._put_in = self.create_client(RosPutIn, topics.PUT_IN)
        hear_pose(self, self.params.poses_together, self.carrier.pose)
        self.hear(topics.BATTERY, wire.battery_from_wire, self.carrier.battery)
        self.hear(topics.VEHICLE, wire.vehicle_from_wire, self.carrier.vehicle)
        self.hear(topics.DEMAND, wire.demand_from_wire, self.carrier.demand)
        self._set: dict[int, tuple[Any, SupplyAnswer]] = {}
        """Requests by identity that wait for the ledger, and what they did."""
        self._told_since_s: dict[str, float] = {}
        """Loads of these requests, and since when the ledger is being told [s]."""
        self._refused: dict[str, str] = {}
        """Loads that the ledger refused, and why."""
        self._settings = DeferredService(self, RosSetSupply, topics.SET_SUPPLY, self._set_supplies)
        self.every(SETTLE_S, lambda _: self._settings.answer())
        self.every(self.params.period_s, self._tick)

    def on_mission(self, report: wire.MissionReport) -> None:
        """What the team is to do."""
        self.carrier.mission(report)

    def _tick(self, now_s: float) -> None:
        for load in self.carrier.loads(now_s):
            self._load(load)
        carried = self.carrier.tick(now_s)
        self._say(wire.resources_to_wire(carried.resources))
        for offer in carried.offers:
            self._offer(offer)

    def _set_supplies(self, requests: Sequence[Any]) -> Sequence[wire.Wire | None]:
        known = self._set
        self._set = {}
        return [self._set_supply(request, known.get(id(request))) for request in requests]

    def _set_supply(self, request: Any, known: tuple[Any, SupplyAnswer] | None) -> wire.Wire | None:
        """The answer to a request that is new, or that waits for the ledger; None: it waits."""
        _, answer = known or (request, self._carry(request))
        if self.carrier.account.unbooked(answer.load):
            if self.now_s() - self._told_since_s.setdefault(answer.load, self.now_s()) < UNBOOKED_S:
                self._set[id(request)] = request, answer
                return None
            answer = answer._replace(message="the demand server is silent: the ledger does not have it yet")
        if answer.load in self._refused:
            answer = answer._replace(accepted=False, message=self._refused[answer.load])
        return {"accepted": answer.accepted, "amount": answer.amount, "message": answer.message}

    def _carry(self, request: Any) -> SupplyAnswer:
        """Let a change by hand take effect, and tell everybody."""
        answer = self.carrier.set_supply(request.kind, request.amount)
        self.get_logger().info(f"supply of {request.kind} set by hand: {answer.message or f'now {answer.amount:g}'}")
        self._tick(self.now_s())
        return answer

    def _load(self, load: Load) -> None:
        """Tell the ledger what was put in."""
        request = {"request_id": load.request_id, "drone": self.drone, "kind": load.kind, "amount": load.amount}
        self._ask(self._put_in, topics.PUT_IN, to_ros(RosPutIn.Request, request), partial(self._loaded, load))

    def _offer(self, offer: Offer) -> None:
        """Send a delivery request."""
        request = {
            "request_id": offer.request_id,
            "drone": self.drone,
            "consumer": offer.consumer,
            "kind": offer.kind,
            "offered": offer.amount,
        }
        self._ask(self._deliver, topics.DELIVER, to_ros(RosDeliver.Request, request), partial(self._answered, offer))

    def _ask(self, client: Client, service: str, request: Any, take: Callable[[Any], None]) -> None:
        """Ask; the same request, sent before and not answered, is given up: its answer may be lost."""
        earlier = self._asked.pop(request.request_id, None)
        if earlier is not None:
            client.remove_pending_request(earlier)
        future = self._asked[request.request_id] = client.call_async(request)
        future.add_done_callback(lambda done: self.guarded(service, lambda: take(done.result())))

    def _loaded(self, load: Load, answer: Any) -> None:
        self._asked.pop(load.request_id, None)
        if answer.final:
            self.carrier.loaded(load.request_id, answer.accepted, answer.carried)
            self._told_since_s.pop(load.request_id, None)
            self._refused = {} if answer.accepted else {load.request_id: answer.message}
        if not answer.accepted:
            self.tell(topics.PUT_IN, answer.message)

    def _answered(self, offer: Offer, answer: Any) -> None:
        self._asked.pop(offer.request_id, None)
        if not answer.final:
            self.tell(topics.DELIVER, answer.message)
            return  # nothing was decided: the offer stands, and is repeated
        self.carrier.settle(offer.request_id, answer.amount if answer.accepted else 0.0)
        if not answer.accepted:
            self.tell(topics.DELIVER, answer.message)


create = ResourceMonitorNode
