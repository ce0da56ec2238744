"""The yardsticks of Section IV as minds: the central expert and the greedy floor fly what a learned policy flies.

All minds of a team share one `Council`, which makes them central: they have to live in one process. A member that is
silent for `MESSAGE_LIFETIME_TICKS`, or is reset, takes no part any more, and its place is given to another at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.view import DemandView
from lgtc_core.mind import observation as layout
from lgtc_core.mind.card import Policy
from lgtc_core.mind.policy import Decision, Features, Heard, Mind, Minds, PolicyModel, check_finite
from lgtc_core.world.arena import Arena

if TYPE_CHECKING:
    from lgtc_core.mind.council import Council

Array = npt.NDArray[np.float64]


class CentralMind:
    """One drone's part in a `Council`, with the calls of `Mind`."""

    def __init__(self, council: Council, drone: str, max_speed_mps: float) -> None:
        self.council, self.drone, self.max_speed_mps = council, drone, max_speed_mps
        self._sequence = 0

    @property
    def arena(self) -> Arena:
        """Where the team flies."""
        return self.council.arena

    def reset(self) -> None:
        """Take no part any more: before a flight, and when the policy is switched off."""
        self.council.leave(self.drone)

    def hear(self, features: Features) -> Heard:
        """What neighbours send is nothing new: the council knows it."""
        return Heard.ACCEPTED

    def decide(self, now_s: float, position_m: Array, supply: Array, demand: DemandView) -> Decision:
        """As `Mind.decide`; the assignment is 1 for the consumer of eq. (2), there is no state and no message.

        Raises:
            InputError: own position or supply not finite; nothing was changed.
        """
        check_finite(self.drone, position_m, supply)
        slot, action = self.council.decide(now_s, self.drone, position_m, supply, demand)
        self._sequence += 1
        assignment = np.array([float(consumer.slot == slot) for consumer in demand.consumers], np.float32)
        nothing = np.zeros(0, np.float32)
        return Decision(
            velocity_mps=np.asarray(layout.action_to_velocity(action, self.max_speed_mps)),
            action=action.astype(np.float32),
            features=Features(self.drone, self._sequence, now_s, np.array(position_m, float), "", nothing),
            consumers=tuple(consumer.name for consumer in demand.consumers),
            assignment=assignment,
            chosen=int(assignment.argmax()) if assignment.any() else -1,
            state=nothing,
            neighbours_heard=self.council.size - 1,
            oldest_message_age_s=float("nan"),
            step_time_s=0.0,
        )


def minds(
    policy: Policy,
    model: PolicyModel,
    arena: Arena,
    team: Mapping[str, float] | None = None,
    compiled: bool = False,
) -> Callable[[str, float], Mind | CentralMind]:
    """How every drone of a team gets its mind: (name, speed of a full action [m/s]) -> mind.

    The yardsticks decide at the model's tick, so that they fly under its conditions.

    Args:
        policy: who decides.
        model: the exported network.
        arena: where the team flies.
        team: drones with their speeds, all of which decide in this process: then they share a memory, see `Minds`.
        compiled: a team's minds may load compiled code, see `TeamMinds`.
    """
    if policy == "model":
        shared = None if team is None else _shared(compiled)(model, arena, team, tuple(team))
        return lambda drone, max_speed_mps: Mind(model, arena, drone, max_speed_mps, shared)
    from lgtc_core.mind.council import Council  # loads compiled code

    council = Council(policy, arena, model.card.tick_s)
    return lambda drone, max_speed_mps: CentralMind(council, drone, max_speed_mps)


def _shared(compiled: bool) -> type[Minds]:
    """Which minds share a memory."""
    if not compiled:
        return Minds
    from lgtc_core.mind.team_minds import TeamMinds  # loads compiled code

    return TeamMinds
