"""The radius of the guarantee is enough; a configuration that it cannot hold in is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import DroneType
from lgtc_core.flight import guarantee
from lgtc_core.flight.barrier import pairs, walls
from lgtc_core.flight.guarantee import ALONE, SHARED, Hypotheses
from lgtc_core.flight.guard import GuardParams
from lgtc_core.world.arena import Arena

speeds, ages, distances = st.floats(0.0, 2.0), st.floats(0.0, 0.4), st.floats(0.1, 1.0)
figures = st.builds(
    Hypotheses,
    gain_per_s=st.floats(1.0, 10.0),
    delay_s=st.floats(0.0, 0.1),
    lag_s=st.floats(0.0, 0.3),
    velocity_error_mps=st.floats(0.0, 0.1),
)
ARENA = Arena(half_extent_m=(2.5, 2.5))
DRONE = DroneType(max_speed_mps=0.8, safety_distance_m=0.25)


@given(figures, distances, speeds, ages, speeds, ages)
def test_the_radius_is_never_less_than_distance_plus_displacement(
    figures: Hypotheses, distance_m: float, own_mps: float, own_s: float, other_mps: float, other_s: float
) -> None:
    args = (figures, own_mps, own_s, other_mps, other_s)
    shared = guarantee.barrier_radius_m(distance_m, *args, SHARED)
    assert shared >= distance_m + guarantee.displacement_m(*args) - 1e-12


def test_at_rest_and_without_error_the_radius_is_the_safety_distance() -> None:
    exact = Hypotheses(gain_per_s=4.0, delay_s=0.02, lag_s=0.0, velocity_error_mps=0.0)
    assert guarantee.barrier_radius_m(0.25, exact, 0.0, 0.1, 0.0, 0.1, SHARED) == pytest.approx(0.25)


@given(figures, distances, speeds, ages, speeds, ages, st.floats(0.0, 0.3))
def test_older_positions_never_shrink_the_radius(
    figures: Hypotheses,
    distance_m: float,
    own_mps: float,
    own_s: float,
    other_mps: float,
    other_s: float,
    more_s: float,
) -> None:
    now = guarantee.barrier_radius_m(distance_m, figures, own_mps, own_s, other_mps, other_s, SHARED)
    later = guarantee.barrier_radius_m(
        distance_m, figures, own_mps, own_s + more_s, other_mps, other_s + more_s, SHARED
    )
    assert later >= now - 1e-12


@given(
    st.floats(1.0, 8.0),
    st.floats(0.0, 0.05),
    st.floats(0.1, 1.5),
    ages,
    ages,
    st.integers(0, 2**32 - 1),
    st.floats(0.2, 0.5),
)
def test_at_the_claimed_distance_no_allowed_pair_of_commands_approaches(
    gain_per_s: float, delay_s: float, speed_mps: float, own_s: float, other_s: float, seed: int, distance_m: float
) -> None:
    """True distance D, measurements off by the most they can be, the worst commands allowed."""
    rng = np.random.default_rng(seed)
    figures = Hypotheses(gain_per_s, delay_s, 0.0, 0.0)
    true = distance_m * np.array([1.0, 0.0])
    rate = 0.0
    for sign in (1.0, -1.0):
        e = float(guarantee.displacement_m(figures, speed_mps, own_s, speed_mps, other_s))
        radius_m = guarantee.barrier_radius_m(distance_m, figures, speed_mps, own_s, speed_mps, other_s, SHARED)
        angle = rng.uniform(-np.pi, np.pi)
        measured = sign * true + e * np.array([np.cos(angle), np.sin(angle)])
        row = pairs(
            measured,
            np.zeros((1, 2)),
            np.zeros((1, 2)),
            radius_m[None],
            np.array([SHARED]),
            np.ones(1),
            gain_per_s,
            0.1,
            np.inf,
        )
        # the allowed velocity that approaches fastest: over the disc of speeds with A v >= b
        angles = np.linspace(-np.pi, np.pi, 721)
        candidates = speed_mps * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        allowed = candidates[candidates @ row.A[0] >= row.b[0] - 1e-9]
        worst = (allowed @ (sign * true)).min() if len(allowed) else 0.0
        rate += 2.0 * worst
    assert rate >= -1e-6


@given(figures, st.floats(0.05, 1.5), ages, st.floats(0.05, 1.5), ages, st.floats(1.0, 3.0))
def test_beyond_the_required_range_no_condition_binds(
    figures: Hypotheses, own_mps: float, own_s: float, other_mps: float, other_s: float, farther: float
) -> None:
    args = (figures, own_mps, own_s, other_mps, other_s)
    heard_m = guarantee.required_range_m(0.25, *args) * farther
    radius_m = guarantee.barrier_radius_m(0.25, *args, SHARED)
    measured_m = heard_m - float(guarantee.displacement_m(*args))
    row = pairs(
        np.array([measured_m, 0.0]),
        np.zeros((1, 2)),
        np.zeros((1, 2)),
        radius_m[None],
        np.array([SHARED]),
        np.ones(1),
        figures.gain_per_s,
        0.1,
        np.inf,
    )
    assert row.b[0] <= -own_mps + 1e-9


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]), st.sampled_from([SHARED, ALONE]), st.floats(0.0, 0.2))
def test_sampling_alone_costs_nothing_as_h_is_quadratic(seed: int, n: int, share: float, period_s: float) -> None:
    """h(t + T) >= (1 - alpha T) h(t) for any velocities that obey the rows, held over the whole period."""
    rng = np.random.default_rng(seed)
    gain_per_s, flattening = 4.0, np.array([0.4])
    own, other = rng.normal(size=(2, n))
    own_mps, other_mps = rng.normal(size=(2, n))
    radius_m = np.array([0.3])

    def row(here: np.ndarray, there: np.ndarray, its_mps: np.ndarray):  # type: ignore[no-untyped-def]
        return pairs(
            here, there[None], its_mps[None], radius_m, np.array([share]), flattening, gain_per_s, np.inf, np.inf
        )

    mine = row(own, other, other_mps)
    if mine.h[0] < 0.0:
        return
    own_mps = own_mps + max(0.0, mine.b[0] - mine.A[0] @ own_mps) * mine.A[0]
    if share == SHARED:
        theirs = row(other, own, own_mps)
        other_mps = other_mps + max(0.0, theirs.b[0] - theirs.A[0] @ other_mps) * theirs.A[0]
    later = row(own + period_s * own_mps, other + period_s * other_mps, other_mps)
    assert later.h[0] >= (1.0 - gain_per_s * period_s) * mine.h[0] - 1e-9


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_conditions_are_the_derivative_of_h(seed: int, n: int) -> None:
    """Finite differences: 2 |P Delta| (A v - b) = d/dt h + w alpha h for the own velocity."""
    rng = np.random.default_rng(seed)
    own, other = rng.normal(size=(2, n))
    velocity = rng.normal(size=n)
    flattening, dt_s = np.array([0.5]), 1e-6

    def at(position: np.ndarray):  # type: ignore[no-untyped-def]
        return pairs(
            position,
            other[None],
            np.zeros((1, n)),
            np.array([0.3]),
            np.array([SHARED]),
            flattening,
            4.0,
            np.inf,
            np.inf,
        )

    now = at(own)
    rate = (at(own + dt_s * velocity).h[0] - at(own - dt_s * velocity).h[0]) / (2.0 * dt_s)
    weights = np.ones(n)
    weights[2:] = flattening**2
    length = np.linalg.norm(weights * (own - other))
    assert 2.0 * length * (now.A[0] @ velocity - now.b[0]) == pytest.approx(rate + SHARED * 4.0 * now.h[0], abs=1e-6)


def test_two_drones_in_the_same_place_still_get_a_direction() -> None:
    row = pairs(
        np.zeros(3), np.zeros((1, 3)), np.zeros((1, 3)), np.ones(1), np.full(1, SHARED), np.ones(1), 4.0, 0.1, 0.8
    )
    assert np.linalg.norm(row.A[0]) == pytest.approx(1.0)
    assert row.b[0] == pytest.approx(0.8)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]), st.floats(0.0, 0.2))
def test_a_drone_that_obeys_the_walls_stays_inside(seed: int, n: int, period_s: float) -> None:
    rng = np.random.default_rng(seed)
    lower, upper = -np.ones(n), np.ones(n)
    p = rng.uniform(-1.0, 1.0, size=n)
    rows = walls(p, lower, upper, 4.0, np.full(n, np.inf))
    v = np.clip(rng.normal(size=n), rows.b[:n], -rows.b[n:])
    assert (rows.A @ v >= rows.b - 1e-12).all()
    after = walls(p + period_s * v, lower, upper, 4.0, np.full(n, np.inf))
    assert (after.h >= (1.0 - 4.0 * period_s) * rows.h - 1e-12).all()


def check(drone: DroneType = DRONE, arena: Arena = ARENA, params: GuardParams = GuardParams()) -> None:  # noqa: B008
    guarantee.check_configuration(
        "cf1", drone, (), arena, params.hypotheses, params.pose_hold_s, params.neighbour_timeout_s
    )


def test_the_default_configuration_is_accepted() -> None:
    check()
    check(DroneType())


@pytest.mark.parametrize(
    ("drone", "arena", "params", "key", "needed"),
    [
        (replace(DRONE, max_speed_mps=1.5), ARENA, GuardParams(), "max_acceleration_mps2", r"= 6 m/s\^2"),
        (
            DRONE,
            replace(ARENA, communication_radius=0.5),
            GuardParams(),
            "arena.communication_radius",
            r"at least 0\.\d+",
        ),
        (DRONE, ARENA, GuardParams(neighbour_timeout_s=2.0), "arena.communication_radius", r"at least \d"),
        (DRONE, ARENA, GuardParams(latency_s=0.5), "barrier_gain_per_s", r"at most 1 /"),
        (
            DRONE,
            replace(ARENA, flight_height_m=1.99),
            GuardParams(),
            "arena.flight_height_m",
            r"at least 0\.\d+ m from",
        ),
    ],
)
def test_a_configuration_that_cannot_keep_the_claim_is_refused_with_what_it_needs(
    drone: DroneType, arena: Arena, params: GuardParams, key: str, needed: str
) -> None:
    with pytest.raises(ConfigError, match=needed) as refusal:
        check(drone, arena, params)
    assert refusal.value.key == key


def test_the_range_that_a_refusal_asks_for_is_accepted() -> None:
    drone = replace(DRONE, max_speed_mps=0.95)
    params = GuardParams()
    needed_m = guarantee.required_range_m(
        drone.safety_distance_m, params.hypotheses, 0.95, params.pose_hold_s, 0.95, params.neighbour_timeout_s
    )
    check(drone, replace(ARENA, communication_radius=needed_m / ARENA.scale_m))
    with pytest.raises(ConfigError):
        check(drone, replace(ARENA, communication_radius=0.999 * needed_m / ARENA.scale_m))
