"""Barrier conditions as rows of A v >= b. Building them is all that happens here; safety_filter.py solves.

Pair of drones i (own) and j, Delta = p_i - p_j, metric P = diag(1, 1, (D / D_z)^2) with the safety distance D at one
height and D_z straight above each other (the airflow's "taller ellipsoid", as in Preiss et al., "Downwash-aware
trajectory planning for large quadrotor teams", IROS 2017):

    h_ij = Delta^T P Delta - R^2,         d/dt h_ij = 2 Delta^T P (v_i - v_j)

To keep h_ij >= 0 it suffices that d/dt h_ij >= -alpha h_ij (Ames et al., "Control barrier functions", ECC 2019).
With shared responsibility (Wang, Ames, Egerstedt, "Safety barrier certificates for collisions-free multirobot
systems", T-RO 2017) drone i owes the share w = 1/2 of it, whatever j does, and j the other half:

    2 Delta^T P v_i >= -w alpha h_ij                                            owed in any case

Where j does not cooperate (w = 1), or is seen to approach faster than its own half allows, i also makes up for j's
observed velocity v_j, so that the condition holds for the relative velocity:

    2 Delta^T P (v_i - v_j) >= -alpha h_ij                                      relative velocity

Rows are divided by 2 |P Delta|, so that b is a speed: the least at which drone i must recede from j. As h is
quadratic, a step of constant velocities obeys h(t + T) >= (1 - alpha T) h(t) exactly: the term that the linear
condition leaves out, T^2 |v_i - v_j|^2, is positive. Sampling alone costs nothing; what ages, latency and lag cost
stands in guarantee.py and enters by R.

Wall: h = n.p - offset - inset,  n.v >= -alpha h. The same in two and in three dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import compiled
from lgtc_core.flight.guarantee import ALONE

Array = npt.NDArray[np.float64]

_COINCIDENT = 1e-9
"""Below this |P Delta| [m] there is no direction to recede in: any will do."""


class Constraints(NamedTuple):
    """Linear conditions A v >= b on the velocity v (n,) [m/s], frame "world"."""

    A: Array  # (k, n), rows of length one
    """Directions in which the drone must not be slower than b."""
    b: Array  # (k,)
    """Least speed in direction A [m/s]; negative where moving against it is still allowed."""
    floor: Array  # (k,)
    """Part of b that is kept even when not all of b can be: min(b, what is owed in any case, 0) [m/s]."""
    h: Array  # (k,)
    """Barrier value: pairs [m^2], walls [m]; negative inside the forbidden set."""


def empty_constraints(k: int, n: int) -> Constraints:
    """Room for k conditions in n dimensions; nothing is filled in."""
    return Constraints(np.empty((k, n)), np.empty(k), np.empty(k), np.empty(k))


@compiled
def write_pair(
    into: Constraints,
    row: int,
    own_m: Array,
    other_m: Array,
    velocity_mps: Array,
    radius_m: float,
    share: float,
    flattening: float,
    gain_per_s: float,
    breach_tolerance_mps: float,
    most_mps: float,
) -> None:
    """Write the condition of one other drone into row `row`. Arguments as in `pairs`, of one drone; compiled."""
    n = own_m.shape[0]
    h, square = -radius_m * radius_m, 0.0
    for c in range(n):
        delta = own_m[c] - other_m[c]
        weighted = delta * flattening * flattening if c == 2 else delta
        h += delta * weighted
        square += weighted * weighted
        into.A[row, c] = weighted
    length = np.sqrt(square)
    if length < _COINCIDENT:
        length = 1.0
        for c in range(n):
            into.A[row, c] = 1.0 if c == 0 else 0.0
    allowed_mps = gain_per_s * h / (2.0 * length)  # closing speed that the pair may have
    closing_mps = 0.0  # j's part of it
    for c in range(n):
        into.A[row, c] /= length
        closing_mps += into.A[row, c] * velocity_mps[c]
    owed_mps = -share * allowed_mps
    breach_mps = closing_mps - (1.0 - share) * allowed_mps
    made_up_mps = breach_mps if share >= ALONE else max(breach_mps - breach_tolerance_mps, 0.0)
    into.b[row] = min(owed_mps + made_up_mps, most_mps)
    into.floor[row] = min(min(owed_mps, into.b[row]), 0.0)
    into.h[row] = h


@compiled
def write_walls(
    into: Constraints,
    row: int,
    own_m: Array,
    lower_m: Array,
    upper_m: Array,
    inset_m: Array,
    gain_per_s: float,
    most_mps: Array,
) -> None:
    """Write the conditions of a box into the 2 n rows from `row` on: lower walls, then upper ones. Compiled.

    Args:
        into: where to.
        row: the first row.
        own_m: own position (n,), frame "world" [m].
        lower_m: lower walls (n,) [m].
        upper_m: upper walls (n,) [m].
        inset_m: how far inside the walls the barriers stand (n,) [m].
        gain_per_s: alpha [1/s].
        most_mps: (n,) no wall asks for returning faster than this [m/s].
    """
    n = own_m.shape[0]
    for c in range(n):
        for side in range(2):
            at = row + c + side * n
            inside_m = upper_m[c] - own_m[c] if side else own_m[c] - lower_m[c]
            h = inside_m - inset_m[c]
            for d in range(n):
                into.A[at, d] = 0.0
            into.A[at, c] = -1.0 if side else 1.0
            into.b[at] = min(-gain_per_s * h, most_mps[c])
            into.floor[at] = min(into.b[at], 0.0)
            into.h[at] = h


@compiled
def _write_pairs(
    into: Constraints,
    own_m: Array,
    others_m: Array,
    velocities_mps: Array,
    radii_m: Array,
    shares: Array,
    flattening: Array,
    gain_per_s: float,
    breach_tolerance_mps: float,
    most_mps: float,
) -> None:
    for k in range(others_m.shape[0]):
        write_pair(
            into, k, own_m, others_m[k], velocities_mps[k], radii_m[k], shares[k], flattening[k], gain_per_s,
            breach_tolerance_mps, most_mps,
        )  # fmt: skip


def pairs(
    own_m: Array,
    others_m: Array,
    velocities_mps: Array,
    radii_m: Array,
    shares: Array,
    flattening: Array,
    gain_per_s: float,
    breach_tolerance_mps: float,
    most_mps: float,
) -> Constraints:
    """One condition for every other drone.

    Args:
        own_m: own position (n,), frame "world" [m].
        others_m: positions of the others (k, n) [m].
        velocities_mps: their velocities as observed (k, n) [m/s]; zeros where unknown.
        radii_m: barrier radii R (k,) [m].
        shares: shares w (k,), 1/2 or 1.
        flattening: D / D_z (k,), 1 for a sphere; used in three dimensions only.
        gain_per_s: alpha [1/s].
        breach_tolerance_mps: how much faster than its half a cooperating drone must be seen to approach
            before it counts (observed velocities are noisy) [m/s].
        most_mps: no condition asks for receding faster than this [m/s].
    """
    into = empty_constraints(*others_m.shape)
    _write_pairs(
        into, _plain(own_m), _plain(others_m), _plain(velocities_mps), _plain(radii_m), _plain(shares),
        _plain(flattening), float(gain_per_s), float(breach_tolerance_mps), float(most_mps),
    )  # fmt: skip
    return into


def walls(own_m: Array, lower_m: Array, upper_m: Array, gain_per_s: float, most_mps: Array) -> Constraints:
    """Conditions of an axis-aligned box: first the lower, then the upper walls.

    Args:
        own_m: own position (n,), frame "world" [m].
        lower_m: lower walls (n,) [m], insets already added.
        upper_m: upper walls (n,) [m], insets already subtracted.
        gain_per_s: alpha [1/s].
        most_mps: (n,) no wall asks for returning faster than this [m/s].
    """
    n = own_m.shape[0]
    into = empty_constraints(2 * n, n)
    own_m, lower_m, upper_m, most_mps = map(_plain, (own_m, lower_m, upper_m, most_mps))
    write_walls(into, 0, own_m, lower_m, upper_m, np.zeros(n), float(gain_per_s), most_mps)
    return into


def _plain(values: Array) -> Array:
    """The array as compiled code takes it: contiguous and writable."""
    return np.require(values, np.float64, ["C", "W"])
