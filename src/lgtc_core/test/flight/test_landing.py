"""Where to come down: nobody below or beside, no detour without need, and never a refusal to land."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_core.flight.landing import free_spot, is_clear
from lgtc_core.world.arena import Arena

CLEARANCE_M = 0.4
ARENA = Arena(
    centre_m=(0.5, -1.0),
    half_extent_m=(2.5, 2.0),
    height_min_m=0.3,
    height_max_m=2.0,
    flight_height_m=1.0,
    communication_radius=1.0,
)


def inside(draw: st.DrawFn, margin_m: float) -> np.ndarray:
    reach = np.array(ARENA.half_extent_m) - margin_m
    unit = st.floats(-1.0, 1.0)
    return np.array(ARENA.centre_m) + reach * np.array([draw(unit), draw(unit)])


@st.composite
def scene(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A drone in the arena, and up to eight others anywhere in it, some exactly below."""
    own = inside(draw, 0.3)
    count = draw(st.integers(0, 8))
    others = [own if draw(st.booleans()) and i == 0 else inside(draw, 0.0) for i in range(count)]
    return own, np.array(others).reshape(-1, 2)


@given(scene())
def test_the_place_is_clear_and_inside_and_not_farther_than_it_must_be(pair: tuple[np.ndarray, np.ndarray]) -> None:
    own, others = pair
    spot = free_spot(own, others, CLEARANCE_M, ARENA)
    if is_clear(own, others, CLEARANCE_M):
        assert np.array_equal(spot, own)
        return
    grid = np.stack(np.meshgrid(np.linspace(-2.0, 3.0, 101), np.linspace(-3.0, 1.0, 81)), -1).reshape(-1, 2)
    room = ARENA.contains(grid, 0.5 * CLEARANCE_M) & is_clear(grid, others, 1.1 * CLEARANCE_M)
    assert is_clear(spot, others, CLEARANCE_M) or not room.any()
    if not np.array_equal(spot, own):
        assert ARENA.contains(spot)
    if room.any():
        nearest_m = np.hypot(*(grid[room] - own).T).min()
        assert np.hypot(*(spot - own)) <= nearest_m + CLEARANCE_M


def test_exactly_above_another_it_still_knows_a_way_out() -> None:
    own = np.array([0.5, -1.0])
    spot = free_spot(own, own[None], CLEARANCE_M, ARENA)
    assert np.hypot(*(spot - own)) == pytest.approx(CLEARANCE_M, rel=0.05)


def test_where_nothing_is_free_it_lands_where_it_is() -> None:
    own = np.array([0.5, -1.0])
    crowd = np.stack(np.meshgrid(np.linspace(-2.0, 3.0, 21), np.linspace(-3.0, 1.0, 17)), -1).reshape(-1, 2)
    assert np.array_equal(free_spot(own, crowd, CLEARANCE_M, ARENA), own)


@given(scene(), st.lists(st.tuples(st.floats(-2.0, 3.0), st.floats(-3.0, 1.0), st.floats(0.2, 0.7)), max_size=3))
def test_it_comes_down_outside_of_every_disc_where_such_a_place_is_within_reach(
    pair: tuple[np.ndarray, np.ndarray], places: list[tuple[float, float, float]]
) -> None:
    own, others = pair
    discs, reach_m = np.array(places).reshape(-1, 3), 2.0
    spot = free_spot(own, others, CLEARANCE_M, ARENA, discs, reach_m)
    grid = np.stack(np.meshgrid(np.linspace(-2.0, 3.0, 101), np.linspace(-3.0, 1.0, 81)), -1).reshape(-1, 2)
    room = ARENA.contains(grid, 0.5 * CLEARANCE_M) & is_clear(grid, others, 1.1 * CLEARANCE_M)
    for x_m, y_m, radius_m in places:
        room &= np.hypot(*(grid - [x_m, y_m]).T) >= radius_m + 1.1 * CLEARANCE_M
    if (room & (np.hypot(*(grid - own).T) <= reach_m - CLEARANCE_M)).any():
        assert is_clear(spot, others, CLEARANCE_M)
        assert all(np.hypot(*(spot - disc[:2])) >= disc[2] + CLEARANCE_M for disc in discs)
        assert np.hypot(*(spot - own)) <= reach_m
    else:
        without = free_spot(own, others, CLEARANCE_M, ARENA, reach_m=reach_m)
        outside = all(np.hypot(*(spot - disc[:2])) >= disc[2] + CLEARANCE_M for disc in discs)
        assert outside or np.array_equal(spot, without)
