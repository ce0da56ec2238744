"""The mission supervisor as a ROS node: takes off, lets policies fly, makes the scenario's events happen, lands all."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from rclpy.client import Client
from rclpy.task import Future
from std_srvs.srv import Trigger as RosTrigger

from lgtc_core import topics, wire
from lgtc_core.demand.view import DemandView
from lgtc_core.flight.gate import Gate
from lgtc_core.flight.mission import DueEvent, Mission, MissionParams, Request
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.loop.neighbourhood import Sighting
from lgtc_core.schema import Bounds
from lgtc_interfaces.srv import EditConsumer as RosEditConsumer
from lgtc_interfaces.srv import SetSupply as RosSetSupply
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.hearing import Hearing
from lgtc_nodes.kinds import DRONE_KINDS
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import NodeParams, SwarmNode

PATIENCE_S = 10.0
"""A node that is not up after this is named in the log; an event that is not answered after this is given up."""
REPEAT_S = 1.0
"""An event's request without an answer is sent again, unchanged."""


@dataclass(frozen=True, kw_only=True)
class SupervisorParams(NodeParams):
    """Parameters of the supervisor."""

    period_s: Annotated[float, Bounds(0.02, 0.5, "s"), "Time between two heartbeats on /mission"] = 0.1
    vehicle_lifetime_s: Annotated[
        float, Bounds(0.2, 60.0, "s"), "Silence of a vehicle after which it counts as lost"
    ] = 2.0
    stand_in: Annotated[bool, "Whether a stand-in belongs to the team: then nobody takes off before it is up"] = False
    preflight: Annotated[bool, "Whether nobody takes off before poses, places, batteries and clock are in order"] = (
        False
    )
    # every process has just met every other, which keeps a small computer busy for a second or two
    mission: MissionParams = field(default_factory=lambda: MissionParams(settle_s=2.0))


@dataclass
class _Event:
    """A request on its way."""

    client: Client
    request: Any
    begun_s: float
    sent_s: float = -math.inf
    future: Future | None = None


