r"""The rules of the world: release, the two depletion kinds, the reward of eq. (3), satisfaction. Written once.

    inside_im      = |p_i - d_m| <= R_m                                        release only inside the disc
    (Section II)
    delivered_imk  = share of min(sum_i offer_imk, missing_mk)                 instantaneous kinds; gone from
    both sides
    covered_mk     = min(sum_i inside_im supply_ik, demanded_mk)               0-depletion kinds; nothing is used up
    rw_i           = rw_d + rw_s + rw_rc + rw_im + sum_j rw_ij + rw_ws + rw_g  eq. (3)

Arrays are NumPy or torch alike, batched over leading dimensions "...": N agents, M consumers, r resource kinds.
Positions and distances are normalised (arena frame, 1 = larger half extent). Amounts are in the fleet's unit
of a kind.
Training, simulator, demand server and report all call these functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from lgtc_core.schema import Bounds
from lgtc_core.world.graph import others, squared_distances
from lgtc_core.world.namespace import Array, indices, namespace

INSTANTANEOUS = 0
"""Depletion kind: min(supply, demand) moves to the consumer on entering and is gone from both."""
ZERO_DEPLETION = 1
"""Depletion kind: the supply counts as long as its carrier stays inside."""
ROUNDING_STEPS = 16
"""What rounding leaves of a demand, so many steps of its number format, is no demand."""


def inside(p: Array, d: Array, radius: Array | float, alive: Array | None = None) -> Array:
    """Which agent is in which interaction area.

    Args:
        p: (..., N, 2) agents.
        d: (..., M, 2) centres of the discs.
        radius: R_m, scalar or (..., M).
        alive: (..., N) bool; None: all.

    Returns:
        (..., N, M) bool.
    """
    reach = radius * radius
    if getattr(reach, "ndim", 0):
        reach = reach[..., None, :]  # type: ignore[index]
    result = squared_distances(p, d) <= reach
    return result if alive is None else result & alive[..., :, None]


def deliver(inside_: Array, supply: Array, missing: Array, kind: Array) -> Array:
    """What every agent hands over now, of the instantaneous kinds.

    An agent offers all that it carries; inside several discs it splits the offer evenly over those that miss
    the kind. A
    consumer that is offered more than it misses takes the same fraction of every offer. So neither a supply
    nor a demand
    can be exceeded, and nobody's place in an array matters.

    Args:
        inside_: (..., N, M) bool.
        supply: (..., N, r) carried.
        missing: (..., M, r) never delivered yet.
        kind: (..., M, r) INSTANTANEOUS or ZERO_DEPLETION.

    Returns:
        (..., N, M, r) delivered, >= 0.
    """
    xp = namespace(supply)
    wanted = (kind == INSTANTANEOUS) & (missing > 0)
    place = 1.0 * (inside_[..., None] & wanted[..., None, :, :])
    discs = place.sum(-2)
    offer = place * (supply / xp.where(discs > 0, discs, 1.0))[..., None, :]
    offered = offer.sum(-3)
    fraction = xp.clip(missing / xp.where(offered > 0, offered, 1.0), 0.0, 1.0)
    return offer * fraction[..., None, :, :]


def cover(inside_: Array, supply: Array, demanded: Array, kind: Array) -> Array:
    """What the carriers inside cover of the 0-depletion demands.

    Args:
        inside_: (..., N, M) bool.
        supply: (..., N, r) carried.
        demanded: (..., M, r) asked for in total.
        kind: (..., M, r).

    Returns:
        (..., M, r): min(sum of the supplies inside, demanded) for 0-depletion kinds, 0 for instantaneous ones.
    """
    xp = namespace(supply)
    return xp.where(kind == ZERO_DEPLETION, xp.minimum(present(inside_, supply), demanded), 0.0)


def present(inside_: Array, supply: Array) -> Array:
    """(..., M, r) sum of the supplies (..., N, r) that are inside (..., N, M)."""
    xp = namespace(supply)
    return xp.swapaxes(inside_ * xp.ones_like(supply[..., :1]), -1, -2) @ supply


def remaining(demanded: Array, delivered_total: Array, covered: Array, kind: Array) -> Array:
    """What is still missing now, per consumer and kind (..., M, r), >= 0.

    Instantaneous: what was never delivered. 0-depletion: what no carrier inside covers.
    """
    xp = namespace(demanded)
    left = demanded - xp.where(kind == ZERO_DEPLETION, covered, delivered_total)
    return xp.where(left > ROUNDING_STEPS * xp.finfo((1.0 * left).dtype).eps * demanded, left, 0.0)


def outstanding(demanded: Array, remaining_: Array, kind: Array) -> Array:
    """What still has to be planned for (..., M, r).

    0-depletion kinds bind their carriers for ever, so all of the demand;
    instantaneous kinds only what was not delivered yet.
    """
    return namespace(demanded).where(kind == ZERO_DEPLETION, demanded, remaining_)


def accept(offered: Array, remaining_: Array) -> Array:
    """What one delivery request may hand over: min(offered, remaining), never below 0."""
    xp = namespace(offered)
    return xp.clip(xp.minimum(offered, remaining_), 0.0, None)


def discharge(supply: Array, rate_per_s: Array | float, dt_s: float) -> Array:
    """Supply (..., N, r) after `dt_s` of discharging by itself (Section V), not below 0; rate scalar or (..., N, r)."""
    return namespace(supply).clip(supply - rate_per_s * dt_s, 0.0, None)


def move(
    p: Array, velocity: Array, action: Array, speed_per_s: Array | float, lag_s: Array | float, dt_s: float
) -> tuple[Array, Array]:
    """The paper's single integrator, with a first-order lag between the commanded and the flown velocity.

        v <- v + (1 - exp(-dt / lag)) (speed action - v),   p <- p + dt v,   clipped to the arena [-1, 1]

    Args:
        p: (..., N, 2) positions.
        velocity: (..., N, 2) flown velocity [normalised / s].
        action: (..., N, 2), norm at most 1; longer ones are shortened.
        speed_per_s: largest speed [normalised / s], scalar or (..., N, 1).
        lag_s: time constant of the vehicle, scalar or (..., N, 1); 0: none.
        dt_s: tick.

    Returns:
        (p, velocity) after the tick.
    """
    xp = namespace(p)
    norm = xp.sqrt(action[..., 0] ** 2 + action[..., 1] ** 2)[..., None]
    wanted = speed_per_s * action / xp.clip(norm, 1.0, None)
    blend = 1.0 - xp.exp(-dt_s / xp.clip(lag_s + 0.0 * norm, 1e-6, None))
    velocity = velocity + blend * (wanted - velocity)
    moved = xp.clip(p + dt_s * velocity, -1.0, 1.0)
    return moved, velocity


@dataclass(frozen=True)
class RewardWeights:
    """Coefficients of eq. (3). The paper prints their names only; these values are ours (docs/training.md)."""

    g: Annotated[float, Bounds(0.0, 100.0), "rw_g: times the drop of the summed remaining demand / total supply"] = 4.0
    ws: Annotated[float, Bounds(0.0, 10.0), "rw_ws: per tick in which every consumer is being served"] = 0.01
    im: Annotated[float, Bounds(0.0, 10.0), "rw_im: times the released share of the agent's own supply"] = 0.5
    rc: Annotated[float, Bounds(0.0, 10.0), "rw_rc: once, to the sub-team that completes an instantaneous demand"] = 0.5
    s: Annotated[
        float,
        Bounds(0.0, 10.0),
        "rw_s: per tick of serving a 0-depletion demand (times min(1, demand / cover))",
    ] = 0.01
    d: Annotated[
        float, Bounds(0.0, 100.0), "rw_d: times the drop of the squared distance to the consumer of eq. (2)"
    ] = 1.0
    gamma_d: Annotated[float, Bounds(0.0, 10.0), "rw_d: per tick inside the disc of the consumer of eq. (2)"] = 0.02
    gamma_ij: Annotated[float, Bounds(0.0, 100.0), "rw_ij: weight of a close pair (hinge: at contact)"] = 0.05
    collision_distance: Annotated[
        float, Bounds(0.0, 1.0), "rw_ij: sqrt(eps), normalised distance below which a pair is close"
    ] = 0.12
    collision: Annotated[
        Literal["hinge", "printed"],
        "hinge: -gamma (1 - d^2/eps); printed: -gamma d^2 as in the paper, which is weakest at contact",
    ] = "hinge"


class RewardTerms(NamedTuple):
    """The terms of eq. (3) per agent, each (..., N)."""

    g: Array
    ws: Array
    rc: Array
    im: Array
    s: Array
    d: Array
    collision: Array

    def total(self) -> Array:
        """rw_i of eq. (3), (..., N)."""
        return self.g + self.ws + self.rc + self.im + self.s + self.d + self.collision


class Tick(NamedTuple):
    """What one tick did, as the reward needs it. Shapes: N agents, M consumers, r kinds."""

    p_before: Array  # (..., N, 2) positions at t-1
    p: Array  # (..., N, 2) positions at t
    d: Array  # (..., M, 2) consumers
    radius: Array | float  # R_m, scalar or (..., M)
    alive: Array  # (..., N) bool
    exists: Array  # (..., M) bool
    kind: Array  # (..., M, r)
    demanded: Array  # (..., M, r)
    remaining_before: Array  # (..., M, r)
    remaining: Array  # (..., M, r)
    inside: Array  # (..., N, M) bool, at t
    supply: Array  # (..., N, r) carried at t, after deliveries
    delivered: Array  # (..., N, M, r) at this tick
    capacity: Array  # (..., N) what the agent set out with, all kinds
    total_supply: Array  # (...,) what the team set out with
    target: Array  # (..., N) int, consumer of eq. (2); negative: none


def serving(inside_: Array, supply: Array, demanded: Array, kind: Array) -> Array:
    """(..., N, M, r) bool: the agent's supply counts for this 0-depletion demand now."""
    asked = (kind == ZERO_DEPLETION) & (demanded > 0)
    return inside_[..., None] & asked[..., None, :, :] & (supply > 0)[..., :, None, :]


