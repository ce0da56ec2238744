"""Figures of a flight, each a pure function of what was recorded.

distance   |C (p_i - p_j)|,  C = diag(1, 1, s/w): straight above, the downwash distance w counts as the safety
distance s share met  1 - sum remaining / sum demanded                          (rules.satisfaction)
reward     rw_i of eq. (3), term by term                             (rules.rewards)
liquid     x_i . 1 / F in [-1, 1]: projection of the liquid state on the unit vector, over its greatest value
(Figure 7) latency    receipt of the command - receipt of the pose with the same header stamp
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lgtc_analysis.flight import Bools, DroneFlight, Flight, Floats, Ints, Series
from lgtc_analysis.timeline import Timeline, held, held_rows, in_the_air, phases, pose_times, ticks, timeline
from lgtc_core import schema
from lgtc_core.flight.phases import Tier, VehiclePhase
from lgtc_core.world import assignment, rules

PACE_S = 5.0
"""Stretch of flight over which its real-time factor is measured [s, ROS time]."""
TICK_S = 0.05
"""Tick of the paper (20 Hz), where no model card says another."""
MET_SHARE = 0.999
"""A demand counts as met from this share on: amounts travel as 32-bit floats."""
SERVICE_S = 1.0
"""A drone that was inside a disc for less than this was passing through, and its leaving is no hand-over."""
LANDING_SOON_S = 2.0
"""A server that begins to land within this time of leaving a disc left because of it."""


@dataclass(frozen=True)
class Approach:
    """How near the drones came to each other, over time. Distances as in the module's formula."""

    time_s: Floats  # (T,)
    distance_m: Floats  # (T,)
    """Of the nearest pair that counts, between this time and the one before [m]; NaN: fewer than two drones in
    the air.
    """
    pair_m: Floats  # (N, N)
    """Smallest distance of every pair while it counted [m]; NaN: never."""
    pair_s: Floats  # (N, N)
    """When that was, mission time [s]."""
    needed_m: Floats  # (N, N)
    """Safety distance of every pair [m]."""

    @property
    def smallest_m(self) -> float:
        """Smallest distance of the flight [m]; NaN: no pair ever counted."""
        return float(np.nanmin(self.distance_m)) if np.isfinite(self.distance_m).any() else float("nan")

    @property
    def too_close(self) -> tuple[tuple[int, int], ...]:
        """Pairs (i < j) that came closer than their safety distance, by more than a millimetre of
        measurement.
        """
        with np.errstate(invalid="ignore"):
            below = np.triu(self.pair_m < self.needed_m - 1e-3, 1)
        return tuple((int(i), int(j)) for i, j in np.argwhere(below))


def approach(flight: Flight, one_on_ground: bool = False) -> Approach:
    """Smallest distances of all pairs of airborne drones, exact for straight motion between two poses.

    A pair keeps the larger safety distance of its two, and the larger downwash distance.

    Args:
        flight: the flight.
        one_on_ground: instead of pairs in the air, those of which exactly one is: what is flown or landed onto.
    """
    safety_distance_m = np.array([drone.safety_distance_m for drone in flight.team.drones])
    downwash_m = np.array([drone.downwash_m for drone in flight.team.drones])
    team = timeline(flight, pose_times(flight))
    n = len(flight.names)
    needed = np.maximum.outer(safety_distance_m, safety_distance_m)
    vertical = needed / np.maximum(np.maximum.outer(downwash_m, downwash_m), 1e-6)
    nearest = np.full(len(team.time_s), np.inf)
    pair_m, pair_s = np.full((n, n), np.nan), np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i + 1, n):
            distance = _pair_distance(team, i, j, float(vertical[i, j]), one_on_ground)
            nearest = np.fmin(nearest, distance)
            if np.isfinite(distance).any():
                at = int(np.nanargmin(distance))
                pair_m[i, j] = pair_m[j, i] = distance[at]
                pair_s[i, j] = pair_s[j, i] = team.time_s[at]
    return Approach(team.time_s, np.where(np.isfinite(nearest), nearest, np.nan), pair_m, pair_s, needed)


