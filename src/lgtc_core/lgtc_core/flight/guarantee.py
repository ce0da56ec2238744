"""What the barrier promises, under which hypotheses, and the radius that it takes to keep the promise.

**Claim.** Two drones that start at least D apart never come closer than D: D = safety_distance_m at one
height, downwash_m straight above each other, an ellipsoid in between (norm |.| below).

**Notation.** d distance of the two true positions, v_i and v_j the drones' speed bounds, alpha the
barrier's gain, T the filter's period, L the time from a command to its effect, tau the time constant with
which drone i follows a velocity (first order), u how much its velocity may otherwise differ from the
command, a_i and a_j the ages of the two positions when the command is computed, w the share of the
responsibility that drone i takes (1/2 where the other runs the same filter, 1 where it does not).

**Hypotheses.**
1. Speeds stay within v_i and v_j, whatever is commanded (the vehicle's acceleration suffices: alpha v <=
a_max). 2. A command is computed at least every T and takes effect within L; then hypothesis tau, u above.
3. Positions are true at their stamps; a_i and a_j are their true ages. Messages may be late or lost: what
counts is
   the age of the last one that came.
4. Either the other drone keeps its own half, or it is at rest; a drone that does neither (w = 1) moves as
it was last
   seen to move, within u.
5. Neighbours are heard from `required_range_m` on.
6. The conditions of all pairs can hold together. They can while every pair keeps h >= 0 below (standing
still is
   then allowed), so this fails only after another hypothesis has; the filter then reports RELAXED.

**Derivation.** The command obeys, with the measured difference D^ and h^ = |D^|^2 - R^2,

    2 D^.v_i >= -w alpha h^                                                        (barrier.py)

When the command acts, the drones have moved: |D^ - Delta| <= e + (v_i + v_j)(s - tau) for a command that is
s older than T + L, where s is distributed exponentially with mean tau (the first-order lag is that average
of past commands), and

    e = v_i (a_i + T + L + tau) + v_j (a_j + T + L + tau)                           mean displacement

Hence at distance d, averaging over s (variance of the displacement: ((v_i + v_j) tau)^2),

    d/dt (drone i's part of |Delta|^2) >= -w alpha [(d + e)^2 + ((v_i + v_j) tau)^2 - R^2] - 2 e v - 2 d u

with v = v_i for w = 1/2 and v_i + v_j for w = 1. At d = D this is not negative, so that d >= D stays
true, if

    R^2 = (D + e)^2 + ((v_i + v_j) tau)^2 + 2 (e v + D u) / (w alpha)               barrier_radius_m

The middle term vanishes for the paper's single integrator. The last one pays for the direction to the other
drone having turned since it was measured; without it, inflating by the displacement alone, the claim would
be false. A wall is flat, so nothing turns: its inset is v_i (a_i + T + L + tau) + u / alpha
(`wall_inset_m`).

The condition can bind only where w alpha (d^2 - R^2) < 2 d v_i, hence

    required_range_m = (v_i + sqrt(v_i^2 + w^2 alpha^2 R^2)) / (w alpha) + e        with the largest age
    allowed
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import ConfigError
from lgtc_core.flight.airframe import Airframe
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]

SHARED = 0.5
"""Share w of a drone whose neighbour runs the same filter."""
ALONE = 1.0
"""Share w of a drone whose neighbour does not."""


class Hypotheses(NamedTuple):
    """The figures of the hypotheses that belong to a configuration and not to a moment."""

    gain_per_s: float
    """alpha [1/s]."""
    delay_s: float
    """T + L [s]."""
    lag_s: float
    """tau [s]."""
    velocity_error_mps: float
    """u [m/s]."""


def displacement_m(hypotheses: Any, v_i: Any, a_i: Any, v_j: Any, a_j: Any) -> Any:
    """Mean displacement e [m] between two positions as measured and as they are when the command acts.

    v_i and v_j are the drones' speed bounds [m/s], a_i and a_j the ages of their positions [s]. Like the next two,
    plain arithmetic, for numbers and arrays alike: guards.py compiles it.
    """
    wait_s = hypotheses.delay_s + hypotheses.lag_s
    return v_i * (a_i + wait_s) + v_j * (a_j + wait_s)


def radius_m(hypotheses: Any, distance_m: Any, e: Any, v_i: Any, v_j: Any, w: Any) -> Any:
    """R of the derivation [m], in its letters; distance_m is D."""
    v = v_i + (w >= ALONE) * v_j
    paid = 2.0 * (e * v + distance_m * hypotheses.velocity_error_mps) / (w * hypotheses.gain_per_s)
    return np.sqrt((distance_m + e) ** 2 + ((v_i + v_j) * hypotheses.lag_s) ** 2 + paid)


def barrier_radius_m(
    distance_m: npt.ArrayLike,
    hypotheses: Hypotheses,
    own_speed_mps: npt.ArrayLike,
    own_age_s: npt.ArrayLike,
    other_speed_mps: npt.ArrayLike,
    other_age_s: npt.ArrayLike,
    share: npt.ArrayLike,
) -> Array:
    """Radius R [m] that keeps two drones `distance_m` apart; all arguments broadcast, share is 1/2 or 1."""
    given = (distance_m, own_speed_mps, own_age_s, other_speed_mps, other_age_s, share)
    d, v_i, a_i, v_j, a_j, w = (np.asarray(value, np.float64) for value in given)
    return np.asarray(radius_m(hypotheses, d, displacement_m(hypotheses, v_i, a_i, v_j, a_j), v_i, v_j, w))


def wall_inset_m(hypotheses: Any, v_i: float, a_i: float) -> Any:
    """How far inside a wall its barrier stands [m], so that the drone itself never crosses the wall.

    v_i is the drone's speed bound towards the wall [m/s], a_i the age of its position [s].
    """
    drift_m = v_i * (a_i + hypotheses.delay_s + hypotheses.lag_s)
    return drift_m + hypotheses.velocity_error_mps / hypotheses.gain_per_s


def required_range_m(
    distance_m: float,
    hypotheses: Hypotheses,
    own_speed_mps: float,
    own_age_s: float,
    other_speed_mps: float,
    other_age_s: float,
    share: float = SHARED,
) -> float:
    """Distance [m] from which a neighbour must be heard: beyond it no condition can bind."""
    args = (hypotheses, own_speed_mps, own_age_s, other_speed_mps, other_age_s)
    radius_m = float(barrier_radius_m(distance_m, *args, share))
    alpha = share * hypotheses.gain_per_s
    reach_m = (own_speed_mps + float(np.hypot(own_speed_mps, alpha * radius_m))) / alpha
    return reach_m + float(displacement_m(*args))


def check_configuration(
    name: str,
    airframe: Airframe,
    others: tuple[Airframe, ...],
    arena: Arena,
    hypotheses: Hypotheses,
    own_age_s: float,
    other_age_s: float,
) -> None:
    """Refuse a configuration in which the claim cannot hold.

    Args:
        name: of the drone, for the message.
        airframe: of the drone.
        others: airframes of the drones that it may meet.
        arena: where they fly; C is its `radius_m`.
        hypotheses: the filter's figures.
        own_age_s: largest age of the own position at which the drone still flies [s].
        other_age_s: largest age of a neighbour's position at which it still counts as heard [s].

    Raises:
        ConfigError: with what the configuration has and what it needs.
    """
    alpha, v_mps = hypotheses.gain_per_s, airframe.max_speed_mps
    braking_mps2 = alpha * v_mps
    if braking_mps2 > airframe.max_acceleration_mps2 * (1.0 + 1e-9):
        raise ConfigError(
            name,
            "max_acceleration_mps2",
            f"{airframe.max_acceleration_mps2:g} m/s^2",
            f"at least barrier_gain_per_s * max_speed_mps = {braking_mps2:g} m/s^2, or the drone cannot brake as "
            "fast as the barrier asks; lower the gain or the speed",
        )
    wait_s = hypotheses.delay_s + hypotheses.lag_s
    if alpha * wait_s > 1.0:
        raise ConfigError(
            name,
            "barrier_gain_per_s",
            f"{alpha:g}/s",
            f"at most 1 / (period + latency + velocity_lag_s) = {1.0 / wait_s:g}/s, or the barrier oscillates",
        )
    for other in others or (airframe,):
        needed_m = required_range_m(
            max(airframe.safety_distance_m, other.safety_distance_m),
            hypotheses,
            v_mps,
            own_age_s,
            max(other.max_speed_mps, other.climb_speed_mps),
            other_age_s,
        )
        if arena.radius_m < needed_m:
            raise ConfigError(
                name,
                "arena.communication_radius",
                f"{arena.communication_radius:g} ({arena.radius_m:.2f} m)",
                f"at least {needed_m / arena.scale_m:.3f} ({needed_m:.2f} m), or a neighbour is heard too late to be "
                "avoided; lower the speeds or the timeouts",
            )
    inset_m = wall_inset_m(hypotheses, v_mps, own_age_s)
    room_m = min(arena.half_extent_m)
    if inset_m >= room_m:
        raise ConfigError(
            name, "arena.half_extent_m", f"{room_m:g} m", f"more than the wall's inset of {inset_m:.2f} m"
        )
    climb_inset_m = wall_inset_m(hypotheses, airframe.climb_speed_mps, 0.0)
    slack_m = min(arena.flight_height_m - arena.height_min_m, arena.height_max_m - arena.flight_height_m)
    if slack_m < climb_inset_m:
        raise ConfigError(
            name,
            "arena.flight_height_m",
            f"{arena.flight_height_m:g} m, {slack_m:.3f} m from the height band's edge",
            f"at least {climb_inset_m:.3f} m from height_min_m and height_max_m",
        )
