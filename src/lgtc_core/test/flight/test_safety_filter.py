"""The filter's answer is the closest safe velocity, and where there is none it brakes and separates."""

from __future__ import annotations

import daqp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError, InputError
from lgtc_core.flight.barrier import Constraints, empty_constraints
from lgtc_core.flight.phases import SafetyMode
from lgtc_core.flight.projection import Solver, is_nearest, projection
from lgtc_core.flight.safety_filter import Filtered, SafetyFilter, filter_batch, shorten

Array = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def unit_rows(rng: np.random.Generator, k: int, n: int) -> Array:
    rows = rng.normal(size=(k, n))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    twins = rng.random(k) < 0.2 * (k > 1)  # nearly parallel conditions, as from two drones in one direction
    rows[twins] = rows[:1] + 1e-4 * rng.normal(size=(int(twins.sum()), n))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def by_daqp(point: Array, A: Array, b: Array) -> Array | None:
    n = point.size
    x, _, flag, _ = daqp.solve(
        np.eye(n), -point, A, np.full(b.size, 1e30), b, np.zeros(b.size, dtype=np.int32), primal_tol=1e-11
    )
    return np.asarray(x) if flag == 1 else None


def in_the_safe_set(rng: np.random.Generator, n: int, k: int) -> Constraints:
    """Conditions that v = 0 obeys, as every state with h >= 0 gives."""
    b = -rng.exponential(0.15, size=k) * (rng.random(k) < 0.8)
    return Constraints(unit_rows(rng, k, n), b, b, np.zeros(k))