def rewards(weights: RewardWeights, tick: Tick) -> RewardTerms:
    """Every term of eq. (3) for one tick. Dead agents get zeros.

    rw_ws counts a consumer as served when an agent releases there now, or nothing is outstanding there. rw_s
    shares what an
    over-covered place pays: min(1, demand / cover).
    """
    xp = namespace(tick.p)
    live = 1.0 * tick.alive
    exists = 1.0 * tick.exists

    drop = ((tick.remaining_before - tick.remaining).sum(-1) * exists).sum(-1)
    g = weights.g * (drop / xp.clip(tick.total_supply, 1e-6, None))[..., None] * live

    serves = serving(tick.inside, tick.supply, tick.demanded, tick.kind)
    releases = (serves | (tick.delivered > 0)).any(-1)
    open_ = (outstanding(tick.demanded, tick.remaining, tick.kind) > 0).any(-1) & tick.exists
    all_served = (releases.any(-2) | ~open_).all(-1) & tick.exists.any(-1)
    ws = weights.ws * (1.0 * all_served)[..., None] * live

    released = tick.delivered.sum(-1).sum(-1)
    im = weights.im * released / xp.clip(tick.capacity, 1e-6, None)

    completed = (tick.kind == INSTANTANEOUS) & (tick.remaining_before > 0) & (tick.remaining <= 0)
    team = tick.inside & completed.any(-1)[..., None, :]
    rc = weights.rc * (1.0 * team).sum(-1) * live

    loads = present(tick.inside, tick.supply)
    share = xp.clip(tick.demanded / xp.clip(loads, 1e-6, None), 0.0, 1.0)
    per_place = xp.where(serves, share[..., None, :, :], 0.0)
    s = weights.s * xp.clip(per_place.sum(-1).sum(-1), 0.0, 1.0) * live

    d = _progress(weights, tick) * live
    return RewardTerms(g, ws, rc, im, s, d, collision(weights, tick.p, tick.alive))


