"""What every node of the swarm has: team, parameters, topics by name, refusals told and survived, a lifeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.timer import Timer

from lgtc_core import topics, wire
from lgtc_core.errors import InputError, LgtcError
from lgtc_core.fleet.team import DroneSpec, Team, load_team
from lgtc_core.flight.phases import MissionPhase
from lgtc_nodes import bundles, hearing
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.hearing import Hearing
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.parameters import declare
from lgtc_nodes.periodic import Periodic
from lgtc_nodes.qos import STREAMS, for_recorder

TELL_EVERY_S = 5.0
"""A refusal that repeats is logged this often per topic."""


@dataclass(frozen=True, kw_only=True)
class NodeParams:
    """Parameters of every node."""

    fleet_file: Annotated[str, "Fleet file: who can fly"]
    scenario_file: Annotated[str, "Scenario file: what is asked for, who flies"]
    bundled: Annotated[bool, "What drones say travels in bundles, one per topic, process and moment"] = False


P = TypeVar("P", bound=NodeParams)


class SwarmNode(Node, Generic[P]):
    """Base of all nodes: named by its kind, in the namespace of its drone.

    Subscribes:
        /mission (MissionState): what the team is to do, and the supervisor's heartbeat.

    Args:
        kind: name of the node.
        drone: its drone; empty for a node of the team.
        params: schema dataclass of its parameters.
        lifeline: of the process; hears every /mission.

    Raises:
        ConfigError: a parameter, the fleet or the scenario is wrong, or the drone is not in the team.
    """

    answers_for_parameters = True
    """Whether the nodes of this process have ROS 2's seven services about parameters and types (`ros2 param`)."""

    def __init__(self, kind: str, drone: str, params: type[P], lifeline: Lifeline) -> None:
        services = self.answers_for_parameters
        own = [Parameter("start_type_description_service", value=services)]
        super().__init__(kind, namespace=drone, start_parameter_services=services, parameter_overrides=own)
        self.params: P = declare(self, params)
        self.team: Team = load_team(self.params.fleet_file, self.params.scenario_file)
        self.drone = drone
        self.lifeline = lifeline
        self.simulated_time = bool(self.get_parameter("use_sim_time").value)
        self._time_s = lambda: float(self.get_clock().now().nanoseconds) / wire.NS_PER_S
        self._periodic: dict[Periodic, Timer | None] = {}
        """What is done again and again, and the timer that looks after it where time is the wall's."""
        self._told_s: dict[str, float] = {}
        self.hear(topics.MISSION, wire.mission_from_wire, self._mission)

    @property
    def spec(self) -> DroneSpec:
        """The drone that the node belongs to.

        Raises:
            InputError: not in the team.
        """
        return self.team.drone(self.drone)

    def now_s(self) -> float:
        """ROS time [s]."""
        return self._time_s()

    def follow(self, now_s: Callable[[], float]) -> None:
        """Ask this for the time from now on: the host knows simulated time, and asking rclpy's clock takes longer."""
        self._time_s = now_s

    def on_mission(self, report: wire.MissionReport) -> None:
        """A /mission came in."""

    def on_stop(self) -> None:
        """The process was asked to end, or is an orphan: bring down what is in the air."""

    def has_duty(self) -> bool:
        """True while the process must not end in an orderly way, as something would fall or be lost."""
        return False

    def close(self) -> None:
        """Last call before the process ends."""

    def speak(self, topic: str, *, of: str | None = None) -> Callable[[wire.Wire], None]:
        """Publisher of plain values on a topic of `lgtc_core.topics`; `of` a drone, else relative to this node.

        What drones say goes into bundles where the team has them, and to whoever else listens to the topic itself.
        """
        kind, qos = STREAMS[topic]
        publisher = self.create_publisher(kind, topic if of is None else topics.of_drone(of, topic), qos)
        here = hearing.spoken(publisher.topic_name)
        bundle = bundles.bundle(self, topic) if self._in_bundles(topic) else None
        latched = qos.durability is DurabilityPolicy.TRANSIENT_LOCAL
        message, fields = kind(), None

        def say(values: wire.Wire) -> None:
            nonlocal message, fields
            elsewhere = latched or publisher.get_subscription_count()
            in_bundle = bundle is not None and bundle.heard()
            if not (elsewhere or in_bundle or here.audience):
                return  # a message that nobody hears is not made
            if values.keys() != fields:  # else every field is overwritten: publishing has copied the last one
                message, fields = kind(), values.keys()
            to_ros(kind, values, message)
            if elsewhere:
                publisher.publish(message)
            if bundle is not None and in_bundle:
                bundle.add(of or self.drone, message)
            if here.audience:
                here.said(message)

        return say

    def hear(
        self,
        topic: str,
        convert: Callable[[Any], Any],
        take: Callable[[Any], object],
        *,
        of: str | None = None,
        shared: bool = False,
        handed: bool = False,
    ) -> Hearing:
        """Subscribe to a topic of `lgtc_core.topics`; `of` another drone, else relative to this node.

        What `convert` or `take` refuses is told in the log, at most every `TELL_EVERY_S`, and otherwise dropped.
        A topic of the team is heard once per process, for all its nodes; `shared`: a drone's as well. But /mission is
        heard by each, as by that the supervisor knows that a node is up. `handed`: see `hearing.hear`.
        """
        if self._in_bundles(topic):
            drone = of or self.drone
            if not (handed and hearing.is_spoken(topics.of_drone(drone, topic))):
                return bundles.hear_part(self, self, topic, drone, convert, take)
        kind, qos = STREAMS[topic]
        name = topic if of is None else topics.of_drone(of, topic)
        shared = shared or (topic.startswith("/") and topic != topics.MISSION)
        return hearing.hear(self, self, kind, name, qos, convert, take, shared, handed)

    def hear_all(self, topic: str, take: Callable[[str, bytes], object], *, deep: bool = False) -> None:
        """Take every message of a per-drone topic, unread, with the name of its drone.

        Args:
            topic: of `lgtc_core.topics`.
            take: takes drone and serialised message.
            deep: with a queue deep enough that a slow disk loses nothing for a second.
        """
        if self._in_bundles(topic):
            bundles.hear_bundles(self, self, topic, lambda said: [take(*one) for one in said])
            return
        stream = STREAMS[topic]
        qos = for_recorder(stream) if deep else stream.qos
        for name in self.team.names:
            self.create_subscription(stream.type, topics.of_drone(name, topic), partial(take, name), qos, raw=True)

    def _in_bundles(self, topic: str) -> bool:
        """Whether a topic of `lgtc_core.topics` travels in bundles."""
        return self.params.bundled and not topic.startswith("/")

    def guarded(self, what: str, action: Callable[[], object]) -> None:
        """Run `action`; an error that this project raises on purpose becomes a sentence in the log."""
        try:
            action()
        except LgtcError as error:
            self.tell(what, f"{error}; dropped")

    def tell(self, what: str, sentence: str) -> None:
        """Warn, at most every `TELL_EVERY_S` about the same thing."""
        now_s = self.now_s()
        if not 0.0 <= now_s - self._told_s.get(what, -TELL_EVERY_S) < TELL_EVERY_S:
            self._told_s[what] = now_s
            self.get_logger().warning(f"{what}: {sentence}")

    def every(self, period_s: float, action: Callable[[float], object]) -> Periodic:
        """Call `action` with the ROS time every `period_s` of ROS time, until `no_more`; see `Periodic`."""
        periodic = Periodic(period_s, lambda now_s: self.guarded("timer", lambda: action(now_s)))
        self._periodic[periodic] = (
            None if self.simulated_time else self.create_timer(period_s, lambda: periodic.look(self.now_s()))
        )
        return periodic

    def no_more(self, periodic: Periodic) -> None:
        """Call its action no more."""
        timer = self._periodic.pop(periodic)
        if timer is not None:
            self.destroy_timer(timer)

    def look(self, now_s: float) -> None:
        """Simulated time has moved: do what is due at this time."""
        for periodic in tuple(self._periodic):
            periodic.look(now_s)

    def serve(self, service: str, kind: Any, answer: Callable[[Any], Mapping[str, Any]]) -> None:
        """Offer a service.

        `answer` gives the response's fields; what it refuses by an error is answered with the sentence.
        """
        names = kind.Response.get_fields_and_field_types()
        flag = "accepted" if "accepted" in names else "success"

        def respond(request: Any, response: Any) -> Any:
            try:
                return to_ros(kind.Response, answer(request))
            except InputError as error:
                return to_ros(kind.Response, {flag: False, "message": str(error)})

        self.create_service(kind, service, respond)

    def _mission(self, report: wire.MissionReport) -> None:
        self.lifeline.heard(time.monotonic(), report.phase is MissionPhase.DONE)
        self.on_mission(report)
