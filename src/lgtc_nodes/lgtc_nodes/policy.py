"""The policy of one drone as a ROS node: hears, decides at the model's tick, says where to fly and what it thinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Annotated, Any

import numpy as np

from lgtc_core import topics, wire
from lgtc_core.errors import LgtcError
from lgtc_core.fleet.team import check_model
from lgtc_core.loop.decider import Decider, DeciderParams, tick_together
from lgtc_core.loop.neighbourhood import NeighbourhoodParams
from lgtc_core.mind.card import Policy
from lgtc_core.mind.central import CentralMind, minds
from lgtc_core.mind.policy import Decision, Features, Mind, PolicyModel
from lgtc_core.schema import Bounds
from lgtc_core.world.arena import Arena
from lgtc_nodes.faulty import FaultyEars
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.near import NearSubscriptions
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.poses import PoseParams, hear_pose


@dataclass(frozen=True, kw_only=True)
class PolicyParams(PoseParams):
    """Parameters of the policy node."""

    model_dir: Annotated[str, "Folder of the exported model"]
    policy: Annotated[
        Policy, "Who decides: the model, or a yardstick at its tick, which needs all minds of the team in this process"
    ] = "model"
    presence_period_s: Annotated[float, Bounds(0.05, 10.0, "s"), "Time between two roll calls on /presence"] = 0.5
    decider: DeciderParams = field(default_factory=DeciderParams)
    neighbourhood: NeighbourhoodParams = field(default_factory=NeighbourhoodParams)


class PolicyNode(SwarmNode[PolicyParams]):
    """Decides for one drone, at the tick of its model.

    Subscribes:
        pose (PoseStamped), or out of /poses (Poses): own, from the vehicle.
        resources (ResourceState): what it carries, and its battery's tier.
        vehicle (VehicleStatus): it decides only in the air.
        /demand (Demand): what is asked for.
        /presence (Presence): who is near.
        /<other>/features (AgentFeatures): of near team-mates only.
        /mission (MissionState): it decides only while ACTIVE.
        /faults (Faults): what becomes of messages from others, in simulation.

    Publishes:
        velocity_nominal (TwistStamped): where to fly; stamped with the pose that was used.
        features (AgentFeatures): to the neighbours.
        policy_state (PolicyState): what was decided and why, for the recorder.
        /presence (Presence): "I am here"; also the sign that this node is up.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("policy", drone, PolicyParams, lifeline)
        model = _model(self.params.model_dir)
        check_model(self.team, model.card, model.card.tick_s)
        speeds_mps = tuple((other.name, other.max_speed_mps) for other in self.team.drones)
        make = _minds(self.params.policy, self.params.model_dir, self.team.arena, speeds_mps)
        self.decider = Decider(make(drone, self.spec.max_speed_mps), self.params.decider, self.params.neighbourhood)
        self._say_velocity = self.speak(topics.VELOCITY_NOMINAL)
        self._say_features = self.speak(topics.FEATURES)
        self._say_state = self.speak(topics.POLICY_STATE)
        self._say_presence = self.speak(topics.PRESENCE)
        hear_pose(self, self.params.poses_together, self.decider.pose)
        self.hear(topics.RESOURCES, wire.resources_from_wire, self.decider.resources)
        self.hear(topics.VEHICLE, wire.vehicle_from_wire, self.decider.vehicle)
        self.hear(topics.DEMAND, wire.demand_from_wire, self.decider.demand)
        ears = FaultyEars(self)
        sighted = ears.through("roll call", lambda it: it.drone, self.decider.neighbourhood.sighted)
        self.hear(topics.PRESENCE, wire.presence_from_wire, sighted)
        features = ears.through("features", lambda it: it.drone, self.decider.features)
        self._near = NearSubscriptions(self, topics.FEATURES, _features_of, features)
        _together(model.card.tick_s).join(self)
        self.every(self.params.presence_period_s, self._roll_call)

    def on_mission(self, report: wire.MissionReport) -> None:
        """What the team is to do."""
        self.decider.mission(report)

    def say(self, decision: Decision | None) -> None:
        """Say what was decided at this tick; None: there was nothing to decide."""
        if decision is None:
            stay_mps = self.decider.stay_velocity_mps
            if stay_mps is not None:
                self._say_velocity(wire.velocity_to_wire(wire.Velocity(self.decider.pose_stamp_s, stay_mps)))
            return
        pose_stamp_s = self.decider.pose_stamp_s
        self._say_velocity(wire.velocity_to_wire(wire.Velocity(pose_stamp_s, np.append(decision.velocity_mps, 0.0))))
        self._say_features(wire.features_to_wire(decision.features))
        self._say_state(wire.decision_to_wire(decision, pose_stamp_s))

    def tick_alone(self, now_s: float) -> None:
        """Decide without the others of the process, and say it."""
        self.say(self.decider.tick(now_s))

    def _roll_call(self, now_s: float) -> None:
        self._near.follow(self.decider.near(now_s))
        presence = self.decider.presence(now_s)
        if presence is not None:
            self._say_presence(wire.presence_to_wire(presence))


class _Together:
    """The policies of one process: they tick at one moment, so that one run of the network decides for all."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._nodes: list[PolicyNode] = []

    def join(self, node: PolicyNode) -> None:
        """Let a node tick with the others; the first one has the timer."""
        if not self._nodes:
            node.every(self._tick_s, self._tick)
        self._nodes.append(node)

    def _tick(self, now_s: float) -> None:
        try:
            ticked = tick_together([node.decider for node in self._nodes], now_s)
        except LgtcError:  # of one of them, which must not stop the others
            for node in self._nodes:
                node.guarded("tick", partial(node.tick_alone, now_s))
            return
        decided = dict(zip(ticked.which, ticked.decisions, strict=True))
        for at, node in enumerate(self._nodes):
            node.say(decided.get(at))


@cache
def _together(tick_s: float) -> _Together:
    """Those of this process that tick so often."""
    return _Together(tick_s)


@cache
def _features_of(name: str) -> Callable[[Any], Features]:
    """Converter of another drone's AgentFeatures; the same one for all nodes of a process."""
    return partial(wire.features_from_wire, drone=name)


@lru_cache(maxsize=4)
def _model(directory: str) -> PolicyModel:
    """One network for all minds of a process."""
    return PolicyModel(directory)


@lru_cache(maxsize=4)
def _minds(
    policy: Policy, directory: str, arena: Arena, speeds_mps: tuple[tuple[str, float], ...]
) -> Callable[[str, float], Mind | CentralMind]:
    """One memory, or one council, for all minds of a process."""
    return minds(policy, _model(directory), arena, dict(speeds_mps))


create = PolicyNode
