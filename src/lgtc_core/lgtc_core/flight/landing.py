"""Where to come down: the nearest place that has nobody below or beside it and that nobody serves.

    spot = argmin |q - p|   over { p } and places around every other drone and disc, with
        |q - p_j| >= clearance for all drones j,   |q - d_m| >= R_m + clearance for all discs m,   |q - p| <= reach

A drone descends straight, by its firmware, and no filter corrects it there; so it looks before it descends. That
matters where a drone has landed below the place that another has taken over from it. Where no such place is within
reach, the discs do not count: to come down beside somebody who serves is better than to fall on the way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]

NO_DISCS_M: Array = np.empty((0, 3))
_DIRECTIONS = 24
_ANGLE = np.linspace(0.0, 2.0 * np.pi, _DIRECTIONS, endpoint=False)
_RING: Array = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], -1)
_SLACK = 1.02
"""Candidates stand this much farther off than needed, so that rounding and noise do not spoil them."""
_AT_ONCE = 16
"""Candidates compared with everybody in one go: the answer is mostly among the nearest."""


def is_clear(spot_m: Array, others_m: Array, clearance_m: float) -> npt.NDArray[np.bool_]:
    """Which places (..., 2) are at least `clearance_m` from every other drone (k, 2) [m, frame "world"]."""
    return _all_apart(spot_m, others_m, np.full(len(others_m), clearance_m))


def free_spot(
    position_m: Array,
    others_m: Array,
    clearance_m: float,
    arena: Arena,
    discs_m: Array = NO_DISCS_M,
    reach_m: float = np.inf,
) -> Array:
    """Nearest place to land (2,), frame "world" [m].

    Args:
        position_m: own position (2,).
        others_m: the other drones, in the air and on the ground (k, 2).
        clearance_m: how far from each of them it must be, and from the rim of each disc [m].
        arena: the place lies inside, half the clearance from its walls.
        discs_m: centres and radii of the discs to keep out of (m, 3).
        reach_m: places farther off do not count [m].

    Returns:
        The own position where it is clear already, or where nothing within reach is.
    """
    for keep_out_m in (discs_m, NO_DISCS_M) if len(discs_m) else (NO_DISCS_M,):
        centres_m = np.concatenate([others_m, keep_out_m[:, :2]])
        apart_m = np.concatenate([np.zeros(len(others_m)), keep_out_m[:, 2]]) + clearance_m
        if _all_apart(position_m, centres_m, apart_m):
            return position_m
        candidates_m = _around(position_m, centres_m, _SLACK * apart_m)
        offset_m = candidates_m - position_m
        far_m = np.hypot(offset_m[:, 0], offset_m[:, 1])
        allowed = np.flatnonzero(arena.contains(candidates_m, 0.5 * clearance_m) & (far_m <= reach_m))
        nearest_m = candidates_m[allowed[np.argsort(far_m[allowed], kind="stable")]]
        for first in range(0, len(nearest_m), _AT_ONCE):
            some_m = nearest_m[first : first + _AT_ONCE]
            apart = _all_apart(some_m, centres_m, apart_m)
            if apart.any():
                return np.asarray(some_m[np.argmax(apart)])
    return position_m


def _all_apart(spot_m: Array, centres_m: Array, apart_m: Array) -> npt.NDArray[np.bool_]:
    """Which places (..., 2) are at least `apart_m` (k,) from the centres (k, 2)."""
    offset_m = spot_m[..., None, :] - centres_m
    return np.asarray((np.hypot(offset_m[..., 0], offset_m[..., 1]) >= apart_m).all(-1), np.bool_)


def _around(position_m: Array, centres_m: Array, apart_m: Array) -> Array:
    """Places around every centre at its distance (n, 2), and the ones straight outward from a position."""
    candidates_m = (centres_m[:, None, :] + apart_m[:, None, None] * _RING).reshape(-1, 2)
    away_m = position_m - centres_m
    far_m = np.hypot(away_m[:, 0], away_m[:, 1])
    straight = far_m > 1e-6  # straight away from one is the shortest way out where it is the only one
    outward_m = centres_m[straight] + (apart_m / np.maximum(far_m, 1e-6))[straight, None] * away_m[straight]
    return np.concatenate([outward_m, candidates_m])
