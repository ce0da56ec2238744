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

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.flight.guarantee import ALONE

Array = npt.NDArray[np.float64]


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


def no_constraints(n: int) -> Constraints:
    """The empty set of conditions in n dimensions."""
    return Constraints(np.empty((0, n)), np.empty(0), np.empty(0), np.empty(0))


def stack(*parts: Constraints) -> Constraints:
    """All conditions together, in the order given."""
    return Constraints(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


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
        before it
            counts (observed velocities are noisy) [m/s].
        most_mps: no condition asks for receding faster than this [m/s].
    """
    delta = own_m - others_m
    weighted = delta.copy()
    if delta.shape[-1] == 3:
        weighted[:, 2] *= flattening**2
    h = np.einsum("kn,kn->k", delta, weighted) - radii_m**2
    length = np.linalg.norm(weighted, axis=-1)
    together = length < 1e-9  # no direction to recede in: any will do
    if together.any():
        weighted[together] = np.eye(delta.shape[-1])[0]
        length = np.where(together, 1.0, length)
    A = weighted / length[:, None]
    allowed_mps = gain_per_s * h / (2.0 * length)  # closing speed that the pair may have
    closing_mps = np.einsum("kn,kn->k", A, velocities_mps)  # j's part of it
    alone = shares >= ALONE
    owed = -shares * allowed_mps
    breach = closing_mps - (1.0 - shares) * allowed_mps - np.where(alone, 0.0, breach_tolerance_mps)
    made_up = np.where(alone, breach, np.maximum(breach, 0.0))
    b = np.minimum(owed + made_up, most_mps)
    return Constraints(A, b, np.minimum(np.minimum(owed, b), 0.0), h)


def walls(own_m: Array, lower_m: Array, upper_m: Array, gain_per_s: float, most_mps: Array) -> Constraints:
    """Conditions of an axis-aligned box: first the lower, then the upper walls.

    Args:
        own_m: own position (n,), frame "world" [m].
        lower_m: lower walls (n,) [m], insets already added.
        upper_m: upper walls (n,) [m], insets already subtracted.
        gain_per_s: alpha [1/s].
        most_mps: (n,) no wall asks for returning faster than this [m/s].
    """
    h = np.concatenate([own_m - lower_m, upper_m - own_m])
    b = np.minimum(-gain_per_s * h, np.concatenate([most_mps, most_mps]))
    return Constraints(_normals(own_m.shape[0]), b, np.minimum(b, 0.0), h)


@cache
def _normals(n: int) -> Array:
    """Inward normals of a box in n dimensions (2 n, n)."""
    normals = np.concatenate([np.eye(n), -np.eye(n)])
    normals.flags.writeable = False
    return normals
