"""A consumer as it is asked for, and what may be said against it: one check for scenario files and for
requests in flight.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from lgtc_core.fleet.names import EXPECTED, is_name
from lgtc_core.schema import Bounds
from lgtc_core.world.arena import Arena
from lgtc_core.world.rules import INSTANTANEOUS, ZERO_DEPLETION

AMOUNT = Bounds(0.0, 1e6, "units")
"""Amounts of a resource, in the fleet's unit of that kind."""
DISC_RADIUS = Bounds(0.01, 1000.0, "m")


@dataclass(frozen=True, kw_only=True)
class ConsumerSpec:
    """One place m that asks for resources (Section II). Per-kind tuples are in the order of the team's
    kinds.
    """

    name: Annotated[str, "Name of the consumer"]
    position_m: Annotated[tuple[float, float], Bounds(-1e6, 1e6, "m"), "Centre d_m of the disc, world frame"]
    radius_m: Annotated[float, DISC_RADIUS, "Radius of the interaction disc R_m"]
    demanded: Annotated[tuple[float, ...], AMOUNT, "Amount asked for per kind (r,)"]
    depletion: Annotated[tuple[int, ...], Bounds(INSTANTANEOUS, ZERO_DEPLETION), "Depletion per kind (r,)"]


class Objection(NamedTuple):
    """Why a consumer cannot be: which part of it, what it says, what it may say."""

    key: str
    got: str
    expected: str

    def __str__(self) -> str:
        return f"{self.key}: got {self.got}; expected {self.expected}"


def objection(
    consumer: ConsumerSpec,
    others: Iterable[ConsumerSpec],
    kinds: tuple[str, ...],
    arena: Arena | None = None,
    presence_only: Collection[str] = (),
) -> Objection | None:
    """The first thing wrong with `consumer` among `others`, or None.

    Args:
        consumer: the candidate; may come from the network, so nothing about it is taken for granted.
        others: consumers that exist at the same time; one of the same name is not compared.
        kinds: names of the resource kinds.
        arena: its centre must lie inside; None: anywhere.
        presence_only: kinds that cannot be handed over (batteries), so cannot be instantaneous.
    """
    r = len(kinds)
    if not is_name(consumer.name):
        return Objection("name", repr(consumer.name), EXPECTED)
    if len(consumer.position_m) != 2 or not all(map(math.isfinite, consumer.position_m)):
        return Objection("position_m", str(tuple(consumer.position_m)), "two finite numbers [m]")
    if not (math.isfinite(consumer.radius_m) and consumer.radius_m in DISC_RADIUS):
        return Objection("radius_m", f"{consumer.radius_m:g}", str(DISC_RADIUS))
    if arena is not None and not bool(arena.contains(consumer.position_m)):
        x, y = arena.half_extent_m
        return Objection(
            "position_m", _point(consumer), f"a place in the arena, within {x:g} and {y:g} m of its centre"
        )
    if len(consumer.demanded) != r or len(consumer.depletion) != r:
        got = f"{len(consumer.demanded)} amounts and {len(consumer.depletion)} depletion kinds"
        return Objection("demand", got, f"{r} of each, for {', '.join(kinds)}")
    for kind, amount, depletion in zip(kinds, consumer.demanded, consumer.depletion, strict=True):
        if amount not in AMOUNT:
            return Objection(f"demand.{kind}.amount", f"{amount:g}", str(AMOUNT))
        if depletion not in (INSTANTANEOUS, ZERO_DEPLETION):
            return Objection(f"demand.{kind}.depletion", str(depletion), f"{INSTANTANEOUS} or {ZERO_DEPLETION}")
        if kind in presence_only and amount > 0 and depletion != ZERO_DEPLETION:
            return Objection(
                f"demand.{kind}.depletion",
                "instantaneous",
                "zero_depletion, as a drone's own battery cannot be handed over",
            )
    for other in others:
        gap_m = math.dist(consumer.position_m, other.position_m) - consumer.radius_m - other.radius_m
        if other.name != consumer.name and gap_m < 0:
            return Objection(
                "position_m",
                f"{_point(consumer)}, whose disc overlaps that of {other.name} by {-gap_m:.3g} m",
                "discs apart, as nothing may be released in two places at once",
            )
    return None


def _point(consumer: ConsumerSpec) -> str:
    return "({:g}, {:g})".format(*consumer.position_m)
