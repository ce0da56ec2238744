"""The filter: the velocity closest to the nominal one that obeys every barrier condition.

    v* = argmin 1/2 |v - v_nom|^2    s.t.   A v >= b,   |v| <= v_max                             (hard)

If no velocity can, the nominal command is dropped, never passed on: brake (aim at v = 0), then separate (give up each
condition by the same least possible speed t), but never below what is owed in any case:

    v* = argmin 1/2 |v|^2 + rho/2 t^2    s.t.   A v >= floor,   A v + t >= b,   t >= 0           (relaxed)

which always has a solution (v = 0 obeys every floor). A pair that is still safe is therefore not sacrificed for one
that no longer is.

Both are the projection of a point on a polyhedron (the second with t scaled by sqrt(rho)); projection.py solves and
certifies them to 1e-9. An answer without certificate is not flown: the hard problem then counts as one without
solution, and if the relaxed one has none either, the answer is to brake.

Last, outside of both problems, the geofence: a component of v that a wall's floor forbids is cut off, and what is not a
number becomes zero, whatever a solver answered (`fence`). What a solver certified passes unchanged.

The bound on |v| is met by cuts. Wherever v = 0 is allowed and |v_nom| <= v_max, the projection cannot be longer than
v_nom (projections do not expand distances, and 0 is its own projection): no cut is ever needed in the safe set.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import compiled
from lgtc_core.errors import InputError
from lgtc_core.flight.barrier import Constraints
from lgtc_core.flight.phases import SafetyMode
from lgtc_core.flight.projection import TOLERANCE, Projection, Solver, project, projection

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNCHANGED_MPS = 1e-6
"""A correction below this is none."""
SEPARATION_WEIGHT = 1e3
"""rho: how much separating outweighs braking."""
MOST_CUTS = 30

_PASSED, _FILTERED, _RELAXED = int(SafetyMode.PASSED), int(SafetyMode.FILTERED), int(SafetyMode.RELAXED)


class Filtered(NamedTuple):
    """What the filter answers."""

    velocity_mps: Array  # (n,)
    """Safe velocity, frame "world" [m/s]."""
    mode: SafetyMode
    """PASSED, FILTERED or RELAXED."""
    given_up_mps: float
    """t: by how much conditions had to be given up [m/s]; 0 unless RELAXED."""


class FilteredBatch(NamedTuple):
    """What the filter answers to many drones."""

    velocity_mps: Array  # (..., n)
    """Safe velocities, frame "world" [m/s]."""
    mode: Ints  # (...,)
    """`SafetyMode` of each: PASSED, FILTERED or RELAXED."""
    given_up_mps: Array  # (...,)
    """t of each [m/s]."""


class SafetyFilter:
    """Solves the conditions that barrier.py builds.

    Args:
        n: dimensions of the velocity, 2 or 3.
        solver: of the projections. The default is compiled as a whole; the others check it.
    """

    def __init__(self, n: int = 3, solver: Solver = "goldfarb_idnani") -> None:
        self.n = n
        self._hard: Projection | None = None
        self._relaxed: Projection | None = None
        if solver != "goldfarb_idnani":
            self._hard, self._relaxed = projection(n, solver), projection(n + 1, solver)

    def solve(self, nominal_mps: Array, constraints: Constraints, speed_max_mps: float) -> Filtered:
        """Safe velocity for a nominal one.

        Args:
            nominal_mps: (n,) finite; longer than `speed_max_mps` is shortened first.
            constraints: conditions (k rows) on the velocity.
            speed_max_mps: bound on |v| [m/s].
        """
        if self._hard is not None and self._relaxed is not None:
            return _solve_by(self._hard, self._relaxed, nominal_mps, constraints, speed_max_mps)
        velocity_mps = np.array(nominal_mps, dtype=np.float64)
        mode, given_up_mps = filter_one(velocity_mps, constraints, float(speed_max_mps))
        return Filtered(velocity_mps, SafetyMode(mode), given_up_mps)


def filter_batch(nominal_mps: Array, constraints: Constraints, speed_max_mps: npt.ArrayLike) -> FilteredBatch:
    """Safe velocities of many drones, each the same as `SafetyFilter.solve` answers; one compiled call for all.

    Args:
        nominal_mps: (..., n) finite, in 2 or 3 dimensions.
        constraints: of every drone: A (..., k, n), b, floor and h (..., k). A row with b = -inf is none.
        speed_max_mps: bound on |v| [m/s]; broadcasts to (...,).

    Raises:
        InputError: the shapes do not belong together.
    """
    *drones, n = nominal_mps.shape
    k = constraints.b.shape[-1]
    if constraints.A.shape != (*drones, k, n) or constraints.b.shape != (*drones, k):
        got = f"A {constraints.A.shape}, b {constraints.b.shape} for velocities {nominal_mps.shape}"
        raise InputError("constraints", got, f"A {(*drones, k, n)}, b {(*drones, k)}")
    count = math.prod(drones)
    velocity_mps = np.array(nominal_mps, dtype=np.float64).reshape(count, n)
    speeds_mps = np.array(np.broadcast_to(np.asarray(speed_max_mps, np.float64), drones)).reshape(-1)
    mode, given_up_mps = np.empty(speeds_mps.shape, np.int64), np.empty(speeds_mps.shape)
    shapes = ((count, k, n), (count, k), (count, k), (count, k))
    fields = zip(constraints, shapes, strict=True)
    rows = Constraints(*(np.require(field, np.float64, ["C", "W"]).reshape(shape) for field, shape in fields))
    _filter_all(velocity_mps, rows, speeds_mps, mode, given_up_mps)
    return FilteredBatch(velocity_mps.reshape(nominal_mps.shape), mode.reshape(drones), given_up_mps.reshape(drones))


@compiled
def _filter_all(velocity_mps: Array, constraints: Constraints, speed_mps: Array, mode: Ints, given_up: Array) -> None:
    for i in range(velocity_mps.shape[0]):
        own = Constraints(constraints.A[i], constraints.b[i], constraints.floor[i], constraints.h[i])
        mode[i], given_up[i] = filter_one(velocity_mps[i], own, speed_mps[i])


@compiled
def filter_one(velocity_mps: Array, constraints: Constraints, speed_max_mps: float) -> tuple[int, float]:
    """Replace a nominal velocity (n,) by the safe one, in place; compiled.

    Returns:
        (SafetyMode, speed given up [m/s])
    """
    n = velocity_mps.shape[0]
    shorten_in_place(velocity_mps, speed_max_mps)
    count = 0
    for row in range(constraints.b.shape[0]):
        count += constraints.b[row] > -speed_max_mps
    A, b, floor = np.empty((count + MOST_CUTS, n)), np.empty(count + MOST_CUTS), np.empty(count)
    at = 0
    for row in range(constraints.b.shape[0]):  # the others cannot bind
        if constraints.b[row] > -speed_max_mps:
            for c in range(n):
                A[at, c] = constraints.A[row, c]
            b[at], floor[at] = constraints.b[row], constraints.floor[row]
            at += 1
    safe_mps = np.empty(n)
    for cuts in range(MOST_CUTS):
        if not project(velocity_mps, A[: count + cuts], b[: count + cuts], safe_mps):
            break
        square, change = 0.0, 0.0
        for c in range(n):
            square += safe_mps[c] ** 2
            change += (safe_mps[c] - velocity_mps[c]) ** 2
        speed_mps = math.sqrt(square)
        if speed_mps <= speed_max_mps + TOLERANCE:
            for c in range(n):
                velocity_mps[c] = safe_mps[c]
            return (_FILTERED if math.sqrt(change) > UNCHANGED_MPS else _PASSED), 0.0
        for c in range(n):
            A[count + cuts, c] = -safe_mps[c] / speed_mps
        b[count + cuts] = -speed_max_mps
    A, b = A[:count], b[:count]
    rows, bounds = _relaxed_problem(A, b, floor)
    solution = np.empty(n + 1)
    found = project(np.zeros(n + 1), rows, bounds, solution)
    for c in range(n):
        velocity_mps[c] = solution[c] if found else 0.0
    shorten_in_place(velocity_mps, speed_max_mps)
    return _RELAXED, _given_up_mps(velocity_mps, A, b)


@compiled
def fence(velocity_mps: Array, floor_mps: Array, row: int) -> bool:
    """Clamp a velocity (n,) into the box that the 2 n wall rows from `row` on leave (barrier.write_walls), in place.

    Args:
        velocity_mps: (n,) whatever was answered; what is not finite stands still.
        floor_mps: (k,) floors of all rows [m/s]: of a lower wall the least component, of an upper one its negative.
        row: the first wall row.

    Returns:
        Whether anything was cut off beyond the solver's tolerance.
    """
    n, cut = velocity_mps.shape[0], False
    for c in range(n):
        asked = velocity_mps[c]
        if not math.isfinite(asked):
            asked = velocity_mps[c] = 0.0
            cut = True
        least, most = floor_mps[row + c], -floor_mps[row + n + c]
        velocity_mps[c] = min(max(asked, least), most)
        cut |= abs(velocity_mps[c] - asked) > TOLERANCE
    return cut


@compiled
def _relaxed_problem(A: Array, b: Array, floor: Array) -> tuple[Array, Array]:
    """Rows and bounds of the relaxed problem, in (v, sqrt(rho) t)."""
    k, n = A.shape
    soft = 0
    for row in range(k):
        soft += b[row] > floor[row]
    rows, bounds = np.zeros((k + soft + 1, n + 1)), np.zeros(k + soft + 1)
    at = k
    unit = 1.0 / math.sqrt(SEPARATION_WEIGHT)
    for row in range(k):
        bounds[row] = floor[row]
        for c in range(n):
            rows[row, c] = A[row, c]
        if b[row] > floor[row]:
            bounds[at], rows[at, n] = b[row], unit
            for c in range(n):
                rows[at, c] = A[row, c]
            at += 1
    rows[at, n] = unit  # t >= 0
    return rows, bounds


@compiled
def _given_up_mps(velocity_mps: Array, A: Array, b: Array) -> float:
    given_up_mps = 0.0
    for row in range(b.shape[0]):
        speed_mps = 0.0
        for c in range(velocity_mps.shape[0]):
            speed_mps += A[row, c] * velocity_mps[c]
        given_up_mps = max(given_up_mps, b[row] - speed_mps)
    return given_up_mps


@compiled
def shorten_in_place(velocity_mps: Array, speed_max_mps: float) -> None:
    """`shorten`, in place; compiled."""
    square = 0.0
    for c in range(velocity_mps.shape[0]):
        square += velocity_mps[c] ** 2
    speed_mps = math.sqrt(square)
    if speed_mps > speed_max_mps:
        for c in range(velocity_mps.shape[0]):
            velocity_mps[c] *= speed_max_mps / speed_mps


def _solve_by(
    hard: Projection, relaxed: Projection, nominal_mps: Array, constraints: Constraints, speed_max_mps: float
) -> Filtered:
    """The same as `filter_one`, with any solver."""
    nominal_mps = shorten(np.asarray(nominal_mps, dtype=np.float64), speed_max_mps)
    binding = constraints.b > -speed_max_mps
    A, b, floor = constraints.A[binding], constraints.b[binding], constraints.floor[binding]
    cut_A, cut_b = A, b
    for _ in range(MOST_CUTS):
        velocity_mps = hard.nearest(nominal_mps, cut_A, cut_b)
        if velocity_mps is None:
            break
        speed_mps = float(np.linalg.norm(velocity_mps))
        if speed_mps <= speed_max_mps + TOLERANCE:
            changed = np.linalg.norm(velocity_mps - nominal_mps) > UNCHANGED_MPS
            return Filtered(velocity_mps, SafetyMode.FILTERED if changed else SafetyMode.PASSED, 0.0)
        cut_A, cut_b = np.vstack([cut_A, -velocity_mps / speed_mps]), np.append(cut_b, -speed_max_mps)
    n = nominal_mps.shape[0]
    solution = relaxed.nearest(np.zeros(n + 1), *_relaxed_problem(A, b, floor))
    velocity_mps = np.zeros(n) if solution is None else shorten(solution[:n], speed_max_mps)
    return Filtered(velocity_mps, SafetyMode.RELAXED, max(0.0, float((b - A @ velocity_mps).max())))


def shorten(velocity_mps: Array, speed_max_mps: float) -> Array:
    """`velocity_mps` (n,), or the velocity in its direction with speed `speed_max_mps` if it is faster."""
    speed_mps = math.sqrt(velocity_mps @ velocity_mps)
    return velocity_mps if speed_mps <= speed_max_mps else velocity_mps * (speed_max_mps / speed_mps)