def _pair_distance(team: Timeline, i: int, j: int, vertical: float, one_on_ground: bool) -> Floats:
    """(T,) smallest distance on the way from the time before; NaN where the pair does not count or is unknown."""
    q = (team.position_m[:, i] - team.position_m[:, j]) * np.array([1.0, 1.0, vertical])
    a, b = team.airborne[:, i], team.airborne[:, j]
    q = np.where((a ^ b if one_on_ground else a & b)[:, None], q, np.nan)
    step = np.diff(q, axis=0)
    length2 = (step**2).sum(-1)
    along = np.clip(-(q[:-1] * step).sum(-1) / np.where(length2 > 0, length2, 1.0), 0.0, 1.0)
    between = np.sqrt(((q[:-1] + along[:, None] * step) ** 2).sum(-1))
    at = np.sqrt((q**2).sum(-1))
    return np.asarray(np.fmin(at, np.concatenate([[np.inf], between])), dtype=np.float64)


def share_met(flight: Flight) -> Floats:
    """Share of all amounts asked for that is met, at every demand message (T,)."""
    demand = flight.demand
    return np.asarray(rules.satisfaction(demand.demanded, demand.remaining, demand.exists), dtype=np.float64)


def mean_share_met(flight: Flight) -> float:
    """Share of all amounts asked for that was met, mean over the time under the policies; NaN without a demand."""
    rows = np.flatnonzero(within(flight.demand, flight.active_s))
    if not len(rows):
        return math.nan
    spans = np.diff(np.append(flight.demand.time_s[rows], flight.active_s[1]))
    return float((share_met(flight)[rows] * spans).sum() / max(spans.sum(), 1e-9))


def share_met_per_consumer(flight: Flight) -> Floats:
    """The same per consumer (T, M); NaN where a consumer does not exist or asks for nothing."""
    demand = flight.demand
    asked = demand.demanded.sum(-1)
    there = demand.exists & (asked > 0)
    result = 1.0 - demand.remaining.sum(-1) / np.where(asked > 0, asked, 1.0)
    return np.asarray(np.where(there, result, np.nan), dtype=np.float64)


def within(series: Series, span_s: tuple[float, float]) -> Bools:
    """Which messages of a series are stamped in [begin, end) of a span of mission time."""
    return (series.time_s >= span_s[0] - 1e-9) & (series.time_s < span_s[1] - 1e-9)


@dataclass(frozen=True)
class Coverage:
    """When what a consumer asks for was met for the first time."""

    consumer: str
    asked_from_s: float
    """Mission time from which it asked, not before the mission was active [s]."""
    met_s: float
    """Mission time at which nothing was missing for the first time [s]; NaN: never."""

    @property
    def took_s(self) -> float:
        """Time to cover [s]."""
        return self.met_s - self.asked_from_s


def coverages(flight: Flight) -> tuple[Coverage, ...]:
    """Time to cover of every consumer that asked for something while the mission was active."""
    begin, end = flight.active_s
    demand, share = flight.demand, share_met_per_consumer(flight)
    result = []
    for j, name in enumerate(demand.names):
        asking = np.flatnonzero(np.isfinite(share[:, j]) & (demand.time_s < end - 1e-9))
        if not len(asking) or not np.isfinite(begin):
            continue
        met = asking[(share[asking, j] >= MET_SHARE) & (demand.time_s[asking] >= begin - 1e-9)]
        met_s = float(demand.time_s[met[0]]) if len(met) else float("nan")
        result.append(Coverage(name, max(begin, float(demand.time_s[asking[0]])), met_s))
    return tuple(result)