class SupervisorNode(SwarmNode[SupervisorParams]):
    """Decides what the whole team is to do.

    Subscribes:
        /<drone>/vehicle (VehicleStatus): of every drone.
        /presence (Presence): a drone is ready only when its policy is up.
        /demand (Demand): the mission may end when all is met; events may ask who serves.
        /<drone>/pose (PoseStamped), /<drone>/battery (BatteryState): before the take-off only, with `preflight`.

    Publishes:
        /mission (MissionState): the phase, and the heartbeat by which the others know that the supervisor lives.

    Serves:
        /mission/land (Trigger): end the mission, all land.
        /mission/abort (Trigger): all land now.

    Asks:
        /<drone>/set_supply (SetSupply), /demand/edit_consumer (EditConsumer): the scenario's events.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("supervisor", drone, SupervisorParams, lifeline)
        self.mission = Mission(self.team, self.params.mission)
        self._phase = MissionPhase.STANDBY
        self._begun_s = self.now_s()
        self._request: Request | None = None
        self._demand: DemandView | None = None
        self._vehicles: dict[str, wire.VehicleReport] = {}
        self._present: set[str] = set()
        self._events: dict[str, _Event] = {}
        """Events without an answer, by what they do."""
        self._say = self.speak(topics.MISSION)
        self._edit = self.create_client(RosEditConsumer, topics.EDIT_CONSUMER)
        self._set_supply = {
            name: self.create_client(RosSetSupply, topics.of_drone(name, topics.SET_SUPPLY)) for name in self.team.names
        }
        for name in self.team.names:
            self.hear(topics.VEHICLE, wire.vehicle_from_wire, partial(self._vehicles.__setitem__, name), of=name)
        self.hear(topics.PRESENCE, wire.presence_from_wire, self._sighted)
        self.hear(topics.DEMAND, wire.demand_from_wire, self._demanded)
        self.serve(topics.MISSION_LAND, RosTrigger, lambda _: self._asked(Request.LAND))
        self.serve(topics.MISSION_ABORT, RosTrigger, lambda _: self._asked(Request.ABORT))
        self._gate: Gate | None = None
        self._ears: list[Hearing] = []
        if self.params.preflight:
            self._listen()
        self.every(self.params.period_s, self._tick)

    def on_stop(self) -> None:
        """Asked to end: land all first."""
        self._asked(Request.LAND)

    def has_duty(self) -> bool:
        """True until the mission is done."""
        return self._phase is not MissionPhase.DONE

    def _tick(self, now_s: float) -> None:
        order = self.mission.update(now_s, self._phases(now_s), self._demand, self._request, self._objections(now_s))
        self._request = None
        if order.phase is not self._phase:
            self.get_logger().info(f"{order.phase.name} {order.reason}")
        self._phase = order.phase
        self._say(wire.mission_to_wire(wire.MissionReport(now_s, order.phase, order.elapsed_s, order.reason)))
        for due in order.events:
            self._happen(due)
        self._repeat(now_s)

    def _listen(self) -> None:
        """Hear what the drones say of themselves, until the flight begins."""
        self._gate = gate = Gate(self.team, bool(self.get_parameter("use_sim_time").value))
        for name in self.team.names:
            pose, battery = partial(self._posed, gate, name), partial(gate.battery, name)
            self._ears.append(self.hear(topics.POSE, wire.pose_from_wire, pose, of=name))
            self._ears.append(self.hear(topics.BATTERY, wire.battery_from_wire, battery, of=name))

    def _posed(self, gate: Gate, name: str, pose: wire.Pose) -> None:
        gate.pose(name, self.now_s(), pose)

    def _objections(self, now_s: float) -> dict[str, str]:
        """Why drones must not take off; nobody is asked any more once the flight has begun."""
        if self._gate is None:
            return {}
        if self._phase is not MissionPhase.STANDBY:
            self._gate = None
            for ear in self._ears:
                ear.stop()
            return {}
        objections = self._gate.objections(now_s, self.count_publishers(topics.CLOCK))
        if now_s - self._begun_s > PATIENCE_S:
            for name, why in objections.items():
                self.tell(f"{name}: must not fly", why)
        return objections

    def _phases(self, now_s: float) -> dict[str, VehiclePhase | None]:
        """Phase of every drone; None: not ready yet, or not heard any more."""
        phases: dict[str, VehiclePhase | None] = dict.fromkeys(self.team.names)
        for name, report in self._vehicles.items():
            if now_s - report.stamp_s <= self.params.vehicle_lifetime_s:
                phases[name] = report.phase
        if self._phase is MissionPhase.STANDBY:
            missing = self._missing()
            for name in missing:
                phases[name] = None
            if missing and now_s - self._begun_s > PATIENCE_S:
                self.tell("stand-by", f"not up yet: {', '.join(sorted(set().union(*missing.values())))}")
        return phases

    def _missing(self) -> dict[str, set[str]]:
        """Drones that must not take off yet, and why: nodes that do not hear /mission, or are not heard, so far.

        Who does not hear it cannot land when it falls silent.
        """
        found = self.get_subscriptions_info_by_topic(topics.MISSION)
        up = {f"{it.node_namespace.rstrip('/')}/{it.node_name}" for it in found}
        if self._demand is None:
            up.discard("/demand_server")
        up -= {topics.of_drone(name, "policy") for name in self.team.names if name not in self._present}
        needed = {name: {topics.of_drone(name, kind) for kind in DRONE_KINDS} for name in self.team.names}
        of_all = {"/demand_server", "/stand_in"} if self.params.stand_in else {"/demand_server"}
        missing = {name: (nodes | of_all) - up for name, nodes in needed.items()}
        return {name: nodes for name, nodes in missing.items() if nodes}

    def _happen(self, due: DueEvent) -> None:
        """Make one event of the scenario happen."""
        if due.event.edit is not None:
            edit = due.event.edit
            values = {
                "request_id": f"event-{secrets.token_hex(6)}",
                "operation": edit.operation,
                "consumer": wire.consumer_spec_to_wire(edit.consumer),
            }
            self._ask(self._edit, RosEditConsumer, values, f"{edit.operation.name.lower()} {edit.consumer.name}")
        if due.event.set_supply is not None and due.drone is not None:
            change = due.event.set_supply
            values = {"kind": change.kind, "amount": change.amount}
            what = f"{change.kind} of {due.drone} to {change.amount:g}"
            self._ask(self._set_supply[due.drone], RosSetSupply, values, what)

    def _ask(self, client: Client, kind: Any, values: wire.Wire, what: str) -> None:
        """Send an event's request, repeat it until it is answered, and log what came of it."""
        self._events[what] = _Event(client, to_ros(kind.Request, values), self.now_s())

    def _repeat(self, now_s: float) -> None:
        """Send the requests of events that were not answered in time; give up those that nobody answers."""
        for what, event in list(self._events.items()):
            if event.future is not None and event.future.done():
                answer = event.future.result()
                log = self.get_logger()
                log.info(f"event: {what}") if answer.accepted else log.warning(f"event: {what}: {answer.message}")
            elif now_s - event.begun_s > PATIENCE_S:
                self.tell(what, f"{event.client.srv_name} does not answer; whether the event happened is not known")
            else:
                if now_s - event.sent_s >= REPEAT_S and event.client.service_is_ready():
                    if event.future is not None:
                        event.client.remove_pending_request(event.future)
                    event.future, event.sent_s = event.client.call_async(event.request), now_s
                continue
            del self._events[what]

    def _asked(self, request: Request) -> wire.Wire:
        self._request = request if self._request is not Request.ABORT else self._request
        return {"success": True, "message": f"{request.name} from {self._phase.name}"}

    def _sighted(self, sighting: Sighting) -> None:
        self._present.add(sighting.drone)

    def _demanded(self, view: DemandView) -> None:
        self._demand = view


create = SupervisorNode
