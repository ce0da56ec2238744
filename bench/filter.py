"""How long the safety filter takes, beside bare OSQP and bare DAQP on the same problems in the same run.

    python bench/filter.py [--ticks 2000]

A drone in a crowd: neighbours jitter about hexagonal places as dense as the barriers allow, so that conditions change
a little from tick to tick, as in flight. Each problem is solved by
- ours: `SafetyFilter.solve` (compiled active-set method), certified to 1e-9;
- ours crammed: the same, neighbours too close for the hard problem to have a solution (braking and separating);
- OSQP warm: one solver, updated, eps 1e-6, polished;
- OSQP fresh: set up at every tick, default accuracy;
- DAQP: set up at every tick.
Times are CPU times of the thread (the machine may be busy), as ratios to ours; "violation" is the worst of the run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator

import daqp
import numpy as np
import numpy.typing as npt
import osqp
from scipy import sparse

from lgtc_core.flight import barrier, guarantee
from lgtc_core.flight.barrier import Constraints
from lgtc_core.flight.guard import GuardParams
from lgtc_core.flight.safety_filter import SafetyFilter

Array = npt.NDArray[np.float64]
SPEED_MPS = 0.8
DISTANCE_M = 0.25
FLATTENING = 0.4
INFINITY = 1e30


def crowd(neighbours: int, ticks: int, seed: int, crammed: bool = False) -> Iterator[tuple[Array, Constraints]]:
    """(nominal velocity (3,), conditions) of every tick; in the safe set unless `crammed`."""
    rng = np.random.default_rng(seed)
    params = GuardParams()
    hypotheses = params.hypotheses
    radius_m = float(
        guarantee.barrier_radius_m(DISTANCE_M, hypotheses, SPEED_MPS, 0.02, SPEED_MPS, 0.04, guarantee.SHARED)
    )
    places = np.array(
        [
            (radius_m * (column + 0.5 * row), radius_m * np.sqrt(0.75) * row)
            for row in range(-5, 6)
            for column in range(-8, 9)
            if (row, column) != (0, 0)
        ]
    )
    places = places[np.argsort(np.linalg.norm(places, axis=1))][:neighbours]
    own, nominal = np.array([0.0, 0.0, 1.0]), np.zeros(3)
    others = np.column_stack([places * (0.9 if crammed else 1.1), np.ones(len(places))])
    offsets = np.zeros_like(others)
    for _ in range(ticks):
        offsets = 0.98 * offsets + 0.01 * rng.normal(size=offsets.shape)
        nominal = 0.95 * nominal + 0.25 * rng.normal(size=3) * [1.0, 1.0, 0.2]
        positions = others + offsets
        if not crammed:
            delta = (positions - own) * [1.0, 1.0, FLATTENING]
            too_near = np.maximum(1.0, radius_m / np.linalg.norm(delta, axis=1))
            positions = own + (positions - own) * too_near[:, None]
        conditions = barrier.pairs(
            own,
            positions,
            np.zeros_like(others),
            np.full(neighbours, radius_m),
            np.full(neighbours, guarantee.SHARED),
            np.full(neighbours, FLATTENING),
            params.barrier_gain_per_s,
            params.breach_tolerance_mps,
            SPEED_MPS,
        )
        yield nominal, conditions


def osqp_solver(A: Array, b: Array, **settings: object) -> osqp.OSQP:
    """A solver of the projection on A v >= b."""
    k, n = A.shape
    rows = np.tile(np.arange(k), n)
    matrix = sparse.csc_matrix((A.T.ravel(), rows, np.arange(n + 1) * k), shape=(k, n))
    solver = osqp.OSQP()
    solver.setup(sparse.eye(n, format="csc"), np.zeros(n), matrix, b, np.full(k, INFINITY), verbose=False, **settings)
    return solver


def ours() -> Callable[[Array, Constraints], Array]:
    """Our filter."""
    safety_filter = SafetyFilter(3)
    return lambda nominal, c: safety_filter.solve(nominal, c, 1e6).velocity_mps


def osqp_warm() -> Callable[[Array, Constraints], Array]:
    """OSQP, kept between ticks."""
    kept: list[osqp.OSQP] = []

    def solve(nominal: Array, c: Constraints) -> Array:
        if not kept:
            kept.append(osqp_solver(c.A, c.b, eps_abs=1e-6, eps_rel=1e-6, polishing=True))
        kept[0].update(q=-nominal, l=c.b, Ax=c.A.T.ravel())
        return np.asarray(kept[0].solve(raise_error=False).x)

    return solve


def osqp_fresh() -> Callable[[Array, Constraints], Array]:
    """OSQP, set up at every tick, default accuracy."""

    def solve(nominal: Array, c: Constraints) -> Array:
        solver = osqp_solver(c.A, c.b)
        solver.update(q=-nominal)
        return np.asarray(solver.solve(raise_error=False).x)

    return solve


def by_daqp() -> Callable[[Array, Constraints], Array]:
    """DAQP, set up at every tick."""
    identity = np.eye(3)

    def solve(nominal: Array, c: Constraints) -> Array:
        k = c.b.size
        return np.asarray(
            daqp.solve(identity, -nominal, c.A, np.full(k, INFINITY), c.b, np.zeros(k, dtype=np.int32))[0]
        )

    return solve


SOLVERS = {"ours": ours, "ours crammed": ours, "OSQP warm": osqp_warm, "OSQP fresh": osqp_fresh, "DAQP": by_daqp}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the compiled part of OSQP, which remarks on every problem without active conditions."""
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def measure(
    make: Callable[[], Callable[[Array, Constraints], Array]], problems: Iterator[tuple[Array, Constraints]]
) -> tuple[float, float, float]:
    """(p50 [us], p99 [us], worst violation [m/s]) of one solver."""
    solve, times, violation = make(), [], 0.0
    for nominal, conditions in problems:
        begun = time.thread_time_ns()
        velocity = solve(nominal, conditions)
        times.append((time.thread_time_ns() - begun) / 1e3)
        violation = max(violation, float((conditions.b - conditions.A @ velocity).max()))
    p50, p99 = np.percentile(times[50:], [50, 99])
    return float(p50), float(p99), violation


def main() -> None:
    """Print one line per number of neighbours and solver."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    heads = ("p50 us", "p99 us", "p50/ours", "p99/ours", "violation")
    print(f"{'neighbours':>10}  {'solver':<12}", *(f"{head:>9}" for head in heads), flush=True)
    for neighbours in (1, 5, 10, 20, 40):
        reference = (1.0, 1.0)
        for name, make in SOLVERS.items():
            with quiet():
                problems = crowd(neighbours, arguments.ticks, arguments.seed, "crammed" in name)
                p50, p99, violation = measure(make, problems)
            if name == "ours":
                reference = (p50, p99)
            ratios = f"{p50 / reference[0]:>9.2f} {p99 / reference[1]:>9.2f}"
            told = "" if "crammed" in name else f"{violation:>9.1e}"
            print(f"{neighbours:>10}  {name:<12} {p50:>9.0f} {p99:>9.0f} {ratios} {told}", flush=True)


if __name__ == "__main__":
    main()
