"""Who is near: hysteresis, silence, and the bound that the margin must cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_core.errors import InputError
from lgtc_core.loop.neighbourhood import Neighbourhood, NeighbourhoodParams, Sighting

PARAMS = NeighbourhoodParams(margin_m=1.0, hysteresis_m=0.5, silence_s=3.0)
RADIUS_M = 2.0


def at(x_m: float) -> np.ndarray:
    return np.array([x_m, 0.0, 1.0])


def watched(*distances_m: float) -> frozenset[str]:
    """Near team-mates after one other drone was seen at these distances, one sighting per half second."""
    near = Neighbourhood("cf1", RADIUS_M, PARAMS)
    near.moved(at(0.0))
    for i, distance_m in enumerate(distances_m):
        near.sighted(Sighting("cf2", 0.5 * i, at(distance_m)))
        near.update(0.5 * i)
    return near.near


def test_a_team_mate_within_radius_and_margin_is_near() -> None:
    assert watched(2.9) == {"cf2"}
    assert watched(3.1) == frozenset()


def test_one_that_is_near_stays_near_until_the_hysteresis_is_left() -> None:
    assert watched(2.9, 3.4) == {"cf2"}
    assert watched(2.9, 3.6) == frozenset()
    assert watched(2.9, 3.6, 3.4) == frozenset()


@given(st.lists(st.floats(3.01, 3.49), min_size=2, max_size=20))
def test_noise_inside_the_hysteresis_never_flaps(distances_m: list[float]) -> None:
    assert watched(2.0, *distances_m) == {"cf2"}
    assert watched(5.0, *distances_m) == frozenset()


def test_silence_ends_nearness_and_one_word_restores_it() -> None:
    near = Neighbourhood("cf1", RADIUS_M, PARAMS)
    near.moved(at(0.0))
    near.sighted(Sighting("cf2", 0.0, at(1.0)))
    assert near.update(2.9) == {"cf2"}
    assert near.update(3.1) == frozenset()
    near.sighted(Sighting("cf2", 3.2, at(1.0)))
    assert near.update(3.2) == {"cf2"}


def test_without_an_own_position_everybody_counts_as_near() -> None:
    near = Neighbourhood("cf1", RADIUS_M, PARAMS)
    near.sighted(Sighting("cf2", 0.0, at(100.0)))
    assert near.update(0.0) == {"cf2"}


def test_the_own_presence_is_nobody() -> None:
    near = Neighbourhood("cf1", RADIUS_M, PARAMS)
    near.sighted(Sighting("cf1", 0.0, at(0.0)))
    assert near.update(0.0) == frozenset()


def test_an_older_word_does_not_replace_a_newer_one() -> None:
    near = Neighbourhood("cf1", RADIUS_M, PARAMS)
    near.moved(at(0.0))
    near.sighted(Sighting("cf2", 1.0, at(10.0)))
    near.sighted(Sighting("cf2", 0.5, at(1.0)))
    assert near.update(1.0) == frozenset()


def test_a_word_from_the_future_is_forgotten_and_does_not_shut_out_the_present() -> None:
    near = Neighbourhood("cf1", RADIUS_M, PARAMS)
    near.moved(at(0.0))
    near.sighted(Sighting("cf2", 1e6, at(1.0)))
    assert near.update(0.0) == frozenset()
    near.sighted(Sighting("cf2", 0.1, at(1.0)))
    assert near.update(0.1) == {"cf2"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_position_that_is_not_finite_is_refused_and_changes_nothing(bad: float) -> None:
    near = Neighbourhood("cf1", RADIUS_M, PARAMS)
    near.moved(at(0.0))
    near.sighted(Sighting("cf2", 0.0, at(1.0)))
    with pytest.raises(InputError):
        near.moved(at(bad))
    with pytest.raises(InputError):
        near.sighted(Sighting("cf2", 0.1, at(bad)))
    assert near.update(0.2) == {"cf2"}


@given(
    start_m=st.floats(3.51, 8.0),
    speeds_mps=st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=40),
)
def test_with_the_default_margin_nobody_gets_within_the_radius_unheard(start_m: float, speeds_mps: list[float]) -> None:
    """Two drones at 1 m/s each, presence every half second: at every sighting, whoever is within C was near already."""
    near = Neighbourhood("cf1", RADIUS_M)
    near.moved(at(0.0))
    x_m = start_m
    for i, speed_mps in enumerate(speeds_mps):
        near.sighted(Sighting("cf2", 0.5 * i, at(x_m)))
        near.update(0.5 * i)
        x_m = max(0.0, x_m + 0.5 * speed_mps)
        assert x_m > RADIUS_M - 1e-9 or near.near == {"cf2"}
