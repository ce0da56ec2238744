"""The nearest point of a polyhedron in n <= 4 dimensions, by one of three solvers, each answer certified.

    x* = argmin 1/2 |x - point|^2    s.t.   A x >= b

It is optimal if and only if multipliers y of the conditions that it touches exist with

    A x >= b,    x - point = A_active^T y,    y >= 0                                     (optimality conditions)

and these are checked to 1e-9, whichever solver answers.

Solvers:
- goldfarb_idnani: the dual active-set method of Goldfarb and Idnani ("A numerically stable dual method for solving
  strictly convex quadratic programs", Math. Prog. 1983), compiled. In so few dimensions it takes a handful of steps,
  and it says exactly whether a solution exists. This one flies.
- osqp: OSQP (Stellato et al., "OSQP: an operator splitting solver for quadratic programs", Math. Prog. Comp. 2020),
  kept warm between calls and polished.
- daqp: DAQP (Arnstroem et al., "A dual active-set solver for embedded quadratic programming using recursive LDL^T
  updates", IEEE TAC 2022).

The active set's gradients are kept as A_active^T = Q R by Gram-Schmidt, orthogonalised twice; Q^T n and R^-1 Q^T n give
the step of x and the decrease of y for a new condition n. With every condition that becomes active x and y are computed
anew from the active set, so that no rounding is carried along:

    R^T w = b_active - A_active point,    x = point + Q w,    R y = w
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import compiled
from lgtc_core.errors import ConfigError

if TYPE_CHECKING:
    import osqp

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Solver = Literal["goldfarb_idnani", "osqp", "daqp"]

TOLERANCE = 1e-9
"""Error [m/s] up to which a condition counts as kept and an answer as the nearest."""
LARGEST_BOUND = 1e30
"""What OSQP and DAQP take for infinity."""
_REACHED = 1e-12
"""A condition violated by less than this needs no further step."""
_DEPENDENT = 1e-14
"""Squared length below which a unit row counts as a combination of the active ones."""


class Projection(Protocol):
    """Nearest point of a polyhedron, solved again and again."""

    def nearest(self, point: Array, A: Array, b: Array) -> Array | None:
        """The point (n,) of {x : A x >= b} nearest to `point` (n,), certified; None if none was found.

        Args:
            point: (n,).
            A: (k, n), rows of any length.
            b: (k,), finite.
        """


def projection(n: int, solver: Solver = "goldfarb_idnani") -> Projection:
    """A projection in `n` dimensions by one of the solvers.

    Raises:
        ConfigError: there is no such solver, or it is not installed.
    """
    if solver == "goldfarb_idnani":
        return GoldfarbIdnani()
    try:
        if solver == "osqp":
            return Osqp(n)
        if solver == "daqp":
            return Daqp()
    except ImportError as error:
        raise ConfigError("", "solver", f"{solver}, which is not installed", "an installed solver") from error
    raise ConfigError("", "solver", repr(solver), f"one of {', '.join(get_args(Solver))}")


class GoldfarbIdnani:
    """The compiled dual active-set method."""

    def nearest(self, point: Array, A: Array, b: Array) -> Array | None:
        """See `Projection.nearest`."""
        x = np.empty(point.shape[0])
        point, A, b = (np.require(values, np.float64, ["C", "W"]) for values in (point, A, b))
        return x if project(point, A, b, x) else None


class Osqp:
    """OSQP, kept warm.

    The problem is set up once per capacity and then only updated; the capacity doubles when it is outgrown.
    """

    SMALLEST_CAPACITY = 16

    def __init__(self, n: int) -> None:
        import osqp  # here, as only who asks for this solver shall load it (1 s of processor time, 45 MB)

        self.n = n
        self._new = osqp.OSQP
        self._capacity = 0
        self._osqp: osqp.OSQP | None = None

    def nearest(self, point: Array, A: Array, b: Array) -> Array | None:
        """See `Projection.nearest`."""
        if b.size == 0:
            return point.copy()
        if b.size > self._capacity or self._osqp is None:
            self._osqp = self._set_up(b.size)
        entries = np.zeros((self.n, self._capacity))
        entries[:, : b.size] = A.T
        lower = np.full(self._capacity, -LARGEST_BOUND)
        lower[: b.size] = b
        self._osqp.update(q=-point, l=lower, Ax=entries.ravel())
        x = np.asarray(self._osqp.solve(raise_error=False).x, dtype=np.float64)
        return x if np.isfinite(x).all() and is_nearest(x, point, A, b) else None

    def _set_up(self, k: int) -> osqp.OSQP:
        from scipy import sparse

        self._capacity = max(self.SMALLEST_CAPACITY, 1 << (k - 1).bit_length())
        rows = np.tile(np.arange(self._capacity), self.n)
        starts = np.arange(self.n + 1) * self._capacity
        full = sparse.csc_matrix((np.ones(rows.size), rows, starts), shape=(self._capacity, self.n))
        solver = self._new()
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
            max_iter=4000,
            adaptive_rho_interval=25,  # by iterations, not by time: the same input gives the same output
        )
        return solver


class Daqp:
    """DAQP, set up at every call: that is cheap."""

    def __init__(self) -> None:
        import daqp

        self._solve: Any = daqp.solve

    def nearest(self, point: Array, A: Array, b: Array) -> Array | None:
        """See `Projection.nearest`."""
        if b.size == 0:
            return point.copy()
        above, sense = np.full(b.size, LARGEST_BOUND), np.zeros(b.size, dtype=np.int32)
        x, _, flag, _ = self._solve(np.eye(point.size), -point, A, above, b, sense, primal_tol=1e-11)
        x = np.asarray(x)
        return x if flag == 1 and is_nearest(x, point, A, b) else None


def is_nearest(x: Array, point: Array, A: Array, b: Array) -> bool:
    """Whether `x` is, to 1e-9, the point of {A x >= b} nearest to `point`: the optimality conditions above."""
    from scipy.optimize import nnls

    slack = A @ x - b
    if slack.min() < -TOLERANCE:
        return False
    active = slack <= TOLERANCE
    if not active.any():
        return bool(np.abs(x - point).max() <= TOLERANCE)
    _, residual = nnls(A[active].T, x - point)
    return bool(residual <= TOLERANCE)


@compiled
def project(point: Array, A: Array, b: Array, x: Array) -> bool:
    """Write the point of {A x >= b} nearest to `point` into `x`, by Goldfarb and Idnani's method; compiled.

    Args:
        point: (n,).
        A: (k, n), contiguous.
        b: (k,).
        x: (n,), the answer.

    Returns:
        Whether there is such a point and `x` is certified to be it; otherwise `x` means nothing.
    """
    k, n = A.shape
    for c in range(n):
        x[c] = point[c]
    active = np.empty(n, np.int64)
    reached = _REACHED
    worst = _most_violated(A, b, x, active, 0, reached)
    if worst < 0:
        return True
    y, step, decrease = np.empty(n + 1), np.empty(n), np.empty(n)
    Q, R = np.empty((n, n)), np.empty((n, n))  # columns of Q as its rows
    size = 0
    for _ in range(50 + 10 * k):  # ends by itself; the bound guards against cycling by rounding
        multiplier = 0.0
        while True:
            _direction(A, worst, Q, R, size, step, decrease)
            missing, curvature, square = b[worst], 0.0, 0.0
            for c in range(n):
                missing -= A[worst, c] * x[c]
                curvature += A[worst, c] * step[c]
                square += A[worst, c] * A[worst, c]
            moves = size < n and curvature > _DEPENDENT * max(1.0, square)
            primal = missing / curvature if moves else np.inf
            dual, drop = np.inf, -1
            for i in range(size):
                if decrease[i] > 1e-14 and y[i] < dual * decrease[i]:
                    dual, drop = y[i] / decrease[i], i
            length = min(primal, dual)
            if length == np.inf:
                if missing > TOLERANCE:
                    return False
                reached = missing  # nearly a combination of the active ones: as close as rounding allows
                break
            for i in range(size):
                y[i] = max(0.0, y[i] - length * decrease[i])
            multiplier += length
            if moves:
                for c in range(n):
                    x[c] += length * step[c]
            if primal <= dual:
                active[size], y[size] = worst, multiplier
                size += 1
                _factorise(A, active, Q, R, size - 1, size)
                _polish(point, A, b, x, active, y, Q, R, size)
                break
            size -= 1
            for i in range(drop, size):
                active[i], y[i] = active[i + 1], y[i + 1]
            _factorise(A, active, Q, R, drop, size)
        worst = _most_violated(A, b, x, active, size, reached)
        if worst < 0:
            return _is_certain(point, A, b, x, active, y, size)
    return False


@compiled
def _most_violated(A: Array, b: Array, x: Array, active: Ints, size: int, reached: float) -> int:
    """Row with the least A x - b that is not active; -1 if none is violated by more than `reached`."""
    worst, least = -1, -reached
    for row in range(A.shape[0]):
        slack = -b[row]
        for c in range(A.shape[1]):
            slack += A[row, c] * x[c]
        if slack < least:
            known = False
            for i in range(size):
                known |= active[i] == row
            if not known:
                worst, least = row, slack
    return worst


@compiled
def _factorise(A: Array, active: Ints, Q: Array, R: Array, since: int, size: int) -> None:
    """Columns `since`.. of A_active^T = Q R; R[i, j] is the share of Q's column i in active row j."""
    n = A.shape[1]
    for j in range(since, size):
        for c in range(n):
            Q[j, c] = A[active[j], c]
        for i in range(j):
            R[i, j] = 0.0
        for _ in range(2):
            for i in range(j):
                share = 0.0
                for c in range(n):
                    share += Q[i, c] * Q[j, c]
                R[i, j] += share
                for c in range(n):
                    Q[j, c] -= share * Q[i, c]
        square = 0.0
        for c in range(n):
            square += Q[j, c] * Q[j, c]
        R[j, j] = np.sqrt(square)
        for c in range(n):
            Q[j, c] /= R[j, j]


