"""Full information about one team: what the central expert, or the greedy floor, makes of it for every member.

    expert    a = eq. (2) with all positions, supplies and demands; every drone to its slot at a_i by the controller of
              lgtc_core.world.expert
    greedy    a_i = the nearest consumer that still asks for what the drone carries; the same controller

Apart from `lgtc_core.mind.central`, as it needs compiled code that a mind with a learned policy does without.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.mind import observation as layout
from lgtc_core.world import rules
from lgtc_core.world.arena import Arena
from lgtc_core.world.assignment import assign_batch
from lgtc_core.world.expert import expert_action, greedy_target, slot_goals

Array = npt.NDArray[np.float64]

RESOLVE_TICKS = 20
"""Eq. (2) is solved again so often, from what was assigned before; and at once when a member or a consumer comes or
goes."""
_STARTS = 16
GAIN, MARGIN = 0.05, 0.02
"""What was assigned before stands unless eq. (2) is lower by this amount, or this share, see `assign_batch`."""


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
        self._load()

    def _load(self) -> None:
        """Have the compiled code loaded before anything flies: it takes seconds on a busy machine."""
        one = np.ones(1)
        consumer = ConsumerView("", 0, np.zeros(2), 1.0, one, one, np.array([rules.ZERO_DEPLETION]), ())
        self.decide(0.0, "", np.zeros(2), one, DemandView(0, ("",), (consumer,)))
        self.leave("")
        self._orders, self._stakes = {}, None
        self._decided_s = self._solved_s = -np.inf

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
        return np.asarray(assign_batch(*batch, _STARTS, gain=GAIN, margin=MARGIN)[0], np.int64)