@given(seeds, st.sampled_from([2, 3]), st.integers(0, 45))
@settings(max_examples=150, deadline=None)
def test_in_the_safe_set_every_condition_is_kept_to_1e_9_and_no_closer_command_exists(
    seed: int, n: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    constraints, nominal_mps, speed_mps = in_the_safe_set(rng, n, k), rng.normal(size=n), rng.uniform(0.2, 2.0)
    answer = SafetyFilter(n).solve(nominal_mps, constraints, speed_mps)
    assert answer.mode is not SafetyMode.RELAXED
    assert (constraints.A @ answer.velocity_mps >= constraints.b - 1e-9).all()
    assert np.linalg.norm(answer.velocity_mps) <= speed_mps + 1e-9
    if k:
        closest = by_daqp(shorten(nominal_mps, speed_mps), constraints.A, constraints.b)
        assert closest is not None
        np.testing.assert_allclose(answer.velocity_mps, closest, atol=1e-8)


@given(seeds, st.integers(2, 4), st.integers(1, 45))
@settings(max_examples=150, deadline=None)
def test_the_projection_and_its_verdict_of_infeasibility_agree_with_a_second_solver(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    A, b, point = unit_rows(rng, k, n), rng.normal(-0.2, 0.4, size=k), rng.normal(size=n)
    answer, second = projection(n).nearest(point, A, b), by_daqp(point, A, b)
    if answer is None:
        # no solution: by Farkas there is y >= 0 with A^T y = 0 and b y > 0; DAQP must not find a point either
        assert second is None or (A @ second - b).min() < -1e-9
    else:
        assert (A @ answer - b).min() >= -1e-9
        assert is_nearest(answer, point, A, b)
        if second is not None:
            assert np.linalg.norm(answer - point) <= np.linalg.norm(second - point) + 1e-7


@given(seeds, st.integers(2, 4), st.integers(1, 45))
@settings(max_examples=150, deadline=None)
def test_where_a_solution_exists_the_projection_is_found_and_certified(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    A, b, point = unit_rows(rng, k, n), -rng.exponential(0.2, size=k), rng.normal(size=n)
    answer = projection(n).nearest(point, A, b)
    assert answer is not None
    assert is_nearest(answer, point, A, b)


@pytest.mark.parametrize("solver", ["osqp", "daqp"])
@given(seed=seeds, n=st.sampled_from([2, 3]), k=st.integers(0, 20), safe=st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_solver_gives_the_same_answer(solver: Solver, seed: int, n: int, k: int, safe: bool) -> None:
    rng = np.random.default_rng(seed)
    A, nominal_mps = rng.normal(size=(k, n)), rng.normal(size=n)
    A = A / np.linalg.norm(A, axis=1, keepdims=True)
    b = rng.uniform(-0.8, 0.0 if safe else 0.3, size=k)
    constraints = Constraints(A, b, np.minimum(b, 0.0), np.zeros(k))
    ours, other = (SafetyFilter(n, name).solve(nominal_mps, constraints, 1.0) for name in ("goldfarb_idnani", solver))
    # OSQP's polish may stay uncertified where conditions are nearly parallel: in the hard problem the mode shows it, in
    # the relaxed one that it brakes
    assume(solver == "daqp" or (ours.mode == other.mode and other.velocity_mps.any()))
    assert ours.mode is other.mode
    np.testing.assert_allclose(ours.velocity_mps, other.velocity_mps, atol=1e-6)
    assert ours.given_up_mps == pytest.approx(other.given_up_mps, abs=1e-6)


def test_an_unknown_solver_is_refused() -> None:
    with pytest.raises(ConfigError, match="solver: got 'simplex'; expected one of goldfarb_idnani, osqp, daqp"):
        SafetyFilter(3, "simplex")  # type: ignore[arg-type]


@given(seeds, st.sampled_from([2, 3]), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_batch_over_worlds_and_drones_is_answered_as_one_by_one(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    worlds, drones = 3, 4
    A = rng.normal(size=(worlds, drones, k, n))
    A = A / np.linalg.norm(A, axis=-1, keepdims=True)
    b = rng.uniform(-0.8, 0.2, size=(worlds, drones, k))
    b[rng.random(b.shape) < 0.2] = -np.inf  # no condition
    constraints = Constraints(A, b, np.minimum(b, 0.0), np.zeros(b.shape))
    nominal_mps, speed_mps = rng.normal(size=(worlds, drones, n)), rng.uniform(0.2, 2.0, size=drones)
    batch = filter_batch(nominal_mps, constraints, speed_mps)
    for w, i in np.ndindex(worlds, drones):
        own = Constraints(*(field[w, i] for field in constraints))
        one = SafetyFilter(n).solve(nominal_mps[w, i], own, float(speed_mps[i]))
        np.testing.assert_array_equal(batch.velocity_mps[w, i], one.velocity_mps)
        assert (batch.mode[w, i], batch.given_up_mps[w, i]) == (one.mode, one.given_up_mps)


def test_a_batch_whose_shapes_do_not_belong_together_is_refused() -> None:
    with pytest.raises(InputError, match="constraints: got"):
        filter_batch(np.zeros((2, 3)), empty_constraints(4, 3), 1.0)


def solve_one(A: list[float], b: float, nominal_mps: list[float], speed_mps: float) -> Filtered:
    row, bound = np.array([A]), np.array([b])
    constraints = Constraints(row, bound, np.minimum(bound, 0.0), np.zeros(1))
    return SafetyFilter(len(A)).solve(np.array(nominal_mps), constraints, speed_mps)


def test_without_conditions_only_the_speed_is_bounded() -> None:
    answer = SafetyFilter(3).solve(np.array([3.0, 0.0, 4.0]), empty_constraints(0, 3), 1.0)
    np.testing.assert_allclose(answer.velocity_mps, [0.6, 0.0, 0.8])
    assert answer.mode is SafetyMode.PASSED


def test_a_nominal_command_that_is_safe_is_passed_unchanged() -> None:
    answer = solve_one([1.0, 0.0], -0.5, [0.1, 0.2], 1.0)
    assert answer.mode is SafetyMode.PASSED
    np.testing.assert_array_equal(answer.velocity_mps, [0.1, 0.2])


def test_a_retreat_that_one_condition_asks_for_is_made_within_the_speed_bound() -> None:
    answer = solve_one([1.0, 0.0], 0.5, [0.0, 1.0], 1.0)
    np.testing.assert_allclose(answer.velocity_mps, [0.5, np.sqrt(0.75)], atol=1e-6)


@given(seeds, st.sampled_from([2, 3]), st.integers(2, 30))
@settings(max_examples=200, deadline=None)
@example(0, 2, 2)
def test_what_cannot_all_be_kept_is_braked_and_separated_and_never_the_nominal_command(
    seed: int, n: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    A = unit_rows(rng, k, n)
    A[1] = -A[0]  # two neighbours on opposite sides, each asking to recede
    b = rng.uniform(-0.5, 0.2, size=k)
    b[:2] = rng.uniform(0.05, 0.5, size=2)
    floor = np.minimum(b, 0.0)
    constraints = Constraints(A, b, floor, np.zeros(k))
    first = SafetyFilter(n).solve(rng.normal(size=n), constraints, 1.0)
    second = SafetyFilter(n).solve(rng.normal(size=n), constraints, 1.0)
    assert first.mode is SafetyMode.RELAXED
    np.testing.assert_allclose(first.velocity_mps, second.velocity_mps, atol=1e-8)  # whatever was asked for
    assert (A @ first.velocity_mps >= floor - 1e-9).all()  # what is owed is kept
    assert np.linalg.norm(first.velocity_mps) <= 1.0 + 1e-9
    assert first.given_up_mps <= b.max() + 1e-9  # never worse than standing still
    assert first.given_up_mps == pytest.approx(max(0.0, (b - A @ first.velocity_mps).max()))


def test_between_two_drones_too_close_it_stands_as_moving_would_approach_one_of_them() -> None:
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.4, 0.2])
    answer = SafetyFilter(2).solve(np.array([0.0, 1.0]), Constraints(A, b, np.zeros(2), np.zeros(2)), 1.0)
    np.testing.assert_allclose(answer.velocity_mps, [0.0, 0.0], atol=1e-9)


def test_it_gives_way_to_the_closer_drone_as_far_as_the_farther_one_may_still_be_approached() -> None:
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.4, 0.2])
    floor = np.array([0.0, -1.0])
    answer = SafetyFilter(2).solve(np.array([0.0, 1.0]), Constraints(A, b, floor, np.zeros(2)), 1.0)
    assert answer.velocity_mps[0] == pytest.approx(0.1, abs=1e-3)
    assert answer.velocity_mps[1] == pytest.approx(0.0, abs=1e-9)


def test_any_number_of_neighbours_is_taken() -> None:
    rng = np.random.default_rng(1)
    safety_filter = SafetyFilter()
    for k in (1, 5, 17, 300, 3):
        constraints = in_the_safe_set(rng, 3, k)
        answer = safety_filter.solve(rng.normal(size=3), constraints, 1.0)
        assert (constraints.A @ answer.velocity_mps >= constraints.b - 1e-9).all()