@compiled
def _direction(A: Array, row: int, Q: Array, R: Array, size: int, step: Array, decrease: Array) -> None:
    """Step = (1 - Q Q^T) A_row, decrease = R^-1 Q^T A_row: per unit of the new condition's multiplier."""
    n = A.shape[1]
    for c in range(n):
        step[c] = A[row, c]
    for i in range(size):
        decrease[i] = 0.0
    for _ in range(2):
        for i in range(size):
            share = 0.0
            for c in range(n):
                share += Q[i, c] * step[c]
            decrease[i] += share
            for c in range(n):
                step[c] -= share * Q[i, c]
    _back_substitute(R, decrease, size)


@compiled
def _back_substitute(R: Array, z: Array, size: int) -> None:
    """Z = R^-1 z for the upper triangle of the first `size` columns."""
    for j in range(size - 1, -1, -1):
        for i in range(j + 1, size):
            z[j] -= R[j, i] * z[i]
        z[j] /= R[j, j]


@compiled
def _polish(point: Array, A: Array, b: Array, x: Array, active: Ints, y: Array, Q: Array, R: Array, size: int) -> None:
    """Compute x and y from the active set alone."""
    n = point.shape[0]
    for c in range(n):
        x[c] = point[c]
    for j in range(size):
        y[j] = b[active[j]]
        for c in range(n):
            y[j] -= A[active[j], c] * point[c]
        for i in range(j):
            y[j] -= R[i, j] * y[i]
        y[j] /= R[j, j]
        for c in range(n):
            x[c] += y[j] * Q[j, c]
    _back_substitute(R, y, size)
    for j in range(size):
        y[j] = max(y[j], 0.0)  # below it by rounding only


@compiled
def _is_certain(point: Array, A: Array, b: Array, x: Array, active: Ints, y: Array, size: int) -> bool:
    """The optimality conditions of `x` with the multipliers `y` of the active rows, to TOLERANCE."""
    n = point.shape[0]
    for row in range(A.shape[0]):
        slack = -b[row]
        for c in range(n):
            slack += A[row, c] * x[c]
        if not slack >= -TOLERANCE:
            return False
    for c in range(n):
        rest = x[c] - point[c]
        for i in range(size):
            rest -= A[active[i], c] * y[i]
        if not abs(rest) <= TOLERANCE:
            return False
    for i in range(size):
        slack = -b[active[i]]
        for c in range(n):
            slack += A[active[i], c] * x[c]
        if not (abs(slack) <= TOLERANCE and y[i] >= -TOLERANCE):
            return False
    return True
