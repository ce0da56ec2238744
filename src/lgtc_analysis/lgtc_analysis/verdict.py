"""The verdict: named checks of one flight, each with what was got and what was needed, true to the
recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from lgtc_analysis import metrics
from lgtc_analysis.flight import Flight
from lgtc_analysis.timeline import in_the_air, pose_times, timeline
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase

SERVED_AGAIN_S = 35.0
"""Longest time without a server: the paper's drone is emptied at 55 s and replaced by about 90 s (Section
V).
"""
LANDING_ORDER_S = 1.0
"""Longest time from the battery's demand to land to the begin of landing [s]."""
SETPOINT_GAP_S = 0.4
"""Longest time between two setpoints [s]: after .5 s without a setpoint the firmware levels out and
drifts.
"""
RELAXED_S = 2.0
"""Longest time for which a safety filter may give up conditions [s]. A barrier value that is negative recovers as
exp(-alpha t): in 2 s, eight time constants at the default gain, to nothing. Longest in flights that kept the distance:
1.24 s, drones that took off too close to each other (docs/safety.md).
"""
WALL_M = 0.01
"""A drone this far beyond a wall or the height band has left the arena; less is measurement [m]."""


class Outcome(Enum):
    """What became of a check."""

    PASS = "PASS"
    FAIL = "FAIL"
    NONE = "n/a"
    """Nothing happened that the check could judge."""


@dataclass(frozen=True)
class Check:
    """One claim about the flight, held against the recording."""

    name: str
    outcome: Outcome
    got: str
    needed: str


@dataclass(frozen=True)
class Verdict:
    """All checks of a flight."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """Checks that failed."""
        return tuple(check for check in self.checks if check.outcome is Outcome.FAIL)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        judged = sum(check.outcome is not Outcome.NONE for check in self.checks)
        if self.passed:
            return f"All {judged} checks passed."
        return f"{len(self.failed)} of {judged} checks failed: " + "; ".join(check.name for check in self.failed) + "."


def verdict(flight: Flight) -> Verdict:
    """Every check of a flight, in the order of a reader's interest."""
    checks: tuple[Callable[[Flight], Check], ...] = (
        _mission_ended,
        _places_covered,
        _demand_met,
        _served_again,
        _empty_landed,
        _distances_kept,
        _nobody_landed_on,
        _conditions_kept,
        _inside_arena,
        _setpoints_steady,
        _all_down,
        _recording_whole,
    )
    return Verdict(tuple(check(flight) for check in checks))


def _check(name: str, passed: bool, got: str, needed: str) -> Check:
    return Check(name, Outcome.PASS if passed else Outcome.FAIL, got, needed)


def _mission_ended(flight: Flight) -> Check:
    phases = set(flight.mission.phase.tolist())
    last = MissionPhase(int(flight.mission.phase[-1]))
    reason = flight.mission.reason[-1]
    passed = MissionPhase.ACTIVE in phases and MissionPhase.ABORT not in phases and last >= MissionPhase.LAND
    aborted = [
        why
        for phase, why in zip(flight.mission.phase, flight.mission.reason, strict=True)
        if phase == MissionPhase.ABORT
    ]
    got = f"aborted: {aborted[0]}" if aborted else f"{last.name}{f' ({reason})' if reason else ''}"
    return _check("Mission flown to its end", passed, got, "ACTIVE, then LAND and DONE, without ABORT")


def _places_covered(flight: Flight) -> Check:
    covered = metrics.coverages(flight)
    done = [one for one in covered if np.isfinite(one.met_s)]
    name, needed = "Every place covered once", f"{len(covered)} of {len(covered)}"
    if not covered:
        return Check(name, Outcome.NONE, "nothing was asked for", "every place")
    late = max((one.took_s for one in done), default=float("nan"))
    got = f"{len(done)} of {len(covered)}" + (f", the last after {late:.1f} s" if done else "")
    return _check(name, len(done) == len(covered), got, needed)


def _demand_met(flight: Flight) -> Check:
    name, needed = "Demand met when the mission ended", "100 %"
    rows = np.flatnonzero(metrics.within(flight.demand, flight.active_s))
    if not len(rows) or not flight.demand.demanded[rows[-1]].any():
        return Check(name, Outcome.NONE, "nothing was asked for", needed)
    share = float(metrics.share_met(flight)[rows[-1]])
    return _check(name, share >= metrics.MET_SHARE, percent(share), needed)


