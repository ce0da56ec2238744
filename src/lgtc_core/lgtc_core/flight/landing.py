"""Where to come down: the nearest place that has nobody below or beside it.

    spot = argmin |q - p|   over { p } and places around every other drone   with |q - p_j| >= clearance for all j

A drone descends straight, by its firmware, and no filter corrects it there; so it looks before it descends. That
matters where a drone has landed below the place that another has taken over from it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]

_DIRECTIONS = 24
_SLACK = 1.02
"""Candidates stand this much farther off than needed, so that rounding and noise do not spoil them."""


def is_clear(spot_m: Array, others_m: Array, clearance_m: float) -> npt.NDArray[np.bool_]:
    """Which places (..., 2) are at least `clearance_m` from every other drone (k, 2) [m, frame "world"]."""
    offset_m = spot_m[..., None, :] - others_m
    return np.asarray((np.hypot(offset_m[..., 0], offset_m[..., 1]) >= clearance_m).all(-1), np.bool_)


def free_spot(position_m: Array, others_m: Array, clearance_m: float, arena: Arena) -> Array:
    """Nearest place to land (2,), frame "world" [m].

    Args:
        position_m: own position (2,).
        others_m: the other drones, in the air and on the ground (k, 2).
        clearance_m: how far from each of them it must be [m].
        arena: the place lies inside, half the clearance from its walls.

    Returns:
        The own position where it is clear already, or where nothing within reach is.
    """
    if is_clear(position_m, others_m, clearance_m):
        return position_m
    angle = np.linspace(0.0, 2.0 * np.pi, _DIRECTIONS, endpoint=False)
    ring_m = _SLACK * clearance_m * np.stack([np.cos(angle), np.sin(angle)], -1)
    candidates_m = (others_m[:, None, :] + ring_m).reshape(-1, 2)
    away_m = position_m - others_m
    far_m = np.hypot(away_m[:, 0], away_m[:, 1])
    straight = far_m > 1e-6  # straight away from one drone is the shortest way out where it is the only one
    outward_m = others_m[straight] + _SLACK * clearance_m * away_m[straight] / far_m[straight, None]
    candidates_m = np.concatenate([outward_m, candidates_m])
    good = arena.contains(candidates_m, 0.5 * clearance_m) & is_clear(candidates_m, others_m, clearance_m)
    if not good.any():
        return position_m
    candidates_m = candidates_m[good]
    offset_m = candidates_m - position_m
    return np.asarray(candidates_m[np.argmin(np.hypot(offset_m[:, 0], offset_m[:, 1]))])