def collision(weights: RewardWeights, p: Array, alive: Array) -> Array:
    """sum_j rw_ij, (..., N), for positions p (..., N, 2)."""
    xp = namespace(p)
    eps = weights.collision_distance**2
    squared = squared_distances(p, p)
    if weights.collision == "hinge":
        pair = xp.clip(1.0 - squared / max(eps, 1e-12), 0.0, None)
    else:
        pair = xp.where(squared < eps, squared, 0.0)
    both = others(p) & alive[..., :, None] & alive[..., None, :]
    return -weights.gamma_ij * xp.where(both, pair, 0.0).sum(-1)


def _progress(weights: RewardWeights, tick: Tick) -> Array:
    """rw_d: progress toward the consumer of eq. (2) outside its disc, gamma_d inside."""
    xp = namespace(tick.p)
    index = xp.clip(tick.target, 0, None)
    chosen = index[..., :, None] == indices(tick.d.shape[-2], tick.d)
    goal = (chosen * xp.ones_like(tick.p[..., :1])) @ tick.d
    before, now = ((goal - tick.p_before) ** 2).sum(-1), ((goal - tick.p) ** 2).sum(-1)
    arrived = (chosen & tick.inside).any(-1)
    value = xp.where(arrived, weights.gamma_d, weights.d * (before - now))
    return xp.where(tick.target >= 0, value, 0.0)


def satisfaction(demanded: Array, remaining_: Array, exists: Array | None = None) -> Array:
    """Share of the demand that is met now, (...,), in [0, 1]; 1 where nothing is asked for. Arrays are (..., M, r)."""
    xp = namespace(demanded)
    if exists is not None:
        there = xp.where(exists, 1.0, 0.0)[..., None]
        demanded, remaining_ = demanded * there, remaining_ * there
    asked, missing = demanded.sum(-1).sum(-1), remaining_.sum(-1).sum(-1)
    return xp.where(asked > 0, 1.0 - missing / xp.where(asked > 0, asked, 1.0), 1.0)