@dataclass(frozen=True)
class Handover:
    """A server left the disc of a consumer that needs somebody there all the time (0-depletion)."""

    consumer: str
    leavers: tuple[str, ...]
    left_s: float
    """Mission time at which it no longer counted [s]."""
    landing: bool
    """Whether it left because it was landing; otherwise it flew away."""
    served_again_s: float
    """Mission time at which somebody serves there; `left_s` if somebody else had stayed [s]; NaN: nobody while it
    was asked for.
    """
    successors: tuple[str, ...]
    """Who serves at that time."""
    met_again_s: float
    """Mission time at which nothing is missing there again [s]; NaN: never while it was asked for."""
    given_up_s: float
    """Mission time at which nobody was asked to be there any more [s]; NaN: asked for to the end."""
    announced_s: float
    """Mission time at which the first of them announced that it leaves [s]; NaN: nobody did."""

    @property
    def notice_s(self) -> float:
        """Time from the announcement to the leaving [s]; NaN: there was none."""
        return self.left_s - self.announced_s

    @property
    def gap_s(self) -> float:
        """Time without any server though one was asked for [s]; NaN: until the end."""
        until_s = self.given_up_s if np.isnan(self.served_again_s) else self.served_again_s
        return until_s - self.left_s


def handovers(flight: Flight) -> tuple[Handover, ...]:
    """Every time that a place lost its last server, or a server that began to land, while the mission was
    active.
    """
    demand, share = flight.demand, share_met_per_consumer(flight)
    rows = np.flatnonzero(within(demand, flight.active_s))
    result = []
    for j, name in enumerate(demand.names):
        needs = demand.exists[:, j] & (
            (demand.depletion[:, j] == rules.ZERO_DEPLETION) & (demand.demanded[:, j] > 0)
        ).any(-1)
        for before, now in pairwise(rows):
            gone = np.flatnonzero(demand.serving[before, j] & ~demand.serving[now, j])
            if not needs[now] or not len(gone):
                continue
            left_s = float(demand.time_s[now])
            leavers = [i for i in gone if _served_for(demand.serving[:, j, i], demand.time_s, int(before)) >= SERVICE_S]
            landing = [i for i in leavers if _lands(flight.drones[flight.names[i]], left_s)]
            if not leavers or (demand.serving[now, j].any() and not landing):
                continue
            after = rows[rows >= now]
            given_up = after[~needs[after]]
            after = after[after < given_up[0]] if len(given_up) else after
            served = after[demand.serving[after, j].any(-1)]
            met = after[share[after, j] >= MET_SHARE]
            result.append(
                Handover(
                    consumer=name,
                    leavers=tuple(flight.names[i] for i in (landing or leavers)),
                    left_s=left_s,
                    landing=bool(landing),
                    served_again_s=float(demand.time_s[served[0]]) if len(served) else float("nan"),
                    successors=tuple(flight.names[i] for i in np.flatnonzero(demand.serving[served[0], j]))
                    if len(served)
                    else (),
                    met_again_s=float(demand.time_s[met[0]]) if len(met) else float("nan"),
                    given_up_s=float(demand.time_s[given_up[0]]) if len(given_up) else float("nan"),
                    announced_s=min(_announced_s(flight.drones[flight.names[i]], left_s) for i in (landing or leavers)),
                )
            )
    return tuple(sorted(result, key=lambda one: one.left_s))


def _served_for(serving: Bools, time_s: Floats, until: int) -> float:
    """Length of the unbroken service that includes row `until` [s]."""
    start = until
    while start > 0 and serving[start - 1]:
        start -= 1
    return float(time_s[until] - time_s[start])


def _lands(drone: DroneFlight, at_s: float) -> bool:
    """Whether a drone begins to land, or is landing, about this time."""
    landing = drone.vehicle.time_s[drone.vehicle.phase >= VehiclePhase.LANDING]
    return bool(((landing >= at_s - LANDING_SOON_S) & (landing <= at_s + LANDING_SOON_S)).any())