def _served_again(flight: Flight) -> Check:
    name, needed = "Places served again after a server left", f"all, within {SERVED_AGAIN_S:g} s"
    left = metrics.handovers(flight)
    if not left:
        return Check(name, Outcome.NONE, "no server left", needed)
    gaps = [one.gap_s for one in left]
    served = [gap for gap in gaps if np.isfinite(gap)]
    passed = len(served) == len(gaps) and max(served) <= SERVED_AGAIN_S
    got = f"{len(served)} of {len(gaps)}" + (f", longest gap {max(served):.1f} s" if served else "")
    return _check(name, passed, got, needed)


def _empty_landed(flight: Flight) -> Check:
    name = "Drones with an empty battery landed"
    needed = f"landing within {LANDING_ORDER_S:g} s of the battery's demand"
    delays = {drone: delay for drone in flight.names if np.isfinite(delay := _landing_delay_s(flight, drone))}
    emptied = any(
        event.set_supply is not None
        and event.set_supply.amount == 0.0
        and event.at_s < flight.active_s[1] - flight.active_s[0]
        and event.set_supply.kind in {drone.battery_kind for drone in flight.team.drones}
        for event in flight.team.events
    )
    if not delays:
        if emptied:
            return Check(name, Outcome.FAIL, "the scenario emptied a battery, and none asked to land", needed)
        return Check(name, Outcome.NONE, "no battery ran empty", needed)
    got = ", ".join(
        f"{drone} {'never' if np.isinf(delay) else f'after {delay:.2f} s'}" for drone, delay in delays.items()
    )
    return _check(name, max(delays.values()) <= LANDING_ORDER_S, got, needed)


def _landing_delay_s(flight: Flight, drone: str) -> float:
    """Longest time from the battery's demand, while active, until the drone in the air lands [s]; NaN: no demand,
    inf: it did not land.
    """
    one = flight.drones[drone]
    asks = (one.resources.tier >= Tier.LAND) & metrics.within(one.resources, flight.active_s)
    asked_s = one.resources.time_s[asks & ~np.append(False, asks[:-1])]
    lands_s = one.vehicle.time_s[one.vehicle.phase >= VehiclePhase.LANDING]
    delays = [lands_s[lands_s >= at_s - LANDING_ORDER_S][:1] - at_s for at_s in asked_s]
    return max((max(0.0, float(delay[0])) if len(delay) else float("inf") for delay in delays), default=float("nan"))


def _distances_kept(flight: Flight) -> Check:
    name = "No two drones closer than the safety distance"
    return _approach_check(name, metrics.approach(flight), flight, "never two drones in the air")


def _nobody_landed_on(flight: Flight) -> Check:
    name = "No drone came down on another"
    return _approach_check(name, metrics.approach(flight, one_on_ground=True), flight, "all were up and down together")


def _approach_check(name: str, near: metrics.Approach, flight: Flight, nobody: str) -> Check:
    needed = f"at least {near.needed_m.max():.3f} m"
    if not np.isfinite(near.smallest_m):
        return Check(name, Outcome.NONE, nobody, needed)
    i, j = np.unravel_index(int(np.nanargmin(near.pair_m - near.needed_m)), near.pair_m.shape)
    at_s = float(near.pair_s[i, j])
    pair = f"{flight.names[int(i)]} and {flight.names[int(j)]}"
    count = f", {len(near.too_close)} pairs too close" if len(near.too_close) > 1 else ""
    got = f"{float(near.pair_m[i, j]):.3f} m ({pair}, at {at_s:.1f} s){count}"
    return _check(name, not near.too_close, got, needed)


