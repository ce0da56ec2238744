"""The guard of one drone: from positions and a nominal velocity to a safe command, and what if one of them is missing.

| lost | after | what happens |
| --- | --- | --- |
| nominal velocity | nominal_timeout_s | NOMINAL_LOST: hold, that is, the filtered zero velocity |
| own pose | pose_hold_s | NOMINAL_LOST: zero velocity, unfiltered, as nobody knows from what to recede |
| | pose_timeout_s | POSE_LOST: zero velocity, the vehicle is to land |
| a neighbour's pose | at once | its barrier grows with the age (guarantee.py), up to neighbour_timeout_s |
| | neighbour_timeout_s | its last known disc, grown to that age, is avoided alone: no share is left to it |
| | neighbour_forget_s | it is forgotten |

Whether a neighbour takes its share is told from its height: in the arena's height band it flies and runs this filter,
below it (taking off, landing, standing) its own vehicle flies it and this drone keeps clear alone. On the ground it is
still and makes no airflow: its ellipsoid becomes a sphere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import ConfigError, InputError
from lgtc_core.flight import barrier, guarantee
from lgtc_core.flight.airframe import Airframe
from lgtc_core.flight.checks import finite_vector
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.landing import NO_DISCS_M, free_spot, is_clear
from lgtc_core.flight.phases import GROUNDED_HEIGHT_M, SafetyMode
from lgtc_core.flight.safety_filter import SafetyFilter, shorten
from lgtc_core.schema import Bounds
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]

FUTURE_TOLERANCE_S = 0.25
"""How far clocks may differ before a stamp counts as wrong [s]; a simulator that catches up is .2 s ahead at most."""

_TIMEOUT = Bounds(0.02, 60.0, "s")


@dataclass(frozen=True, kw_only=True)
class GuardParams:
    """Parameters of the safety filter and its watchdogs."""

    rate_hz: Annotated[float, Bounds(10.0, 500.0, "Hz"), "How often a safe command is computed"] = 50.0
    latency_s: Annotated[
        float, Bounds(0.0, 1.0, "s"), "Longest time from a safe command to its effect on the vehicle (a hypothesis)"
    ] = 0.02
    velocity_lag_s: Annotated[
        float, Bounds(0.0, 2.0, "s"), "Time constant with which the vehicle follows a velocity (a hypothesis)"
    ] = 0.0
    velocity_error_mps: Annotated[
        float, Bounds(0.0, 1.0, "m/s"), "How much the vehicle's velocity may otherwise differ (a hypothesis)"
    ] = 0.02
    barrier_gain_per_s: Annotated[
        float, Bounds(0.1, 50.0, "1/s"), "alpha: share of the barrier value that may be used up per second"
    ] = 4.0
    breach_tolerance_mps: Annotated[
        float, Bounds(0.0, 1.0, "m/s"), "Faster than its share by this much, a neighbour counts as not cooperating"
    ] = 0.1
    observation_time_s: Annotated[
        float, Bounds(0.01, 1.0, "s"), "Time constant of the estimate of a neighbour's velocity"
    ] = 0.1
    height_gain_per_s: Annotated[
        float, Bounds(0.0, 5.0, "1/s"), "How fast the flight height is returned to; 0: the nominal command decides"
    ] = 1.5
    grounded_height_m: Annotated[
        float, Bounds(0.0, 1.0, "m"), "A drone below this height stands on the ground, motors off"
    ] = GROUNDED_HEIGHT_M
    landing_clearance_m: Annotated[
        float, Bounds(0.0, 5.0, "m"), "A drone comes down where no other, flying or standing, is nearer than this"
    ] = 0.4
    landing_reach_m: Annotated[
        float, Bounds(0.0, 1000.0, "m"), "Farther than this it does not fly to come down outside of every disc"
    ] = 2.0
    rise_clearance_m: Annotated[
        float, Bounds(0.0, 5.0, "m"), "A drone on the ground is clear to rise where none in the air is nearer than this"
    ] = 0.5
    landing_gain_per_s: Annotated[
        float, Bounds(0.1, 10.0, "1/s"), "How fast the place to land is flown to, per metre of distance"
    ] = 1.5
    nominal_timeout_s: Annotated[float, _TIMEOUT, "Age at which a nominal velocity is lost: the drone holds"] = 0.25
    pose_hold_s: Annotated[float, _TIMEOUT, "Age of the own pose at which the drone stands still"] = 0.15
    pose_timeout_s: Annotated[float, _TIMEOUT, "Age at which the own pose is lost: the drone lands"] = 1.0
    neighbour_timeout_s: Annotated[
        float, _TIMEOUT, "Age at which a neighbour's position is lost: its last disc is avoided alone"
    ] = 0.3
    neighbour_forget_s: Annotated[float, Bounds(0.1, 3600.0, "s"), "Age at which a lost neighbour is forgotten"] = 10.0

    def __post_init__(self) -> None:
        """Refuse ages that are not in order."""
        for first, then in (("pose_hold_s", "pose_timeout_s"), ("neighbour_timeout_s", "neighbour_forget_s")):
            early_s, late_s = getattr(self, first), getattr(self, then)
            if early_s > late_s:
                raise ConfigError("", then, f"{late_s:g} s", f"at least {first} ({early_s:g} s)")

    @property
    def hypotheses(self) -> guarantee.Hypotheses:
        """The guarantee's figures."""
        return guarantee.Hypotheses(
            gain_per_s=self.barrier_gain_per_s,
            delay_s=1.0 / self.rate_hz + self.latency_s,
            lag_s=self.velocity_lag_s,
            velocity_error_mps=self.velocity_error_mps,
        )


