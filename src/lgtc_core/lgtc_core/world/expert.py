r"""The yardsticks: the central expert of Section IV and the greedy floor.

Expert: eq. (2) with full information gives every agent its consumer; inside a disc every agent gets its own
place (slots on a
hexagonal grid, so that a crowd fits); a proportional controller flies there, with central collision avoidance:

    a_i = clip( k (s_i - p_i) ) + sum_j w (1 - |p_i - p_j| / rho)_+ (p_i - p_j) / |p_i - p_j|,   |a_i| <= 1

Spread: the same without a centre. An agent flies only as far into the disc as the n agents that have chosen it leave
room for, and keeps its distance from its neighbours; it needs no more than what it hears within C:

    a_i = clip( (c + (1 - c) |u_i|) (u_i + sum_j w (1 - |p_i - p_j| / s)_+ (p_i - p_j) / |p_i - p_j|) )
    u_i = clip( k (d_m - p_i) (1 - rho_n / |d_m - p_i|)_+ )
    rho_n = .85 s_h sqrt( n sqrt(3) / (2 pi) ),  rho_1 = 0        radius of n places on a hexagonal grid, spacing s_h

At c = 1 neighbours in a full disc throw each other to and fro from tick to tick. Calm (c < 1, another w and limit of
rho_n) they come to rest there, and press the outermost in.

Greedy: every agent flies to the nearest consumer that asks for what it carries.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from lgtc_core.world.graph import others, squared_distances
from lgtc_core.world.namespace import Array, indices, namespace

SLOT_SPACING = 0.12
"""Distance of neighbouring slots, normalised: 13 of them lie inside a disc of radius .22."""
GAIN = 5.0
"""k: the speed falls below the maximum within .2 of the goal; stable with a vehicle lag of .3 s at v_max = 1 / s."""
REPULSION_DISTANCE = 0.12
"""rho, normalised; not above SLOT_SPACING, or agents in their slots push each other."""
REPULSION = 1.5
"""w."""
SPREAD_DISTANCE = 0.14
"""s, normalised: a bit above REPULSION_DISTANCE, since agents without slots stand where pull and push balance."""
CROWD_SHARE, CROWD_LIMIT = 0.85, 0.16
"""Share of the radius that a crowd needs at which the pull ends, and its largest value, well inside a disc of .22."""
CALM, CALM_REPULSION, CALM_LIMIT = 0.5, 2.0, 0.12
"""c, w, largest rho_n of calm crowds. Twelve in every disc, told eq. (2): .95 of the expert's return, shaking at a
quarter of the maximal speed, without; .997 at 4 % with. Below c = .4 latecomers do not get in."""


def hexagonal_slots(count: int, spacing: float = SLOT_SPACING) -> NDArray[np.float64]:
    """(count, 2) offsets on a hexagonal grid, the nearest to the centre first."""
    reach = int(np.ceil(np.sqrt(count))) + 1
    i, j = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1), indexing="ij")
    grid = spacing * np.stack([i + 0.5 * j, np.sqrt(0.75) * j], -1).reshape(-1, 2)
    radius = np.round(np.hypot(grid[:, 0], grid[:, 1]), 9)
    angle = np.round(np.arctan2(grid[:, 1], grid[:, 0]), 9)
    return grid[np.lexsort((angle, radius))[:count]]


def slot_goals(p: Array, d: Array, target: Array, spacing: float = SLOT_SPACING) -> NDArray[np.float64]:
    """Every agent's own place at its consumer.

    The n agents of a consumer share its n innermost slots: the pair of agent and free slot that is nearest is fixed
    first, and so on. Agents without a consumer keep their position.

    Args:
        p: (W, N, 2) agents.
        d: (W, M, 2) consumers.
        target: (W, N) consumer of every agent, negative for none.
        spacing: distance of neighbouring slots.

    Returns:
        (W, N, 2), same frame as p.
    """
    p, d = np.ascontiguousarray(p, np.float64), np.ascontiguousarray(d, np.float64)
    offsets = hexagonal_slots(p.shape[1], spacing)
    result: NDArray[np.float64] = _slot_goals(p, d, np.ascontiguousarray(target, np.int64), offsets)
    return result


@numba.njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _slot_goals(
    p: NDArray[np.float64], d: NDArray[np.float64], target: NDArray[np.int64], offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    goals = p.copy()
    n = p.shape[1]
    free = np.zeros(n, np.bool_)
    waiting = np.zeros(n, np.bool_)
    for w in range(p.shape[0]):
        for m in range(d.shape[1]):
            count = 0
            for i in range(n):
                waiting[i] = target[w, i] == m
                if waiting[i]:
                    free[count] = True
                    count += 1
            for _ in range(count):
                least, agent, slot = np.inf, -1, -1
                for i in range(n):
                    if not waiting[i]:
                        continue
                    for q in range(count):
                        if free[q]:
                            dx = p[w, i, 0] - d[w, m, 0] - offsets[q, 0]
                            dy = p[w, i, 1] - d[w, m, 1] - offsets[q, 1]
                            if dx * dx + dy * dy < least:
                                least, agent, slot = dx * dx + dy * dy, i, q
                waiting[agent], free[slot] = False, False
                goals[w, agent, 0] = d[w, m, 0] + offsets[slot, 0]
                goals[w, agent, 1] = d[w, m, 1] + offsets[slot, 1]
    return goals


def expert_action(p: Array, goal: Array, alive: Array) -> Array:
    """Proportional controller with collision avoidance (formula above).

    Args:
        p: (..., N, 2) agents.
        goal: (..., N, 2) where each wants to be.
        alive: (..., N) bool.

    Returns:
        (..., N, 2), norm at most 1; zero for dead agents.
    """
    action = _shorten(GAIN * (goal - p)) + _away(p, alive, REPULSION_DISTANCE, REPULSION)
    return namespace(p).where(alive[..., None], _shorten(action), 0.0)


def crowd_radius(count: Array, limit: float = CROWD_LIMIT) -> Array:
    """rho_n, normalised, at most `limit`, for `count` agents in one disc, any shape."""
    xp = namespace(count)
    needed = CROWD_SHARE * SLOT_SPACING * xp.sqrt(xp.clip(count, 0.0, None) * (3.0**0.5 / (2.0 * np.pi)))
    return xp.where(count > 1.5, xp.clip(needed, 0.0, limit), 0.0 * needed)


def spread_action(p: Array, d: Array, target: Array, alive: Array, calm: bool = False) -> Array:
    """The expert's controller without slots (formula above).

    Args:
        p: (..., N, 2) agents.
        d: (..., M, 2) consumers.
        target: (..., N) consumer of every agent, >= 0 where it lives.
        alive: (..., N) bool.
        calm: come to rest in a full disc.

    Returns:
        (..., N, 2), norm at most 1; zero for dead agents.
    """
    xp = namespace(p)
    c, w, limit = (CALM, CALM_REPULSION, CALM_LIMIT) if calm else (1.0, REPULSION, CROWD_LIMIT)
    chosen = xp.where(target[..., :, None] == indices(d.shape[-2], d), 1.0, 0.0) * alive[..., None]
    offset = chosen @ d - p
    crowd = (chosen @ chosen.sum(-2)[..., None])[..., 0]
    length = xp.sqrt(xp.clip(offset[..., 0] ** 2 + offset[..., 1] ** 2, 1e-12, None))
    pull = _shorten(GAIN * offset * xp.clip(1.0 - crowd_radius(crowd, limit) / length, 0.0, None)[..., None])
    pace = c + (1.0 - c) * xp.sqrt(pull[..., 0] ** 2 + pull[..., 1] ** 2)
    action = pace[..., None] * (pull + _away(p, alive, SPREAD_DISTANCE, w))
    return xp.where(alive[..., None], _shorten(action), 0.0)


def _away(p: Array, alive: Array, reach: float, strength: float) -> Array:
    """(..., N, 2) push away from neighbours nearer than `reach`."""
    xp = namespace(p)
    distance = xp.sqrt(xp.clip(squared_distances(p, p), 1e-12, None))
    close = others(p) & alive[..., :, None] & alive[..., None, :]
    push = xp.where(close, strength * xp.clip(1.0 - distance / reach, 0.0, None) / distance, 0.0)
    return ((p[..., :, None, :] - p[..., None, :, :]) * push[..., None]).sum(-2)


def _shorten(vector: Array) -> Array:
    """Vectors (..., 2) cut to length 1."""
    xp = namespace(vector)
    length = xp.sqrt(vector[..., 0] ** 2 + vector[..., 1] ** 2)
    return vector / xp.clip(length, 1.0, None)[..., None]


def greedy_target(p: Array, supply: Array, d: Array, outstanding: Array, exists: Array) -> Array:
    """Nearest consumer that still asks for something the agent carries; else the nearest one.

    Args:
        p: (..., N, 2) agents.
        supply: (..., N, r) carried.
        d: (..., M, 2) consumers.
        outstanding: (..., M, r) what is asked for.
        exists: (..., M) bool.

    Returns:
        (..., N) int.
    """
    xp = namespace(p)
    useful = ((supply[..., :, None, :] > 0) & (outstanding[..., None, :, :] > 0)).any(-1)
    penalty = xp.where(useful, 0.0, 100.0) + xp.where(exists, 0.0, 10000.0)[..., None, :]
    return (xp.sqrt(squared_distances(p, d)) + penalty).argmin(-1)
