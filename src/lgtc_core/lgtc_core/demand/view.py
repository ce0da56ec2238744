"""The demand as everybody sees it: consumers, what they ask for, what is still missing, who serves (Section
II).

A view is a value: made by the `DemandBook`, sent as lgtc_interfaces/Demand, read by policies, monitors,
mission and report. A consumer keeps its slot while it exists. The row of a consumer in every array for the
network is its slot, so that a choice that a neighbour has announced stays the same place when another
consumer goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.world import rules
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]

NEGLIGIBLE_AMOUNT = 1e-6
"""Amounts below this are rounding: services carry amounts as float32, whose steps near 1 are 6e-8."""


@dataclass(frozen=True, eq=False)
class ConsumerView:
    """One consumer at one time. Arrays are per resource kind, in the order of the view's kinds."""

    name: str
    slot: int
    """Stable index of this consumer while it exists."""
    position_m: Array  # (2,)
    """Centre of the interaction disc, world frame [m]."""
    radius_m: float
    """Radius of the interaction disc [m]."""
    demanded: Array  # (r,)
    """Asked for in total."""
    remaining: Array  # (r,)
    """Still missing: instantaneous, what was never delivered; 0-depletion, what no carrier that stays covers
    now."""
    depletion: npt.NDArray[np.int64]  # (r,)
    """Per kind, `rules.INSTANTANEOUS` or `rules.ZERO_DEPLETION`."""
    servers: tuple[str, ...]
    """Drones inside that serve a 0-depletion demand now, by name."""
    leaving: tuple[str, ...] = ()
    """Those of them that have announced to leave: they serve on, `remaining` does not count on them."""

    @property
    def met(self) -> bool:
        """True when nothing is missing."""
        return bool((self.remaining <= NEGLIGIBLE_AMOUNT).all())


class ConsumerArrays(NamedTuple):
    """Consumers as the network sees them: M rows, row = slot, free slots masked; kinds padded with zeros to
    r columns.
    """

    d: Array  # (M, 2) centres, normalised
    demanded: Array  # (M, r)
    remaining: Array  # (M, r)
    kind: npt.NDArray[np.int64]  # (M, r) depletion kind tau
    mask: Array  # (M,) 1 where a consumer exists


@dataclass(frozen=True, eq=False)
class DemandView:
    """All that is asked for at one time."""

    revision: int
    """Rises with every change of anything below."""
    kinds: tuple[str, ...]
    """Names of the r resource kinds, the order of every per-kind array."""
    consumers: tuple[ConsumerView, ...]
    """By slot."""

    def arrays(self, arena: Arena, kinds: int) -> ConsumerArrays:
        """Consumers by slot for a network of `kinds` resource kinds; at least one row, masked if there is
        no consumer.

        Raises:
            ValueError: the view has more kinds than `kinds`; checked before, by `check_fits`.
        """
        r = len(self.kinds)
        if r > kinds:
            raise ValueError(f"a view of {r} resource kinds does not fit into {kinds}")
        m = max((consumer.slot + 1 for consumer in self.consumers), default=1)
        d, mask = np.zeros((m, 2)), np.zeros(m)
        demanded, remaining = np.zeros((m, kinds)), np.zeros((m, kinds))
        kind = np.zeros((m, kinds), np.int64)
        for consumer in self.consumers:
            row = consumer.slot
            d[row] = arena.to_normalised(consumer.position_m)
            demanded[row, :r], remaining[row, :r] = consumer.demanded, consumer.remaining
            kind[row, :r] = consumer.depletion
            mask[row] = 1.0
        return ConsumerArrays(d, demanded, remaining, kind, mask)

    @cached_property
    def discs_m(self) -> Array:
        """Centres and radii of all discs (M, 3), world frame [m]."""
        discs = [(*consumer.position_m.tolist(), consumer.radius_m) for consumer in self.consumers]
        return np.array(discs, float).reshape(-1, 3)

    def consumer(self, name: str) -> ConsumerView | None:
        """The consumer of that name, or None."""
        return self._by_name.get(name)

    @cached_property
    def met(self) -> bool:
        """True when no consumer misses anything."""
        return all(consumer.met for consumer in self.consumers)

    @cached_property
    def share_met(self) -> float:
        """Share of all amounts asked for that is met now, in [0, 1]; 1 when nothing is asked for."""
        if not self.consumers:
            return 1.0
        demanded = np.array([consumer.demanded for consumer in self.consumers])
        remaining = np.array([consumer.remaining for consumer in self.consumers])
        return float(rules.satisfaction(demanded, remaining))

    @cached_property
    def _by_name(self) -> dict[str, ConsumerView]:
        return {consumer.name: consumer for consumer in self.consumers}