def _conditions_kept(flight: Flight) -> Check:
    """Whether the safety filters could keep all their conditions, with the figures that they gave as evidence."""
    name, needed = "Safety filters kept their conditions", f"none given up for more than {RELAXED_S:g} s at a time"
    longest_s, worst, commands, given_up = 0.0, "", 0, 0
    for drone in flight.drones.values():
        heard = metrics.within(drone.safety, flight.active_s)
        flying = metrics.in_flight(drone, drone.safety)[heard]  # on the ground nobody obeys them
        relaxed = flying & (drone.safety.mode[heard] == SafetyMode.RELAXED)
        commands, given_up = commands + int(flying.sum()), given_up + int(relaxed.sum())
        lasted_s = longest_run_s(relaxed, drone.safety.time_s[heard])
        if lasted_s > longest_s:
            longest_s, worst = lasted_s, drone.name
    if not commands:
        return Check(name, Outcome.NONE, "no command was recorded", needed)
    got = f"given up in {given_up} of {commands} commands"
    if given_up:
        got += f", for {longest_s:.2f} s at most" + (f" ({worst})" if worst else "")
    return _check(name, longest_s <= RELAXED_S, got, needed)


def longest_run_s(flags: np.ndarray, times_s: np.ndarray) -> float:
    """Time from the first to the last of the longest run of true flags (T,) at `times_s` (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return max((float(times_s[end - 1] - times_s[begin]) for begin, end in edges.reshape(-1, 2)), default=0.0)


def _inside_arena(flight: Flight) -> Check:
    arena = flight.team.arena
    team = timeline(flight, pose_times(flight))
    beyond = np.concatenate(
        [
            np.abs(team.position_m[..., :2] - np.asarray(arena.centre_m)) - np.asarray(arena.half_extent_m),
            (arena.height_min_m - team.position_m[..., 2])[..., None],
            (team.position_m[..., 2] - arena.height_max_m)[..., None],
        ],
        -1,
    ).max(-1)
    flying = (team.phase == VehiclePhase.FLYING) & np.isfinite(beyond)
    name, needed = "Flying drones stayed inside the arena", f"less than {WALL_M:g} m beyond a wall"
    if not flying.any():
        return Check(name, Outcome.NONE, "no drone followed its policy", needed)
    worst = float(beyond[flying].max())
    got = f"{worst:.3f} m beyond" if worst > 0 else f"at least {-worst:.2f} m inside"
    return _check(name, worst < WALL_M, got, needed)


def _setpoints_steady(flight: Flight) -> Check:
    longest = metrics.longest_setpoint_gap(flight)
    name, needed = "Setpoints never paused in flight", f"gaps of at most {SETPOINT_GAP_S:g} s"
    if longest is None:
        return Check(name, Outcome.FAIL, "no setpoint of a flying drone was recorded", needed)
    got = f"longest gap {longest.gap_s:.2f} s ({longest.drone}, at {longest.from_s:.1f} s)"
    return _check(name, longest.gap_s <= SETPOINT_GAP_S, got, needed)


def _all_down(flight: Flight) -> Check:
    name, needed = "Every drone came down again", "LANDED"
    last = {drone: _last_phase(flight, drone) for drone in flight.names}
    flew = [drone for drone in flight.names if in_the_air(flight.drones[drone].vehicle.phase).any()]
    if not flew:
        return Check(name, Outcome.FAIL, "no drone took off", needed)
    up = [drone for drone in flew if last[drone] != VehiclePhase.LANDED]
    got = ", ".join(f"{drone} {last[drone].name}" for drone in up) if up else f"{len(flew)} of {len(flew)}"
    return _check(name, not up, got, needed)


def _last_phase(flight: Flight, drone: str) -> VehiclePhase:
    phases = flight.drones[drone].vehicle.phase
    return VehiclePhase(int(phases[-1])) if len(phases) else VehiclePhase.GROUNDED


def _recording_whole(flight: Flight) -> Check:
    if flight.unfinished:
        got = flight.unfinished
    elif flight.missing:
        more = f" and {len(flight.missing) - 3} more" if len(flight.missing) > 3 else ""
        got = "nothing on " + ", ".join(flight.missing[:3]) + more
    else:
        got = "closed properly, every topic has messages"
    passed = not flight.unfinished and not flight.missing
    return _check("Recording is whole", passed, got, "closed properly, every topic has messages")


def percent(share: float) -> str:
    """A share in words, rounded down so that 100 % means all."""
    return f"{np.floor(share * 1000) / 10:g} %" if share < metrics.MET_SHARE else "100 %"
