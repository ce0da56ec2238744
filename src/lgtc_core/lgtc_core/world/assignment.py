r"""Central assignment of agents to consumers, eq. (2).

    min_a  || rd - a^T rp ||^2  +  < D o (sum_k rp_k 1_M^T) + rp (1/rd)^T , a >
    s.t.   sum_j a_ij = 1,   sum_i a_ij >= 1,   a in {0,1}^{N x M}

rp (N, r) supplies, rd (M, r) demands, D_ij = |p_i - d_j|, o element-wise, <.,.> the element-wise sum, 1/rd
element-wise.

- 1/rd is singular where nothing is asked for: rd is clamped at DEMAND_FLOOR there, so that carrying what is
  not asked for
  costs 1 / DEMAND_FLOOR per unit.
- The cover constraint holds for consumers that ask for something. With fewer agents than those it cannot hold: it is
  dropped, and the answer says so (`relaxed_cover`).
- Three solvers answer behind one function: Gurobi where its licence covers the size, exact branch and bound
  (compiled), and
  moves and swaps from several starts (compiled, checked against the exact ones). The answer says which, and
  whether the
  cost is proven optimal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from lgtc_core.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Solver = Literal["auto", "gurobi", "exact", "heuristic"]
F = TypeVar("F", bound=Callable[..., Any])

DEMAND_FLOOR = 0.05
"""Smallest rd in 1/rd, in the fleet's unit of a kind."""
EXACT_NODES = 400_000
"""Branch and bound gives up beyond so many nodes (about a tenth of a second)."""
STARTS = 64
"""Starts of moves and swaps in a single solve; 64 reach a mean gap of .05 % at 50 x 10."""
GUROBI_BINARIES = 200
"""Largest quadratic problem that Gurobi's bundled licence accepts."""


def _compiled(function: F) -> F:
    return cast(F, numba.njit(cache=True, fastmath=False)(function))


class Assignment(NamedTuple):
    """Answer to eq. (2)."""

    target: Ints
    """(N,) index of every agent's consumer."""
    cost: float
    """Value of eq. (2)."""
    solver: str
    """Which one answered: gurobi, exact or heuristic."""
    optimal: bool
    """True: proven optimal."""
    relaxed_cover: bool
    """True: fewer agents than consumers that ask for something, so not everyone gets one."""


def linear_cost(p: Floats, supply: Floats, d: Floats, demand: Floats) -> Floats:
    """D o (sum_k rp_k 1^T) + rp (1/rd)^T of eq. (2), (N, M)."""
    distance = np.hypot(p[:, None, 0] - d[None, :, 0], p[:, None, 1] - d[None, :, 1])
    result: Floats = distance * supply.sum(1)[:, None] + supply @ (1.0 / np.maximum(demand, DEMAND_FLOOR)).T
    return result


@_compiled
def cost_of(target: Ints, linear: Floats, supply: Floats, demand: Floats) -> float:
    """Eq. (2) for one assignment `target` (N,); agents with a negative target take no part."""
    load = np.zeros_like(demand)
    total = 0.0
    for i in range(target.shape[0]):
        if target[i] >= 0:
            total += linear[i, target[i]]
            for k in range(demand.shape[1]):
                load[target[i], k] += supply[i, k]
    for m in range(demand.shape[0]):
        for k in range(demand.shape[1]):
            total += (demand[m, k] - load[m, k]) ** 2
    return total