def _announced_s(drone: DroneFlight, left_s: float) -> float:
    """Since when a drone that left had announced it [s]; NaN: it had not."""
    before = np.flatnonzero(drone.resources.time_s < left_s)
    quiet = before[drone.resources.tier[before] < Tier.HAND_OVER]
    since = before[before > (quiet[-1] if len(quiet) else -1)]
    return float(drone.resources.time_s[since[0]]) if len(since) else float("nan")


@dataclass(frozen=True)
class Rewards:
    """Reward of every drone at every tick of the active phase, and the world that it was computed from."""

    time_s: Floats  # (T,)
    terms: rules.RewardTerms  # each (T, N)
    alive: Bools  # (T, N)
    """Whether a drone followed its policy; the others earn nothing."""
    target: Ints  # (T, N)
    """Consumer of eq. (2) per drone, column of `Flight.demand.names`; -1 none."""
    solver: str
    """What solved eq. (2)."""

    @property
    def total(self) -> Floats:
        """rw_i of eq. (3), (T, N)."""
        return np.asarray(self.terms.total(), dtype=np.float64)


def rewards(flight: Flight) -> Rewards | None:
    """Reward of eq. (3) as training counts it, from the recorded world; None if the mission was never active.

    What a drone released between two ticks is what its supply of an instantaneously depleted kind fell by
    inside a disc that asks for that kind. Eq. (2) is solved anew whenever a drone joins or leaves or a demand
    is edited, as in training.
    """
    begin, end = flight.active_s
    if not np.isfinite(begin) or end - begin < 2 * tick_s(flight) or not flight.demand.names:
        return None
    demand, arena = flight.demand, flight.team.arena
    team = timeline(flight, ticks(begin, end - 1e-6, tick_s(flight)))
    row = np.clip(held(demand.time_s, team.time_s), 0, None)
    alive = (team.phase == VehiclePhase.FLYING) & np.isfinite(team.position_m).all(-1)
    p = np.nan_to_num(arena.to_normalised(team.position_m[..., :2]))
    d = np.nan_to_num(arena.to_normalised(demand.position_m))[row]
    radius = np.nan_to_num(demand.radius_m[row] / arena.scale_m)
    supply = np.nan_to_num(
        np.stack(
            [held_rows(one.resources.time_s, _wide(one, demand.kinds), team.time_s) for one in flight.drones.values()],
            1,
        )
    )
    inside = rules.inside(p, d, radius, alive) & demand.exists[row][:, None, :]
    delivered = np.zeros((*inside.shape, len(demand.kinds)))
    fell = np.clip(supply[:-1] - supply[1:], 0.0, None)[:, :, None, :]
    asked = inside[1:, :, :, None] & ((demand.depletion == rules.INSTANTANEOUS) & (demand.demanded > 0))[row][1:, None]
    delivered[1:] = np.where(asked, fell / np.maximum(asked.sum(2, keepdims=True), 1), 0.0)
    target, solver = _targets(flight, alive, p, d, supply, row)
    tick = rules.Tick(
        p_before=p[:-1],
        p=p[1:],
        d=d[1:],
        radius=radius[1:],
        alive=alive[1:],
        exists=demand.exists[row][1:],
        kind=demand.depletion[row][1:],
        demanded=demand.demanded[row][1:],
        remaining_before=demand.remaining[row][:-1],
        remaining=demand.remaining[row][1:],
        inside=inside[1:],
        supply=supply[1:],
        delivered=delivered[1:],
        capacity=supply[0].sum(-1)[None],
        total_supply=supply[0].sum(),
        target=target[1:],
    )
    return Rewards(team.time_s[1:], rules.rewards(reward_weights(flight), tick), alive[1:], target[1:], solver)


def _wide(drone: DroneFlight, kinds: tuple[str, ...]) -> Floats:
    """(T, r) supply, also for a drone that never reported."""
    return drone.resources.supply if len(drone.resources) else np.zeros((0, len(kinds)))


