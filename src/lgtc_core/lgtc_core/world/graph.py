"""Who hears whom (Section II) and the graph's row-normalised matrix (Remark 1).

N_i = { j != i : |p_i - p_j| <= C }
S_ij = [j in N_i] / |N_i|,  a row of zeros for an agent without neighbours
"""

from __future__ import annotations

from lgtc_core.world.namespace import Array, indices, namespace


def squared_distances(a: Array, b: Array) -> Array:
    """|a_i - b_j|^2 for every pair.

    Args:
        a: (..., N, 2) positions.
        b: (..., M, 2) positions, same frame and unit.

    Returns:
        (..., N, M), that unit squared.
    """
    east = a[..., :, None, 0] - b[..., None, :, 0]
    north = a[..., :, None, 1] - b[..., None, :, 1]
    return east * east + north * north  # axis by axis: half the time of one array (..., N, M, 2)


def adjacency(p: Array, radius: float, alive: Array | None = None) -> Array:
    """Neighbourhood of every agent, without itself.

    Args:
        p: (..., N, 2) positions, normalised arena frame.
        radius: communication radius C, same unit.
        alive: (..., N) bool, agents that are in the air; None: all.

    Returns:
        (..., N, N) bool, [i, j] true where i hears j. Symmetric.
    """
    near = others(p) & (squared_distances(p, p) <= radius * radius)
    return near if alive is None else near & alive[..., :, None] & alive[..., None, :]


def others(p: Array) -> Array:
    """(N, N) bool, true off the diagonal, for positions p (..., N, 2)."""
    number = indices(p.shape[-2], p)
    return number[:, None] != number[None, :]


def row_normalised(adjacent: Array) -> Array:
    """S of eqs. (5), (6): every row sums to 1, or to 0 for an agent that hears nobody.

    Args:
        adjacent: (..., N, N) bool.

    Returns:
        (..., N, N) float.
    """
    xp = namespace(adjacent)
    weight = xp.where(adjacent, 1.0, 0.0)
    degree = weight.sum(-1)
    return weight / xp.where(degree > 0, degree, 1.0)[..., None]