def assign(p: Floats, supply: Floats, d: Floats, demand: Floats, solver: Solver = "auto") -> Assignment:
    """Solve eq. (2).

    Args:
        p: (N, 2) agents, normalised.
        supply: (N, r) carried, >= 0.
        d: (M, 2) consumers, normalised.
        demand: (M, r) outstanding demand, >= 0.
        solver: a certain one, or "auto": Gurobi, then exact, then heuristic, the first that can.

    Raises:
        InputError: shapes do not fit, a value is not finite or negative, or no consumer.
    """
    p, supply, d, demand = (np.ascontiguousarray(x, dtype=np.float64) for x in (p, supply, d, demand))
    _check(p, supply, d, demand)
    linear = linear_cost(p, supply, d, demand)
    needs = demand.sum(1) > 0
    relaxed = int(needs.sum()) > len(p)
    must = np.zeros_like(needs) if relaxed else needs
    if solver in ("auto", "gurobi") and linear.size <= GUROBI_BINARIES:
        target = _gurobi(linear, supply, demand, must)
        if target is not None:
            return Assignment(target, cost_of(target, linear, supply, demand), "gurobi", True, relaxed)
    if solver == "gurobi":
        raise InputError("assignment solver", f"gurobi for {linear.shape}", "a size and licence that Gurobi accepts")
    start, _ = _search(linear, supply, demand, must, np.full(len(p), -2, dtype=np.int64), STARTS, 1, 0.0, 0.0)
    if solver == "heuristic":
        return Assignment(start, cost_of(start, linear, supply, demand), "heuristic", False, relaxed)
    target, proven = _branch_and_bound(linear, supply, demand, must, start, EXACT_NODES)
    if solver == "exact" and not proven:
        raise InputError("assignment solver", f"exact for {linear.shape}", f"a problem of at most {EXACT_NODES} nodes")
    return Assignment(
        target, cost_of(target, linear, supply, demand), "exact" if proven else "heuristic", proven, relaxed
    )


def assign_batch(
    p: Floats,
    supply: Floats,
    d: Floats,
    demand: Floats,
    alive: NDArray[np.bool_],
    exists: NDArray[np.bool_],
    previous: Ints,
    starts: int = 8,
    seed: int = 0,
    gain: float = 0.0,
    margin: float = 0.0,
) -> Ints:
    """Labels of eq. (2) for many worlds at once, by compiled moves and swaps.

    Eq. (2) has many answers of nearly the same cost. With `gain` and `margin` above 0 the answer is the one that the
    team has nearly chosen already: from `previous`, the best single move or swap is made as long as it lowers the cost
    by more than `gain`; the result stands unless some other start finds a cost lower by more than the share `margin`.

    Args:
        p: (W, N, 2) agents.
        supply: (W, N, r) carried.
        d: (W, M, 2) consumers.
        demand: (W, M, r) outstanding.
        alive: (W, N); the dead take no part.
        exists: (W, M); the missing take no part.
        previous: (W, N) assignment before, the first start: of equal answers it stays. -2: none.
        starts: starts per world.
        seed: of the random starts; the answer is a function of it.
        gain: least drop of the cost of eq. (2) for which `previous` is changed by a move or swap.
        margin: share of the cost by which another start must be better than what came of `previous`.

    Returns:
        (W, N) consumer of every agent, -1 for dead agents and worlds without consumers.
    """
    return _batch(
        np.ascontiguousarray(p, np.float64), np.ascontiguousarray(supply, np.float64),
        np.ascontiguousarray(d, np.float64), np.ascontiguousarray(demand, np.float64),
        np.ascontiguousarray(alive), np.ascontiguousarray(exists),
        np.ascontiguousarray(previous, np.int64), starts, seed, gain, margin,
    )  # fmt: skip


def _check(p: Floats, supply: Floats, d: Floats, demand: Floats) -> None:
    shapes = f"p {p.shape}, supply {supply.shape}, d {d.shape}, demand {demand.shape}"
    fits = p.ndim == supply.ndim == d.ndim == demand.ndim == 2 and p.shape[1] == d.shape[1] == 2
    if not fits or len(p) != len(supply) or len(d) != len(demand) or supply.shape[1] != demand.shape[1]:
        raise InputError("assignment", shapes, "p (N, 2), supply (N, r), d (M, 2), demand (M, r)")
    if len(d) == 0:
        raise InputError("assignment", "no consumer", "at least one consumer")
    if not all(np.isfinite(x).all() for x in (p, supply, d, demand)) or (supply < 0).any() or (demand < 0).any():
        raise InputError(
            "assignment", "a value that is not finite, or a negative amount", "finite values, amounts >= 0"
        )


