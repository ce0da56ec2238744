"""The filter: the velocity closest to the nominal one that obeys every barrier condition.

    v* = argmin 1/2 |v - v_nom|^2    s.t.   A v >= b,   |v| <= v_max                             (hard)

If no velocity can, the nominal command is dropped, never passed on: brake (aim at v = 0), then separate (give up each
condition by the same least possible speed t), but never below what is owed in any case:

    v* = argmin 1/2 |v|^2 + rho/2 t^2    s.t.   A v >= floor,   A v + t >= b,   t >= 0           (relaxed)

which always has a solution (v = 0 obeys every floor). A pair that is still safe is therefore not sacrificed for one
that no longer is.

How it is solved. Both are the projection of a point on a polyhedron (the second with t scaled by sqrt(rho)).
1. Conditions that cannot bind are left out. If none is violated, or if projecting on the most violated one violates
   no other: that is the exact answer.
2. Where v = 0 is allowed, so that a solution exists: OSQP (Stellato et al., "OSQP: an operator splitting solver for
   quadratic programs", Math. Prog. Comp. 2020), kept warm between ticks and polished. Its answer is certified: the
   optimality conditions are checked to 1e-9.
3. Elsewhere, and where the certificate fails (nearly parallel conditions, iteration limit), the dual active-set method
   of Goldfarb and Idnani ("A numerically stable dual method for solving strictly convex quadratic programs", Math.
   Prog. 1983): in at most four dimensions it takes a handful of steps and says exactly whether a solution exists.

The bound on |v| is met by cuts. Wherever v = 0 is allowed and |v_nom| <= v_max, the projection cannot be longer than
v_nom (projections do not expand distances, and 0 is its own projection): no cut is ever needed in the safe set.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import osqp
from scipy import sparse
from scipy.optimize import nnls

from lgtc_core.flight.barrier import Constraints
from lgtc_core.flight.phases import SafetyMode

Array = npt.NDArray[np.float64]

TOLERANCE = 1e-9
"""Violation [m/s] up to which a condition counts as kept."""
UNCHANGED_MPS = 1e-6
"""A correction below this is none."""
SEPARATION_WEIGHT = 1e3
"""rho: how much separating outweighs braking."""
LARGEST_BOUND = 1e30
"""What OSQP takes for infinity."""
MOST_CUTS = 30


class Filtered(NamedTuple):
    """What the filter answers."""

    velocity_mps: Array  # (n,)
    """Safe velocity, frame "world" [m/s]."""
    mode: SafetyMode
    """PASSED, FILTERED or RELAXED."""
    given_up_mps: float
    """t: by how much conditions had to be given up [m/s]; 0 unless RELAXED."""


class Projection:
    """Nearest point of a polyhedron {x : A x >= b} in n <= 4 dimensions, solved again and again.

    The OSQP problem is set up once per capacity and then only updated; the capacity doubles when it is
    outgrown.
    """

    SMALLEST_CAPACITY = 16

    def __init__(self, n: int) -> None:
        self.n = n
        self._capacity = 0
        self._osqp: osqp.OSQP | None = None

    def nearest(self, point: Array, A: Array, b: Array) -> Array | None:
        """The point of {x : A x >= b} nearest to `point`, exact to rounding; None if there is no such
        point.

        Args:
            point: (n,).
            A: (k, n), rows of any length.
            b: (k,), finite.
        """
        slack = A @ point - b
        if slack.size == 0 or slack.min() >= 0.0:
            return point.copy()
        worst = int(slack.argmin())
        length_squared = float(A[worst] @ A[worst])
        if length_squared > 0.0:
            x: Array = point - slack[worst] / length_squared * A[worst]
            if (A @ x - b).min() >= -1e-15:
                return x
        if b.max() > 0.0:  # the origin is not allowed: perhaps nothing is, and only the active-set method can tell
            return nearest_by_active_set(point, A, b)
        A, b = _within_reach(point, A, b, slack)
        guess = self._by_osqp(point, A, b)
        if guess is not None and is_nearest(guess, point, A, b):
            return guess
        return nearest_by_active_set(point, A, b)

    def _by_osqp(self, point: Array, A: Array, b: Array) -> Array | None:
        k = b.shape[0]
        if k > self._capacity or self._osqp is None:
            self._osqp = self._set_up(k)
        entries = np.zeros((self.n, self._capacity))
        entries[:, :k] = A.T
        lower = np.full(self._capacity, -LARGEST_BOUND)
        lower[:k] = b
        self._osqp.update(q=-point, l=lower, Ax=entries.ravel())
        result = self._osqp.solve(raise_error=False)
        solution = np.asarray(result.x, dtype=np.float64)
        return solution if np.isfinite(solution).all() else None

    def _set_up(self, k: int) -> osqp.OSQP:
        self._capacity = max(self.SMALLEST_CAPACITY, 1 << (k - 1).bit_length())
        rows = np.tile(np.arange(self._capacity), self.n)
        starts = np.arange(self.n + 1) * self._capacity
        full = sparse.csc_matrix((np.ones(rows.size), rows, starts), shape=(self._capacity, self.n))
        solver = osqp.OSQP()
        solver.setup(
            sparse.eye(self.n, format="csc"),
            np.zeros(self.n),
            full,
            np.full(self._capacity, -LARGEST_BOUND),
            np.full(self._capacity, LARGEST_BOUND),
            verbose=False,
            scaling=0,  # rows have length one already
            polishing=True,
            warm_starting=True,
            eps_abs=1e-6,
            eps_rel=1e-6,
            max_iter=100,  # beyond it the active-set method is faster
            adaptive_rho_interval=25,  # by iterations, not by time: the same input gives the same output
        )
        return solver


def _within_reach(point: Array, A: Array, b: Array, slack: Array) -> tuple[Array, Array]:
    """The conditions that can matter, exactly; the origin must be allowed (b <= 0).

    Then so is everything on the way from the origin to the first condition that `point` violates; the
    nearest point is not farther than that, and a condition farther than that from `point` cannot be
    touched.
    """
    violated = slack < 0.0
    share = float((b[violated] / (slack[violated] + b[violated])).min())  # A (share point) >= b
    reach = (1.0 - share) * float(np.linalg.norm(point))
    near = slack <= reach * np.linalg.norm(A, axis=1)
    return A[near], b[near]


def is_nearest(x: Array, point: Array, A: Array, b: Array) -> bool:
    """Whether `x` is, to 1e-9, the point of {A x >= b} nearest to `point`: its optimality conditions.

    A x >= b,    x - point = A_active^T y  with  y >= 0
    """
    slack = A @ x - b
    if slack.min() < -TOLERANCE:
        return False
    active = slack <= TOLERANCE
    if not active.any():
        return bool(np.abs(x - point).max() <= TOLERANCE)
    _, residual = nnls(A[active].T, x - point)
    return bool(residual <= TOLERANCE)


def nearest_by_active_set(point: Array, A: Array, b: Array) -> Array | None:
    """The point of {A x >= b} nearest to `point` by Goldfarb and Idnani's dual active-set method; None if empty.

    In plain floats: in four dimensions they are several times faster than arrays.
    """
    x: list[float] = point.tolist()
    active: list[int] = []
    rows: list[list[float]] = []  # the active conditions' rows
    y: list[float] = []  # their multipliers
    for _ in range(50 + 10 * b.size):  # ends by itself; the bound guards against cycling by rounding
        slack = A @ x - b
        slack[active] = np.inf
        worst = int(slack.argmin())
        if slack[worst] >= -1e-12:
            return np.array(x)
        normal: list[float] = A[worst].tolist()
        missing = -float(slack[worst])
        multiplier = 0.0
        while True:
            step, decrease = _directions(rows, normal)
            dual_length, drop = min(
                ((y[i] / decrease[i], i) for i in range(len(y)) if decrease[i] > 1e-14), default=(np.inf, -1)
            )
            curvature = _dot(step, normal)
            moves = curvature > 1e-14 * max(1.0, _dot(normal, normal))
            primal_length = missing / curvature if moves else np.inf
            length = min(dual_length, primal_length)
            if length == np.inf:
                return None
            y = [value - length * less for value, less in zip(y, decrease, strict=True)]
            multiplier += length
            if moves:
                x = [value + length * along for value, along in zip(x, step, strict=True)]
                missing -= length * curvature
            if primal_length <= dual_length:
                active.append(worst)
                rows.append(normal)
                y.append(multiplier)
                break
            del active[drop], rows[drop], y[drop]
    return None


def _directions(rows: list[list[float]], normal: list[float]) -> tuple[list[float], list[float]]:
    """(step in x, decrease of the active multipliers) per unit of the new condition's multiplier.

    Gram-Schmidt: rows^T = Q R, step = (1 - Q Q^T) normal, decrease = R^-1 Q^T normal.
    """
    q: list[list[float]] = []
    r: list[list[float]] = []  # column j: coefficients of rows[j] in q
    for row in rows:
        rest, column = row, []
        for unit in q:
            share = _dot(unit, rest)
            column.append(share)
            rest = [value - share * along for value, along in zip(rest, unit, strict=True)]
        length = _dot(rest, rest) ** 0.5
        column.append(length)
        q.append([value / length for value in rest])
        r.append(column)
    step, along_q = normal, []
    for unit in q:
        share = _dot(unit, step)
        along_q.append(share)
        step = [value - share * along for value, along in zip(step, unit, strict=True)]
    decrease = [0.0] * len(rows)
    for j in reversed(range(len(rows))):
        later = sum(r[i][j] * decrease[i] for i in range(j + 1, len(rows)))
        decrease[j] = (along_q[j] - later) / r[j][j]
    return step, decrease


def _dot(a: list[float], b: list[float]) -> float:
    return sum(left * right for left, right in zip(a, b, strict=True))


class SafetyFilter:
    """Solves the conditions that barrier.py builds. Keeps its solvers warm between calls.

    Args:
        n: dimensions of the velocity, 2 or 3.
    """

    def __init__(self, n: int = 3) -> None:
        self.n = n
        self._hard = Projection(n)
        self._relaxed = Projection(n + 1)

    def solve(self, nominal_mps: Array, constraints: Constraints, speed_max_mps: float) -> Filtered:
        """Safe velocity for a nominal one.

        Args:
            nominal_mps: (n,) finite; longer than `speed_max_mps` is shortened first.
            constraints: conditions (k rows) on the velocity.
            speed_max_mps: bound on |v| [m/s].
        """
        nominal_mps = shorten(np.asarray(nominal_mps, dtype=np.float64), speed_max_mps)
        binding = constraints.b > -speed_max_mps
        A, b, floor = constraints.A[binding], constraints.b[binding], constraints.floor[binding]
        velocity_mps = self._within_speed(nominal_mps, A, b, speed_max_mps)
        if velocity_mps is not None:
            changed = np.linalg.norm(velocity_mps - nominal_mps) > UNCHANGED_MPS
            mode = SafetyMode.FILTERED if changed else SafetyMode.PASSED
            return Filtered(velocity_mps, mode, 0.0)
        return self._brake_and_separate(A, b, floor, speed_max_mps)

    def _within_speed(self, nominal_mps: Array, A: Array, b: Array, speed_max_mps: float) -> Array | None:
        """The hard problem; None if it has no solution."""
        for _ in range(MOST_CUTS):
            velocity_mps = self._hard.nearest(nominal_mps, A, b)
            if velocity_mps is None:
                return None
            speed_mps = float(np.linalg.norm(velocity_mps))
            if speed_mps <= speed_max_mps + TOLERANCE:
                return velocity_mps
            A = np.vstack([A, -velocity_mps / speed_mps])
            b = np.append(b, -speed_max_mps)
        return None

    def _brake_and_separate(self, A: Array, b: Array, floor: Array, speed_max_mps: float) -> Filtered:
        """The relaxed problem, in (v, sqrt(rho) t)."""
        unit = 1.0 / np.sqrt(SEPARATION_WEIGHT)
        asks = b > floor
        k, soft = b.size, int(asks.sum())
        rows = np.zeros((k + soft + 1, self.n + 1))
        rows[:k, : self.n] = A
        rows[k : k + soft, : self.n] = A[asks]
        rows[k:, self.n] = unit  # the last row is t >= 0
        bounds = np.concatenate([floor, b[asks], [0.0]])
        solution = self._relaxed.nearest(np.zeros(self.n + 1), rows, bounds)
        if solution is None:  # cannot be; but whatever rounding does, the answer is to brake
            return Filtered(np.zeros(self.n), SafetyMode.RELAXED, float(b.max()))
        velocity_mps = shorten(solution[: self.n], speed_max_mps)
        return Filtered(velocity_mps, SafetyMode.RELAXED, max(0.0, float((b - A @ velocity_mps).max())))


def shorten(velocity_mps: Array, speed_max_mps: float) -> Array:
    """`velocity_mps` (n,), or the velocity in its direction with speed `speed_max_mps` if it is faster."""
    speed_mps = math.sqrt(velocity_mps @ velocity_mps)
    return velocity_mps if speed_mps <= speed_max_mps else velocity_mps * (speed_max_mps / speed_mps)
