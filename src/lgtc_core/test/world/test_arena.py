"""Arena: the mapping between metres and normalised coordinates is one, isotropic and invertible."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError
from lgtc_core.schema import build, dump
from lgtc_core.world.arena import Arena

lengths = st.floats(0.5, 500.0)
places = st.floats(-1000.0, 1000.0)
arenas = st.builds(
    Arena,
    centre_m=st.tuples(places, places),
    half_extent_m=st.tuples(lengths, lengths),
    communication_radius=st.floats(0.05, 3.0),
)
points = st.lists(st.tuples(places, places), min_size=2, max_size=8).map(np.array)


@given(arenas, points)
def test_normalising_and_back_is_the_identity(arena: Arena, p_m: np.ndarray) -> None:
    np.testing.assert_allclose(arena.to_metres(arena.to_normalised(p_m)), p_m, atol=1e-9, rtol=1e-12)


@given(arenas, points)
def test_distances_scale_alike_in_every_direction(arena: Arena, p_m: np.ndarray) -> None:
    p = arena.to_normalised(p_m)
    expected = np.linalg.norm(p_m[0] - p_m[1]) / arena.scale_m
    assert np.linalg.norm(p[0] - p[1]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(arenas, points)
def test_hearing_in_metres_is_hearing_in_normalised_units(arena: Arena, p_m: np.ndarray) -> None:
    p = arena.to_normalised(p_m)
    distance_m, distance = np.linalg.norm(p_m[0] - p_m[1]), np.linalg.norm(p[0] - p[1])
    if not math.isclose(distance, arena.communication_radius, rel_tol=1e-6):
        assert (distance_m <= arena.radius_m) == (distance <= arena.communication_radius)


@given(arenas, st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_the_walls_are_inside_the_unit_square_and_outside_is_beyond_a_wall(arena: Arena, x: float, y: float) -> None:
    inside_m = np.asarray(arena.centre_m) + 0.999 * np.array([x, y]) * arena.half_extent_m
    assert arena.contains(inside_m)
    assert (np.abs(arena.to_normalised(inside_m)) <= 1.0 + 1e-9).all()
    assert not arena.contains(np.asarray(arena.centre_m) + 1.001 * np.asarray(arena.half_extent_m))


def test_a_margin_keeps_off_the_walls_and_nan_is_nowhere() -> None:
    arena = Arena(half_extent_m=(2.0, 1.0))
    p_m = np.array([[1.9, 0.0], [1.7, 0.0], [0.0, 0.9], [math.nan, 0.0]])
    assert arena.contains(p_m, margin_m=0.2).tolist() == [False, True, False, False]
    assert arena.contains(p_m).tolist() == [True, True, True, False]


@given(arenas)
def test_an_arena_survives_dump_and_build(arena: Arena) -> None:
    assert build(Arena, dump(arena), "fleet.yaml") == arena


@pytest.mark.parametrize(
    ("heights", "key"),
    [
        ({"height_min_m": 2.0, "height_max_m": 1.0}, "height_max_m"),
        ({"flight_height_m": 0.1}, "flight_height_m"),
        ({"flight_height_m": 5.0}, "flight_height_m"),
    ],
)
def test_heights_out_of_order_are_refused(heights: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Arena, {"half_extent_m": [2.5, 2.5], **heights}, "fleet.yaml", "arena")
    assert caught.value.key == f"arena.{key}"