def _gurobi(linear: Floats, supply: Floats, demand: Floats, must: NDArray[np.bool_]) -> Ints | None:
    """Proven optimum by Gurobi's MIQP; None where Gurobi or a licence for this size is missing."""
    try:
        import gurobipy
    except ImportError:
        return None
    try:
        with (
            gurobipy.Env(params={"OutputFlag": 0, "Threads": 1}) as environment,
            gurobipy.Model(env=environment) as model,
        ):
            a = model.addMVar(linear.shape, vtype="B")
            shortage = model.addMVar(demand.shape, lb=-gurobipy.GRB.INFINITY)
            model.addConstr(shortage == demand - a.T @ supply)
            model.addConstr(a.sum(axis=1) == 1)
            model.addConstr(a.sum(axis=0) >= must.astype(float))
            model.setObjective((shortage * shortage).sum() + (linear * a).sum())
            model.Params.MIPGap = 0.0
            model.Params.MIPGapAbs = 1e-9
            model.optimize()
            if model.Status != gurobipy.GRB.OPTIMAL:
                return None
            return cast(Ints, np.asarray(a.X).argmax(axis=1).astype(np.int64))
    except gurobipy.GurobiError:
        return None


@_compiled
def _delta(load: Floats, demand: Floats, m: int, supply_row: Floats, sign: float) -> float:
    """Change of |rd_m - load_m|^2 when `sign * supply_row` is added to the load of m."""
    change = 0.0
    for k in range(demand.shape[1]):
        before = demand[m, k] - load[m, k]
        after = before - sign * supply_row[k]
        change += after * after - before * before
    return change


@_compiled
def _tally(target: Ints, supply: Floats, m_count: int) -> tuple[Floats, Ints]:
    """What every consumer is brought (M, r), and by how many agents (M,)."""
    load = np.zeros((m_count, supply.shape[1]))
    count = np.zeros(m_count, np.int64)
    for i in range(target.shape[0]):
        if target[i] >= 0:
            count[target[i]] += 1
            for k in range(supply.shape[1]):
                load[target[i], k] += supply[i, k]
    return load, count


@_compiled
def _descend(target: Ints, linear: Floats, supply: Floats, demand: Floats, must: NDArray[np.bool_]) -> None:
    """Moves of one agent and swaps of two until neither improves. `target` is changed in place; the cover is kept."""
    n, m_count, r = linear.shape[0], linear.shape[1], supply.shape[1]
    load, count = _tally(target, supply, m_count)
    row = np.zeros(r)
    improved = True
    while improved:
        improved = False
        for i in range(n):
            a = target[i]
            if a < 0 or (must[a] and count[a] == 1):
                continue
            leave = _delta(load, demand, a, supply[i], -1.0) - linear[i, a]
            best, gain = a, -1e-9
            for b in range(m_count):
                if b != a and np.isfinite(linear[i, b]):
                    change = leave + _delta(load, demand, b, supply[i], 1.0) + linear[i, b]
                    if change < gain:
                        best, gain = b, change
            if best != a:
                for k in range(r):
                    load[a, k] -= supply[i, k]
                    load[best, k] += supply[i, k]
                count[a] -= 1
                count[best] += 1
                target[i] = best
                improved = True
        for i in range(n):
            for j in range(i):
                a, b = target[i], target[j]
                if a < 0 or b < 0 or a == b:
                    continue
                for k in range(r):
                    row[k] = supply[j, k] - supply[i, k]
                change = _delta(load, demand, a, row, 1.0) + _delta(load, demand, b, row, -1.0)
                change += linear[i, b] + linear[j, a] - linear[i, a] - linear[j, b]
                if change < -1e-9:
                    for k in range(r):
                        load[a, k] += row[k]
                        load[b, k] -= row[k]
                    target[i], target[j] = b, a
                    improved = True


@_compiled
def _improve(
    target: Ints, linear: Floats, supply: Floats, demand: Floats, must: NDArray[np.bool_], least_gain: float
) -> None:
    """The best move of one agent or swap of two, as long as it gains more than `least_gain`. `target` is changed in
    place; the cover is kept. Slower than `_descend`, but the order in which agents are numbered plays no part.
    """
    n, m_count, r = linear.shape[0], linear.shape[1], supply.shape[1]
    load, count = _tally(target, supply, m_count)
    row = np.zeros(r)
    gain = min(-least_gain, -1e-9)
    while True:
        first, second, best, change_best = -1, -1, -1, gain
        for i in range(n):
            a = target[i]
            if a < 0:
                continue
            if not must[a] or count[a] > 1:
                leave = _delta(load, demand, a, supply[i], -1.0) - linear[i, a]
                for b in range(m_count):
                    if b != a and np.isfinite(linear[i, b]):
                        change = leave + _delta(load, demand, b, supply[i], 1.0) + linear[i, b]
                        if change < change_best:
                            first, second, best, change_best = i, -1, b, change
            for j in range(i):
                b = target[j]
                if b < 0 or a == b:
                    continue
                for k in range(r):
                    row[k] = supply[j, k] - supply[i, k]
                change = _delta(load, demand, a, row, 1.0) + _delta(load, demand, b, row, -1.0)
                change += linear[i, b] + linear[j, a] - linear[i, a] - linear[j, b]
                if change < change_best:
                    first, second, best, change_best = i, j, b, change
        if first < 0:
            return
        a = target[first]
        target[first] = best
        for k in range(r):
            load[a, k] -= supply[first, k]
            load[best, k] += supply[first, k]
        if second >= 0:
            target[second] = a
            for k in range(r):
                load[best, k] -= supply[second, k]
                load[a, k] += supply[second, k]
        else:
            count[a] -= 1
            count[best] += 1