def _targets(flight: Flight, alive: Bools, p: Floats, d: Floats, supply: Floats, row: Ints) -> tuple[Ints, str]:
    """(T, N) consumers of eq. (2), solved at every change of who is there and what is asked for; and the
    solver.
    """
    demand = flight.demand
    exists, demanded, place = demand.exists[row], demand.demanded[row], demand.position_m[row]
    target = np.full(alive.shape, -1, dtype=np.int64)
    solver = "none"
    for t in range(len(row)):
        same = t > 0 and all(
            np.array_equal(array[t], array[t - 1], equal_nan=array.dtype.kind == "f")
            for array in (alive, exists, demanded, place)
        )
        if same:
            target[t] = target[t - 1]
            continue
        who, where = np.flatnonzero(alive[t]), np.flatnonzero(exists[t])
        if len(who) and len(where):
            outstanding = rules.outstanding(demanded[t], demand.remaining[row[t]], demand.depletion[row[t]])
            answer = assignment.assign(p[t, who], supply[t, who], d[t, where], outstanding[where])
            target[t, who] = where[answer.target]
            solver = answer.solver
    return target, solver


def liquid_projection(state: Floats, liquid_width: int) -> Floats:
    """Projection of liquid states (T, H) on the unit vector, over its greatest value: in [-1, 1], (T,).
    Figure 7.
    """
    width = min(liquid_width, state.shape[1]) if state.ndim == 2 else 0
    return state[:, :width].mean(-1) if width else np.zeros(0)


def latency_s(cause: Series, effect: Series, span_s: tuple[float, float]) -> Floats:
    """Time from the receipt of a message to the receipt of the first that answers it (equal stamp), in a span
    [s].
    """
    _, first = np.unique(effect.stamp_ns, return_index=True)
    order = first[np.argsort(effect.stamp_ns[first])]
    wanted = within(cause, span_s)
    stamps, received = cause.stamp_ns[wanted], cause.received_s[wanted]
    at = np.searchsorted(effect.stamp_ns[order], stamps)
    at = np.clip(at, 0, max(len(order) - 1, 0))
    hit = effect.stamp_ns[order][at] == stamps if len(order) else np.zeros(len(stamps), dtype=bool)
    return effect.received_s[order][at[hit]] - received[hit] if len(order) else np.zeros(0)


def pose_to_command_s(flight: Flight) -> Floats:
    """Latencies of all drones from pose to safe command while the mission was active [s]."""
    values = [latency_s(drone.pose, drone.velocity_safe, flight.active_s) for drone in flight.drones.values()]
    return np.concatenate(values)


def pose_to_decision_s(flight: Flight) -> Floats:
    """Latencies of all drones from pose to the policy's nominal command while the mission was active [s]."""
    values = [latency_s(drone.pose, drone.velocity_nominal, flight.active_s) for drone in flight.drones.values()]
    return np.concatenate(values)


def flying(drone: DroneFlight, time_s: Floats) -> Bools:
    """At which times a drone followed its safe command."""
    index = held(drone.vehicle.time_s, time_s)
    result: Bools = (index >= 0) & (np.append(drone.vehicle.phase, -1)[index] == VehiclePhase.FLYING)
    return result


def command_gaps_s(flight: Flight) -> Floats:
    """Times between two safe commands of a drone that was flying at both, all drones, by the recorder's clock
    [s].
    """
    gaps = []
    for drone in flight.drones.values():
        order = np.argsort(drone.velocity_safe.received_s, kind="stable")
        at = flying(drone, drone.velocity_safe.time_s[order])
        gaps.append(np.diff(drone.velocity_safe.received_s[order])[at[1:] & at[:-1]])
    return np.concatenate(gaps)


@dataclass(frozen=True)
class Gap:
    """Time between two setpoints that a vehicle in the air was sent."""

    drone: str
    from_s: float
    """Mission time of the first of the two [s]."""
    gap_s: float


