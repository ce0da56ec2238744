"""When a drone's mind decides, and on what: pose, supply, demand and neighbours in, a decision per tick out.

It decides while

    the mission is ACTIVE  and  the vehicle is HOLDING or FLYING  and  the battery's tier is OK or WARN
    and  the own pose is fresh  and  supply and demand have been heard

When one of the first three ends, its recurrent state and inbox are forgotten; a pose that is late only skips ticks.

At the tier HAND_OVER it stays where it is and is silent to its neighbours: for them, as in training, a
drone that is silent serves no more, so that another takes its place while it is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.view import DemandView
from lgtc_core.flight.phases import MissionPhase, Tier, VehiclePhase
from lgtc_core.loop.neighbourhood import Neighbourhood, NeighbourhoodParams, Sighting
from lgtc_core.mind.central import CentralMind
from lgtc_core.mind.policy import Decision, Features, Heard, Mind
from lgtc_core.schema import Bounds
from lgtc_core.wire import MissionReport, Pose, Resources, VehicleReport

Array = npt.NDArray[np.float64]


_ACTIVE, _HAND_OVER = MissionPhase.ACTIVE, Tier.HAND_OVER

STAY_GAIN_PER_S, STAY_SPEED_MPS = 1.0, 0.3
"""How fast a drone that hands over flies back to its place: per metre of distance, and at most."""


@dataclass(frozen=True, kw_only=True)
class DeciderParams:
    """How a policy node treats what it hears."""

    pose_lifetime_s: Annotated[
        float, Bounds(0.05, 10.0, "s"), "Age of the own pose above which no decision is made"
    ] = 0.2


class _Inputs(NamedTuple):
    """What a decision is made on."""

    position_m: Array  # (2,)
    supply: Array  # (r,)
    demand: DemandView


class Decider:
    """Policy of one drone, without ROS.

    Args:
        mind: the recurrent policy, or a yardstick.
        neighbourhood: whose features to listen to.
    """

    def __init__(
        self,
        mind: Mind | CentralMind,
        params: DeciderParams | None = None,
        neighbourhood: NeighbourhoodParams | None = None,
    ) -> None:
        self.mind = mind
        self.params = params or DeciderParams()
        self.neighbourhood = Neighbourhood(mind.drone, mind.arena.radius_m, neighbourhood)
        self._pose: Pose | None = None
        self._resources: Resources | None = None
        self._demand: DemandView | None = None
        self._mission: MissionPhase | None = None
        self._vehicle: VehiclePhase | None = None
        self._switched_on = False
        self._stay_m: Array | None = None
        """Where it began to hand over (2,) [m]; None: it does not."""

    def pose(self, pose: Pose) -> None:
        """Own pose."""
        self._pose = pose

    def resources(self, resources: Resources) -> None:
        """What the drone carries, and its battery's tier."""
        self._resources = resources

    def demand(self, view: DemandView) -> None:
        """What is asked for."""
        self._demand = view

    def mission(self, report: MissionReport) -> None:
        """What the team is to do."""
        self._mission = report.phase

    def vehicle(self, report: VehicleReport) -> None:
        """Where the vehicle is between the ground and the ground."""
        self._vehicle = report.phase

    def features(self, features: Features) -> Heard:
        """A neighbour's message.

        Raises:
            ContractError, InputError: see `Mind.hear`.
        """
        return self.mind.hear(features)

    def presence(self, now_s: float) -> Sighting | None:
        """The own "I am here"; None while the position is not known."""
        if self._pose is None:
            return None
        return Sighting(self.mind.drone, now_s, self._pose.position_m)

    def near(self, now_s: float) -> frozenset[str]:
        """Names of the team-mates whose features to listen to from now on.

        Raises:
            InputError: own position not finite.
        """
        if self._pose is not None:
            self.neighbourhood.moved(self._pose.position_m)
        return self.neighbourhood.update(now_s)

    @property
    def stay_velocity_mps(self) -> Array | None:
        """Nominal velocity (3,), frame "world" [m/s], of a drone that hands over: back to where it began to, as those
        who come may push it; None: it did not hand over at the last tick.
        """
        if self._stay_m is None or self._pose is None:
            return None
        velocity_mps = np.zeros(3)
        velocity_mps[:2] = STAY_GAIN_PER_S * (self._stay_m - self._pose.position_m[:2])
        return velocity_mps * min(1.0, STAY_SPEED_MPS / max(STAY_SPEED_MPS, float(np.hypot(*velocity_mps[:2]))))

    @property
    def pose_stamp_s(self) -> float:
        """Stamp of the newest pose, which the last decision used [s]."""
        assert self._pose is not None, "no decision without a pose"
        return self._pose.stamp_s

    def tick(self, now_s: float) -> Decision | None:
        """The decision at `now_s`, or None while there is nothing to decide.

        Raises:
            ContractError, InputError: see `Mind.decide`.
        """
        made = tick_together([self], now_s).decisions
        return made[0] if made else None

    def _inputs(self, now_s: float) -> _Inputs | None:
        """What there is to decide on, if anything; what a mind that is switched off knows is forgotten."""
        resources = self._resources
        vehicle = self._vehicle
        on_mission = self._mission is _ACTIVE and vehicle is not None and vehicle.on_mission
        tier = Tier.CRITICAL if resources is None else resources.tier
        if not (on_mission and tier is _HAND_OVER):
            self._stay_m = None
        elif self._stay_m is None and self._pose is not None:
            self._stay_m = np.array(self._pose.position_m[:2])
        on = on_mission and tier < _HAND_OVER
        if self._switched_on and not on:
            self.mind.reset()
        self._switched_on = on
        if not on or resources is None or self._demand is None or self._pose is None:
            return None
        if now_s - self._pose.stamp_s > self.params.pose_lifetime_s:
            return None
        return _Inputs(self._pose.position_m[:2], resources.supply, self._demand)


class Ticked(NamedTuple):
    """What k of several deciders decided."""

    which: list[int]
    """Who they are, in ascending order."""
    decisions: Sequence[Decision]
    velocity_mps: Array  # (k, 2)
    """Nominal velocities, frame "world" [m/s]."""
    said: Sequence[Features]
    """To the neighbours."""


def tick_together(deciders: Sequence[Decider], now_s: float) -> Ticked:
    """The decisions of several drones at `now_s`: those whose minds share a memory and who see one demand, together.

    Raises:
        ContractError, InputError: see `Minds.decide`.
    """
    together: dict[tuple[int, int], list[tuple[int, Mind, _Inputs]]] = {}
    made: dict[int, Decision] = {}
    for at, decider in enumerate(deciders):
        mind, given = decider.mind, decider._inputs(now_s)
        if given is not None and isinstance(mind, Mind):
            together.setdefault((id(mind.minds), id(given.demand)), []).append((at, mind, given))
        elif given is not None:
            made[at] = mind.decide(now_s, *given)
    for group in together.values():
        places, members, givens = zip(*group, strict=True)
        positions_m, supplies, demands = zip(*givens, strict=True)
        indices = [mind.index for mind in members]
        decided = members[0].minds.decide(indices, now_s, np.array(positions_m), np.array(supplies), demands[0])
        if len(together) == 1 and not made:
            return Ticked(list(places), decided, decided.velocity_mps, decided.features)
        made.update(zip(places, decided, strict=True))
    which = sorted(made)
    decisions = [made[at] for at in which]
    velocities_mps = np.array([decision.velocity_mps for decision in decisions]).reshape(-1, 2)
    return Ticked(which, decisions, velocities_mps, [decision.features for decision in decisions])