@_compiled
def _start(target: Ints, linear: Floats, supply: Floats, demand: Floats, must: NDArray[np.bool_], number: int) -> None:
    """Fill `target`: agents in random order (the first: as numbered), each where it adds least; then the cover."""
    n, m_count, r = linear.shape[0], linear.shape[1], supply.shape[1]
    load = np.zeros((m_count, r))
    order = np.arange(n)
    if number > 0:
        order = np.random.permutation(n)
    count = np.zeros(m_count, np.int64)
    for i in order:
        if target[i] == -1:
            continue
        best, least = 0, np.inf
        for m in range(m_count):
            value = linear[i, m] + _delta(load, demand, m, supply[i], 1.0)
            if number > 1:
                value += np.random.rand() * 0.5
            if value < least:
                best, least = m, value
        target[i] = best
        count[best] += 1
        for k in range(r):
            load[best, k] += supply[i, k]
    _cover(target, linear, must, count)


@_compiled
def _cover(target: Ints, linear: Floats, must: NDArray[np.bool_], count: Ints) -> None:
    """Give every consumer of `must` an agent, from where one can be spared, at the least linear cost."""
    for m in range(linear.shape[1]):
        if must[m] and count[m] == 0:
            best, least = -1, np.inf
            for i in range(linear.shape[0]):
                a = target[i]
                if a >= 0 and (count[a] > 1 or not must[a]) and linear[i, m] - linear[i, a] < least:
                    best, least = i, linear[i, m] - linear[i, a]
            if best >= 0:
                count[target[best]] -= 1
                count[m] += 1
                target[best] = m


@_compiled
def _search(
    linear: Floats,
    supply: Floats,
    demand: Floats,
    must: NDArray[np.bool_],
    previous: Ints,
    starts: int,
    seed: int,
    gain: float,
    margin: float,
) -> tuple[Ints, float]:
    """Best of moves and swaps over `starts` starts; `previous` is the first of them unless it holds a -2."""
    np.random.seed(seed)
    n = linear.shape[0]
    best = np.full(n, -1, np.int64)
    least, bar = np.inf, np.inf
    for number in range(starts):
        target = previous.copy()
        kept = number == 0 and np.all(previous != -2)
        if kept:
            _cover(target, linear, must, _tally(target, supply, linear.shape[1])[1])
        else:
            for i in range(n):
                if target[i] != -1:
                    target[i] = -2
            _start(target, linear, supply, demand, must, number)
        if kept:
            _improve(target, linear, supply, demand, must, gain)
        else:
            _descend(target, linear, supply, demand, must)
        value = cost_of(target, linear, supply, demand)
        if value < bar - 1e-9:
            best, least = target, value
            bar = value * (1.0 - margin) if kept else value
    return best, least