@dataclass
class _Neighbour:
    """What is known of one other drone."""

    stamp_s: float
    position_m: Array  # (3,)
    velocity_mps: Array  # (3,), as observed
    distance_m: float
    """D of the pair."""
    flattening: float
    """D / D_z of the pair."""
    speed_mps: float
    """Its speed bound."""


class _Seen(NamedTuple):
    """The neighbours of one moment as arrays."""

    position_m: Array  # (k, 3)
    velocity_mps: Array  # (k, 3)
    age_s: Array  # (k,)
    distance_m: Array  # (k,) D of the pair
    flattening: Array  # (k,)
    speed_mps: Array  # (k,) bound
    share: Array  # (k,)
    names: tuple[str, ...]


class Guard:
    """Watchdogs and safety filter of one drone.

    Args:
        name: of the drone, for messages.
        airframe: its limits.
        arena: where it may be.
        params: filter and watchdogs.
        others: airframes of the drones that it may meet, by name; who is not in it is taken for one like itself.

    Raises:
        ConfigError: the guarantee cannot hold in this configuration (got / needed).
    """

    def __init__(
        self,
        name: str,
        airframe: Airframe,
        arena: Arena,
        params: GuardParams,
        others: Mapping[str, Airframe] | None = None,
    ) -> None:
        self.name, self.airframe, self.arena, self.params = name, airframe, arena, params
        self.others = dict(others or {})
        self._hypotheses = params.hypotheses
        guarantee.check_configuration(
            name,
            airframe,
            tuple(self.others.values()),
            arena,
            self._hypotheses,
            own_age_s=params.pose_hold_s,
            other_age_s=params.neighbour_timeout_s,
        )
        self._filter = SafetyFilter(3)
        centre_m, reach_m = np.array(arena.centre_m), np.array(arena.half_extent_m)
        self._lower_m = np.array([*(centre_m - reach_m), arena.height_min_m])
        self._upper_m = np.array([*(centre_m + reach_m), arena.height_max_m])
        climb_mps = airframe.climb_speed_mps
        # fast enough to come back, slow enough for two walls and a climb to fit into the speed limit together
        self._return_mps = 0.5 * np.array([airframe.max_speed_mps] * 2 + [min(climb_mps, airframe.max_speed_mps)])
        self._climb_limits = _climb_limits(climb_mps)
        self._pose: tuple[float, Array] | None = None
        self._nominal: tuple[float, Array] | None = None
        self._neighbours: dict[str, _Neighbour] = {}
        self._last_mps: Array = np.zeros(3)
        self._last_s: float | None = None
        self.landing = False
        """Set when the vehicle is to land: the command then leads to a free place and stands still there."""
        self.discs_m: Array = NO_DISCS_M
        """Centres and radii of the discs that drones serve in (m, 3), frame "world" [m]: no place to land."""

    def pose(self, stamp_s: float, position_m: npt.ArrayLike) -> bool:
        """Take the own position (3,), frame "world" [m]. False: older than the last one, nothing changed.

        Raises:
            InputError: not three finite numbers. Nothing changed.
        """
        position = finite_vector(f"/{self.name}/pose.position", position_m, "m")
        if self._pose is not None and stamp_s <= self._pose[0]:
            return False
        self._pose = (stamp_s, position)
        return True

    def nominal(self, stamp_s: float, velocity_mps: npt.ArrayLike) -> bool:
        """Take a nominal velocity (3,), frame "world" [m/s]. False: older than the last one, nothing changed.

        Raises:
            InputError: not three finite numbers. Nothing changed.
        """
        velocity = finite_vector(f"/{self.name}/velocity_nominal", velocity_mps, "m/s")
        if self._nominal is not None and stamp_s <= self._nominal[0]:
            return False
        self._nominal = (stamp_s, velocity)
        return True

    def neighbour(self, name: str, stamp_s: float, position_m: npt.ArrayLike) -> bool:
        """Take another drone's position (3,), frame "world" [m]. False: older than the last one, nothing changed.

        Raises:
            InputError: not three finite numbers, or the drone's own name. Nothing changed.
        """
        position = finite_vector(f"/{name}/pose.position", position_m, "m")
        if name == self.name:
            raise InputError("neighbour", repr(name), "another drone's name")
        known = self._neighbours.get(name)
        if known is None:
            self._neighbours[name] = self._first_seen(name, stamp_s, position)
            return True
        dt_s = stamp_s - known.stamp_s
        if dt_s <= 0.0:
            return False
        observed_mps = (position - known.position_m) / dt_s
        believable_mps = 1.5 * known.speed_mps
        speed_mps = math.sqrt(observed_mps @ observed_mps)
        if dt_s > self.params.neighbour_timeout_s or speed_mps > 2.0 * believable_mps:
            known.velocity_mps = np.zeros(3)  # a gap or a jump of the position says nothing about the velocity
        else:
            weight = -math.expm1(-dt_s / self.params.observation_time_s)
            smoothed_mps = known.velocity_mps + weight * (observed_mps - known.velocity_mps)
            known.velocity_mps = shorten(smoothed_mps, believable_mps)
        known.stamp_s, known.position_m = stamp_s, position
        return True

    def command(self, now_s: float) -> SafeCommand:
        """The safe command of this moment. Call it at least every 1 / rate_hz."""
        self._drop_future(now_s)
        if self._pose is None or now_s - self._pose[0] > self.params.pose_hold_s:
            return self._without_pose(now_s)
        begun = time.perf_counter()
        stamp_s, own_m = self._pose
        wanted_mps, lost = self._wanted(now_s, own_m)
        seen = self._seen(now_s)
        constraints = self._constraints(own_m, max(0.0, now_s - stamp_s), seen)
        filtered = self._filter.solve(wanted_mps, constraints, self.airframe.max_speed_mps)
        self._last_mps, self._last_s = filtered.velocity_mps, now_s
        mode, reason = self._judge(filtered.mode, filtered.given_up_mps, lost, constraints, seen)
        return SafeCommand(
            stamp_s,
            filtered.velocity_mps,
            mode,
            reason,
            float(constraints.h.min()),
            float(np.linalg.norm(seen.position_m - own_m, axis=1).min()) if seen.names else math.nan,
            math.dist(filtered.velocity_mps, wanted_mps),
            time.perf_counter() - begun,
            len(seen.names),
            float(seen.age_s.max()) if seen.names else math.nan,
            self._clear_above(own_m, seen),
        )

    def _clear_above(self, own_m: Array, seen: _Seen) -> bool:
        flying_m = seen.position_m[seen.position_m[:, 2] >= self.params.grounded_height_m, :2]
        return bool(is_clear(own_m[:2], flying_m, self.params.rise_clearance_m))

    def _drop_future(self, now_s: float) -> None:
        """Forget what is stamped ahead of the time: it would never grow old, and shut out all that comes after it."""
        latest_s = now_s + FUTURE_TOLERANCE_S
        if self._pose is not None and self._pose[0] > latest_s:
            self._pose = None
        if self._nominal is not None and self._nominal[0] > latest_s:
            self._nominal = None
        for name in [name for name, known in self._neighbours.items() if known.stamp_s > latest_s]:
            del self._neighbours[name]

    def _without_pose(self, now_s: float) -> SafeCommand:
        """Zero velocity: nothing is known to be closer or farther in any direction."""
        self._last_mps, self._last_s = np.zeros(3), now_s
        stamp_s, mode, reason, limit_s = math.nan, SafetyMode.POSE_LOST, "no own pose yet", self.params.pose_timeout_s
        if self._pose is not None:
            stamp_s = self._pose[0]
            if now_s - stamp_s <= limit_s:
                mode, limit_s = SafetyMode.NOMINAL_LOST, self.params.pose_hold_s
            reason = f"own pose is {now_s - stamp_s:.2f} s old (limit {limit_s:g} s)"
        nan = math.nan
        return SafeCommand(stamp_s, np.zeros(3), mode, reason, nan, nan, 0.0, 0.0, 0, nan, False)

    def _wanted(self, now_s: float, own_m: Array) -> tuple[Array, str]:
        """Nominal velocity after hold, height hold and limits (3,) [m/s], and why the nominal one is lost or ''."""
        lost, wanted_mps = "", np.zeros(3)
        if self.landing:
            wanted_mps[:2] = self.params.landing_gain_per_s * (self._landing_spot(own_m) - own_m[:2])
        elif self._nominal is None:
            lost = "no nominal velocity yet: holding"
        elif now_s - self._nominal[0] > self.params.nominal_timeout_s:
            age_s = now_s - self._nominal[0]
            lost = f"nominal velocity is {age_s:.2f} s old (limit {self.params.nominal_timeout_s:g} s): holding"
        else:
            wanted_mps = self._nominal[1].copy()
        climb_mps = self.airframe.climb_speed_mps
        wanted_mps[2] += self.params.height_gain_per_s * (self.arena.flight_height_m - own_m[2])
        wanted_mps[2] = min(max(wanted_mps[2], -climb_mps), climb_mps)
        wanted_mps = shorten(wanted_mps, self.airframe.max_speed_mps)
        period_s = 1.0 / self.params.rate_hz
        dt_s = period_s if self._last_s is None else min(max(now_s - self._last_s, 0.0), 2.0 * period_s)
        change_mps = shorten(wanted_mps - self._last_mps, self.airframe.max_acceleration_mps2 * dt_s)
        return self._last_mps + change_mps, lost

    def _landing_spot(self, own_m: Array) -> Array:
        """Where to come down (2,) [m]."""
        others_m = np.array([known.position_m[:2] for known in self._neighbours.values()]).reshape(-1, 2)
        p = self.params
        return free_spot(own_m[:2], others_m, p.landing_clearance_m, self.arena, self.discs_m, p.landing_reach_m)

    def _first_seen(self, name: str, stamp_s: float, position_m: Array) -> _Neighbour:
        own, other = self.airframe, self.others.get(name, self.airframe)
        distance_m = max(own.safety_distance_m, other.safety_distance_m)
        flattening = min(1.0, distance_m / max(own.downwash_m, other.downwash_m, distance_m))
        speed_mps = max(other.max_speed_mps, other.climb_speed_mps)
        return _Neighbour(stamp_s, position_m, np.zeros(3), distance_m, flattening, speed_mps)

    def _seen(self, now_s: float) -> _Seen:
        """The neighbours that count now; who is forgotten goes."""
        p = self.params
        self._neighbours = {n: k for n, k in self._neighbours.items() if now_s - k.stamp_s <= p.neighbour_forget_s}
        known = self._neighbours.values()
        position_m = np.array([k.position_m for k in known]).reshape(-1, 3)
        velocity_mps = np.array([k.velocity_mps for k in known]).reshape(-1, 3)
        figures = np.array([(k.stamp_s, k.distance_m, k.flattening, k.speed_mps) for k in known]).reshape(-1, 4)
        age_s = np.maximum(now_s - figures[:, 0], 0.0)
        height_m = position_m[:, 2]
        grounded = height_m < p.grounded_height_m
        still = grounded | (age_s > p.neighbour_timeout_s)
        return _Seen(
            position_m,
            np.where(still[:, None], 0.0, velocity_mps),
            age_s,
            figures[:, 1],
            np.where(grounded, 1.0, figures[:, 2]),
            np.where(grounded, 0.0, figures[:, 3]),
            np.where(still | (height_m < self.arena.height_min_m), guarantee.ALONE, guarantee.SHARED),
            tuple(self._neighbours),
        )

    def _constraints(self, own_m: Array, own_age_s: float, seen: _Seen) -> barrier.Constraints:
        most_mps, climb_mps = self.airframe.max_speed_mps, self.airframe.climb_speed_mps
        radius_m = guarantee.barrier_radius_m(
            seen.distance_m,
            self._hypotheses,
            most_mps,
            own_age_s,
            seen.speed_mps,
            np.minimum(seen.age_s, self.params.neighbour_timeout_s),
            seen.share,
        )
        pairs = barrier.pairs(
            own_m,
            seen.position_m,
            seen.velocity_mps,
            radius_m,
            seen.share,
            seen.flattening,
            self.params.barrier_gain_per_s,
            self.params.breach_tolerance_mps,
            most_mps,
        )
        inset_m = guarantee.wall_inset_m(self._hypotheses, most_mps, own_age_s)
        climb_inset_m = guarantee.wall_inset_m(self._hypotheses, climb_mps, own_age_s)
        insets_m = np.array([inset_m, inset_m, climb_inset_m])
        walls = barrier.walls(
            own_m,
            self._lower_m + insets_m,
            self._upper_m - insets_m,
            self.params.barrier_gain_per_s,
            self._return_mps,
        )
        return barrier.stack(pairs, walls, self._climb_limits)

    def _judge(
        self, mode: SafetyMode, given_up_mps: float, lost: str, constraints: barrier.Constraints, seen: _Seen
    ) -> tuple[SafetyMode, str]:
        """The mode to report and one sentence why."""
        if mode is SafetyMode.RELAXED:
            return mode, f"conditions cannot all hold: braking, separating ({given_up_mps:.2f} m/s given up)"
        if lost:
            return SafetyMode.NOMINAL_LOST, lost
        if mode is SafetyMode.PASSED:
            return mode, ""
        nearest = int(constraints.h.argmin())
        what = f"keeping clear of {seen.names[nearest]}" if nearest < len(seen.names) else "keeping inside the arena"
        return mode, what


def _climb_limits(climb_mps: float) -> barrier.Constraints:
    """|v_z| <= climb_mps; their h is infinite, as nothing forbidden is near."""
    b = np.full(2, -climb_mps)
    return barrier.Constraints(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), b, b, np.full(2, np.inf))
