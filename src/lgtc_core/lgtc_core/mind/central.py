"""The yardsticks of Section IV as minds: the central expert and the greedy floor fly what a learned policy flies.

    expert    a = eq. (2) with all positions, supplies and demands; every drone to its slot at a_i by the controller of
              lgtc_core.world.expert
    greedy    a_i = the nearest consumer that still asks for what the drone carries; the same controller

All minds of a team share one `Council`, which makes them central: they have to live in one process. A member that is
silent for `MESSAGE_LIFETIME_TICKS`, or is reset, takes no part any more, and its place is given to another at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.view import DemandView
from lgtc_core.mind import observation as layout
from lgtc_core.mind.policy import Decision, Features, Heard, Mind, Minds, PolicyModel, check_finite
from lgtc_core.world import rules
from lgtc_core.world.arena import Arena
from lgtc_core.world.assignment import assign_batch
from lgtc_core.world.expert import expert_action, greedy_target, slot_goals

Array = npt.NDArray[np.float64]
Policy = Literal["model", "expert", "greedy"]
"""Who decides: the exported network, or one of the yardsticks."""

RESOLVE_TICKS = 20
"""Eq. (2) is solved again so often, from what was assigned before; and at once when a member or a consumer comes or
goes."""
_STARTS = 32


class _Member(NamedTuple):
    """What the council knows of one drone."""

    heard_s: float
    p: Array  # (2,) normalised
    supply: Array  # (r,)


class Council:
    """Full information about one team, and what follows from it for every member.

    Args:
        policy: expert or greedy.
        arena: maps metres to the coordinates of eq. (2).
        tick_s: time between two decisions [s].
    """

    def __init__(self, policy: Literal["expert", "greedy"], arena: Arena, tick_s: float) -> None:
        self.policy, self.arena, self.tick_s = policy, arena, tick_s
        self._members: dict[str, _Member] = {}
        self._decided_s = -np.inf
        self._solved_s = -np.inf
        self._stakes: object = None
        self._orders: dict[str, tuple[int, Array]] = {}

    def leave(self, drone: str) -> None:
        """Take a member out."""
        self._members.pop(drone, None)

    def decide(
        self, now_s: float, drone: str, position_m: Array, supply: Array, demand: DemandView
    ) -> tuple[int, Array]:
        """(slot of the drone's consumer, -1 without any; its action (2,), norm at most 1) at `now_s`.

        The first member that asks in a tick decides for all, on what each of them last said.
        """
        fresh_s = layout.MESSAGE_LIFETIME_TICKS * self.tick_s
        self._members[drone] = _Member(now_s, self.arena.to_normalised(position_m), np.array(supply, float))
        self._members = {name: one for name, one in self._members.items() if 0 <= now_s - one.heard_s <= fresh_s}
        if not 0 <= now_s - self._decided_s < 0.5 * self.tick_s or drone not in self._orders:
            self._decided_s = now_s
            self._decide_all(now_s, demand)
        return self._orders[drone]

    @property
    def size(self) -> int:
        """Members that take part."""
        return len(self._members)

    def _decide_all(self, now_s: float, demand: DemandView) -> None:
        names = sorted(self._members)
        p = np.stack([self._members[name].p for name in names])
        supply = np.stack([self._members[name].supply for name in names])
        alive = np.ones(len(names), bool)
        if not demand.consumers:
            action = expert_action(p, p, alive)
            self._orders = {name: (-1, action[i]) for i, name in enumerate(names)}
            return
        consumers = demand.arrays(self.arena, len(demand.kinds))
        wanted = rules.outstanding(consumers.demanded, consumers.remaining, consumers.kind)
        exists = consumers.mask > 0
        if self.policy == "greedy":
            target = np.asarray(greedy_target(p, supply, consumers.d, wanted, exists), np.int64)
        else:
            target = self._assigned(now_s, names, p, supply, consumers.d, wanted, exists)
        action = expert_action(p, slot_goals(p[None], consumers.d[None], target[None])[0], alive)
        self._orders = {name: (int(target[i]), action[i]) for i, name in enumerate(names)}

    def _assigned(
        self, now_s: float, names: list[str], p: Array, supply: Array, d: Array, wanted: Array,
        exists: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.int64]:  # fmt: skip
        """Eq. (2), solved when somebody came or went or it was not for a while; else as before."""
        before = np.array([self._orders.get(name, (-2,))[0] for name in names], np.int64)
        stakes = (names, d[exists].tolist(), np.flatnonzero(exists).tolist())
        if stakes == self._stakes and now_s - self._solved_s < RESOLVE_TICKS * self.tick_s:
            return before
        self._stakes, self._solved_s = stakes, now_s
        before[(before < 0) | (before >= len(d))] = -2
        alive = np.ones((1, len(names)), bool)
        batch = (p[None], supply[None], d[None], wanted[None], alive, exists[None], before[None])
        return np.asarray(assign_batch(*batch, _STARTS)[0], np.int64)


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
    policy: Policy, model: PolicyModel, arena: Arena, team: Mapping[str, float] | None = None
) -> Callable[[str, float], Mind | CentralMind]:
    """How every drone of a team gets its mind: (name, speed of a full action [m/s]) -> mind.

    The yardsticks decide at the model's tick, so that they fly under its conditions.

    Args:
        policy: who decides.
        model: the exported network.
        arena: where the team flies.
        team: drones with their speeds, all of which decide in this process: then they share a memory, see `Minds`.
    """
    if policy == "model":
        shared = None if team is None else Minds(model, arena, team, tuple(team))
        return lambda drone, max_speed_mps: Mind(model, arena, drone, max_speed_mps, shared)
    council = Council(policy, arena, model.card.tick_s)
    return lambda drone, max_speed_mps: CentralMind(council, drone, max_speed_mps)