@_compiled
def _batch(
    p: Floats,
    supply: Floats,
    d: Floats,
    demand: Floats,
    alive: NDArray[np.bool_],
    exists: NDArray[np.bool_],
    previous: Ints,
    starts: int,
    seed: int,
    gain: float,
    margin: float,
) -> Ints:
    worlds, n, m_count = p.shape[0], p.shape[1], d.shape[1]
    result = np.full((worlds, n), -1, np.int64)
    for w in range(worlds):
        linear = np.full((n, m_count), np.inf)
        must = np.zeros(m_count, np.bool_)
        asked = np.zeros_like(demand[w])
        for m in range(m_count):
            if exists[w, m]:
                asked[m] = demand[w, m]
                must[m] = demand[w, m].sum() > 0
                for i in range(n):
                    distance = np.hypot(p[w, i, 0] - d[w, m, 0], p[w, i, 1] - d[w, m, 1])
                    linear[i, m] = 0.0
                    for k in range(supply.shape[2]):
                        linear[i, m] += supply[w, i, k] * (distance + 1.0 / max(demand[w, m, k], DEMAND_FLOOR))
        if not exists[w].any():
            continue
        if must.sum() > alive[w].sum():
            must[:] = False
        before = previous[w].copy()
        for i in range(n):
            if not alive[w, i]:
                before[i] = -1
            elif before[i] < 0 or before[i] >= m_count or not exists[w, before[i]]:
                before[i] = -2
        if np.any(before >= 0):  # newcomers, and those whose consumer is gone, begin at the cheapest
            for i in range(n):
                if before[i] == -2:
                    before[i] = np.argmin(linear[i])
        result[w], _ = _search(linear, supply[w], asked, must, before, starts, seed + w, gain, margin)
    return result


@_compiled
def _bound(load: Floats, demand: Floats, left: Floats) -> float:
    """Lower bound of |rd - load - x|^2 over all x >= 0 with column sums `left`: water filling, per kind."""
    total = 0.0
    m_count = demand.shape[0]
    for k in range(demand.shape[1]):
        shortage = np.sort(demand[:, k] - load[:, k])[::-1]
        # The x that fills the largest shortages to one level; the level may be negative when more is left than
        # missing.
        running, level, filled = 0.0, 0.0, 0
        for m in range(m_count):
            running += shortage[m]
            candidate = (running - left[k]) / (m + 1)
            filled, level = m + 1, candidate
            if m + 1 < m_count and candidate >= shortage[m + 1]:
                break
        for m in range(m_count):
            rest = level if m < filled else shortage[m]
            total += rest * rest
    return total


@_compiled
def _branch_and_bound(
    linear: Floats, supply: Floats, demand: Floats, must: NDArray[np.bool_], start: Ints, nodes: int
) -> tuple[Ints, bool]:
    """Depth-first search with the bound of `_bound`; (best, proven)."""
    n, m_count, r = linear.shape[0], linear.shape[1], supply.shape[1]
    order = np.argsort(-supply.sum(axis=1))
    best = start.copy()
    least = cost_of(best, linear, supply, demand)
    left = np.zeros((n + 1, r))
    cheapest = np.zeros(n + 1)
    for depth in range(n - 1, -1, -1):
        left[depth] = left[depth + 1] + supply[order[depth]]
        cheapest[depth] = cheapest[depth + 1] + linear[order[depth]].min()
    load = np.zeros((m_count, r))
    count = np.zeros(m_count, np.int64)
    needed = must.sum()
    target = np.full(n, -1, np.int64)
    tried = np.full(n + 1, -1, np.int64)
    rank = np.zeros((n, m_count), np.int64)
    for depth in range(n):
        rank[depth] = np.argsort(linear[order[depth]])
    spent = np.zeros(n + 1)
    depth, visited = 0, 0
    while depth >= 0:
        i = order[depth] if depth < n else -1
        if depth < n and target[i] >= 0:  # undo the branch that was taken here
            a = target[i]
            load[a] -= supply[i]
            count[a] -= 1
            if must[a] and count[a] == 0:
                needed += 1
            target[i] = -1
        if depth == n:
            depth -= 1
            continue
        tried[depth] += 1
        if tried[depth] == m_count:
            tried[depth] = -1
            depth -= 1
            continue
        visited += 1
        if visited > nodes:
            return best, False
        a = rank[depth, tried[depth]]
        target[i] = a
        load[a] += supply[i]
        if must[a] and count[a] == 0:
            needed -= 1
        count[a] += 1
        spent[depth + 1] = spent[depth] + linear[i, a]
        if needed > n - depth - 1:
            continue
        floor = spent[depth + 1] + cheapest[depth + 1] + _bound(load, demand, left[depth + 1])
        if floor >= least - 1e-10:
            continue
        if depth + 1 == n:
            least = floor
            best = target.copy()
            continue
        depth += 1
    return best, True