def longest_setpoint_gap(flight: Flight) -> Gap | None:
    """The longest time between two setpoints of a drone that held its height or flew at both; None without
    any.

    By header stamps: in simulation the vehicle's deadlines run on simulated time too.
    """
    longest = None
    for name, drone in flight.drones.items():
        phase = phases(drone, drone.setpoint.time_s)
        streaming = (phase == VehiclePhase.HOLDING) | (phase == VehiclePhase.FLYING)
        both = np.flatnonzero(streaming[1:] & streaming[:-1])
        if len(both):
            gaps = np.diff(drone.setpoint.time_s)[both]
            at = both[np.argmax(gaps)]
            if longest is None or gaps.max() > longest.gap_s:
                longest = Gap(name, float(drone.setpoint.time_s[at]), float(gaps.max()))
    return longest


def setpoint_ages_s(flight: Flight) -> Floats:
    """Ages of the last setpoint as the vehicle adapters report them, while drones were flying [s]."""
    ages = [
        drone.vehicle.setpoint_age_s[drone.vehicle.phase == VehiclePhase.FLYING] for drone in flight.drones.values()
    ]
    values = np.concatenate(ages)
    finite: Floats = values[np.isfinite(values)]
    return finite


def message_ages_s(flight: Flight) -> Floats:
    """Age of the oldest neighbour's message that entered each decision, all drones [s]."""
    values = np.concatenate([drone.policy_state.oldest_message_age_s for drone in flight.drones.values()])
    finite: Floats = values[np.isfinite(values)]
    return finite


def quantiles_ms(values_s: Floats) -> tuple[float, float, float]:
    """(median, 99th percentile, largest) of times, in milliseconds; NaN without values."""
    if not len(values_s):
        return (float("nan"), float("nan"), float("nan"))
    median, p99 = np.quantile(values_s, [0.5, 0.99])
    return (float(median) * 1e3, float(p99) * 1e3, float(values_s.max()) * 1e3)


def real_time_factors(flight: Flight) -> Floats:
    """ROS seconds per second of the recorder's clock, in each stretch of about `PACE_S` under the policies, (k,).

    1 for real drones and for a simulator that keeps up; less where it waited for the others. By the stamps and receipts
    of /mission.
    """
    rows = np.flatnonzero(within(flight.mission, flight.active_s))
    if not len(rows):
        return np.zeros(0)
    ros_s, wall_s = flight.mission.time_s[rows], flight.mission.received_s[rows]
    marks = np.searchsorted(ros_s, np.arange(ros_s[0], ros_s[-1] + 1e-9, PACE_S))
    passed_s = np.diff(wall_s[marks])
    factors: Floats = np.diff(ros_s[marks])[passed_s > 0] / passed_s[passed_s > 0]
    return factors


def tick_s(flight: Flight) -> float:
    """Time between two decisions, as the model card says; the paper's 20 Hz without a card [s]."""
    return float(flight.info.model_card.get("tick_s", TICK_S))


def liquid_width(flight: Flight) -> int:
    """Number F of leading entries of the recurrent state that are the liquid state; without a card all of
    them.
    """
    widest = max((drone.policy_state.state.shape[-1] for drone in flight.drones.values()), default=0)
    return int(flight.info.model_card.get("liquid_width", widest))


def reward_weights(flight: Flight) -> rules.RewardWeights:
    """Coefficients of eq. (3) that the model was trained with; the defaults without a card."""
    trained = flight.info.model_card.get("training", {}).get("rewards")
    return rules.RewardWeights() if trained is None else schema.build(rules.RewardWeights, trained, flight.source)


def in_flight(drone: DroneFlight, series: Series) -> Bools:
    """Which messages of a drone's series are stamped while it was in the air."""
    return in_the_air(phases(drone, series.time_s))
