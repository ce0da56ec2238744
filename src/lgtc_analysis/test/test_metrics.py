"""Figures of a flight against what is known of the world that made it, and against brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lgtc_analysis import metrics
from lgtc_analysis.flight import Flight, flight_from_messages
from lgtc_analysis.info import FlightInfo
from lgtc_analysis.timeline import timeline
from lgtc_core.world import rules

TICK_S = 0.1
Flown = Callable[..., Flight]


def flight_of_paths(flight: Flight, paths: dict[str, np.ndarray], phase: int = 3) -> Flight:
    """A flight that has nothing but given poses, a tenth of a second apart, all drones in one vehicle
    phase.
    """

    def header(k: int) -> SimpleNamespace:
        return SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=k * 100_000_000))

    def point(xyz: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(**dict(zip("xyz", map(float, xyz), strict=True)))

    received: dict = {
        "/mission": [(0, SimpleNamespace(header=header(0), phase=2, elapsed_s=0.0, reason=""))],
        "/demand": [(0, SimpleNamespace(header=header(0), revision=1, kinds=["battery", "parcel"], consumers=[]))],
    }
    for name in flight.names:
        path = paths.get(name, np.array([[0.0, 0.0, -50.0]] * 2))
        received[f"/{name}/pose"] = [
            (k, SimpleNamespace(header=header(k), pose=SimpleNamespace(position=point(xyz))))
            for k, xyz in enumerate(path)
        ]
        status = SimpleNamespace(
            header=header(0),
            phase=phase if name in paths else 0,
            reference=point(path[0]),
            setpoint_age_s=0.0,
            reason="",
        )
        received[f"/{name}/vehicle"] = [(0, status)]
    return flight_from_messages("paths", received, info=FlightInfo("paths", "test", flight.team.to_dict()))


def test_two_drones_that_swap_places_between_two_poses_are_seen_to_meet(flight: Flight) -> None:
    swapped = flight_of_paths(
        flight, {"cf1": np.array([[-1, 0, 1], [1, 0, 1.0]]), "cf2": np.array([[1, 0.1, 1], [-1, 0.1, 1.0]])}
    )
    near = metrics.approach(swapped)
    assert near.smallest_m == pytest.approx(0.1)
    assert near.too_close == ((0, 1),)


def test_right_above_the_downwash_distance_counts_as_the_safety_distance(flight: Flight) -> None:
    drone = flight.team.drones[0]
    stacked = flight_of_paths(
        flight,
        {"cf1": np.array([[0, 0, 1.0]] * 2), "cf2": np.array([[0, 0, 1.0 + drone.downwash_m]] * 2)},
    )
    assert metrics.approach(stacked).smallest_m == pytest.approx(drone.safety_distance_m)


def test_drones_on_the_ground_cannot_be_too_close(flight: Flight) -> None:
    parked = flight_of_paths(flight, {"cf1": np.zeros((3, 3)), "cf2": np.zeros((3, 3))}, phase=5)
    assert np.isnan(metrics.approach(parked).smallest_m)
    assert metrics.approach(parked).too_close == ()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
@example(5508)
def test_nearest_pair_equals_brute_force_over_dense_samples(flight: Flight, seed: int) -> None:
    rng = np.random.default_rng(seed)
    paths = {name: np.c_[rng.uniform(-2, 2, (6, 2)), np.ones(6)] for name in ("cf1", "cf2", "cf3")}
    wandering = flight_of_paths(flight, paths)
    fine = np.linspace(0, 0.5, 50_01)
    dense = timeline(wandering, fine).position_m[:, :3, :2]
    apart = [dense[:, i] - dense[:, j] for i, j in ((0, 1), (0, 2), (1, 2))]
    nearest_m = min(np.hypot(*offset.T).min() for offset in apart)
    half_step_m = 0.5 * max(np.hypot(*np.diff(offset, axis=0).T).max() for offset in apart)  # what samples may miss
    assert nearest_m - half_step_m - 1e-9 <= metrics.approach(wandering).smallest_m <= nearest_m + 1e-9


def test_positions_are_not_invented_in_gaps_or_outside_the_recording(flight: Flight) -> None:
    path = np.array([[0, 0, 1.0]] * 3 + [[1, 0, 1.0]] * 3)
    short = flight_of_paths(flight, {"cf1": path})
    pose = short.drones["cf1"].pose
    pose.time_s[3:] += 2.0
    known = np.isfinite(timeline(short, np.array([-0.1, 0.0, 0.15, 1.0, 2.35, 9.0])).position_m[:, 0, 0])
    assert known.tolist() == [False, True, True, False, True, False]


def test_mission_time_starts_when_the_policies_take_over(flight: Flight) -> None:
    assert flight.active_s == pytest.approx((0.0, 24.0))
    assert flight.span_s == pytest.approx((-2.0, 26.6))


def test_shares_met_lie_between_none_and_all_and_agree_with_the_total(flight: Flight) -> None:
    share, total = metrics.share_met_per_consumer(flight), metrics.share_met(flight)
    assert (share >= -1e-6).all()
    assert (share <= 1 + 1e-6).all()
    weights = flight.demand.demanded.sum(-1)
    np.testing.assert_allclose((share * weights).sum(-1) / weights.sum(-1), total, atol=1e-6)


def test_every_place_is_covered_when_its_first_server_has_arrived(flight: Flight) -> None:
    took = {one.consumer: one.took_s for one in metrics.coverages(flight)}
    assert set(took) == {"west", "east", "north"}
    assert took["north"] == pytest.approx((1.5 + 2.0 - 0.55) / 0.8, abs=2 * TICK_S)
    assert max(took.values()) == took["north"]


def test_the_hand_over_says_who_left_when_why_and_who_came(flight: Flight) -> None:
    (one,) = metrics.handovers(flight)
    assert (one.consumer, one.leavers, one.landing, one.successors) == ("north", ("cf3",), True, ("cf4",))
    assert one.left_s == pytest.approx(12.0, abs=TICK_S)
    way_m = np.hypot(-1.75 + 0.4, -0.5 - 1.5)
    arrives_s = 12.2 + (way_m - 0.55 + 0.4 * 0.5595) / 0.8
    assert one.served_again_s == pytest.approx(arrives_s, abs=0.2)
    assert one.met_again_s == one.served_again_s
    assert one.notice_s == pytest.approx(1.0, abs=2 * TICK_S), "announced 1.5 s before its tier LAND, at 11 s"


def test_a_place_that_nobody_takes_over_stays_unserved(flown: Flown) -> None:
    (one,) = metrics.handovers(flown("nobody comes"))
    assert np.isnan(one.gap_s)
    assert np.isnan(one.met_again_s)
    assert one.successors == ()


def test_a_place_that_is_removed_while_nobody_serves_it_was_unserved_until_then(flown: Flown) -> None:
    flight = flown("nobody comes")
    demand = flight.demand
    exists = demand.exists.copy()
    exists[(demand.time_s >= 15.0) & (demand.time_s < 20.0), demand.names.index("north")] = False
    (one,) = metrics.handovers(replace(flight, demand=replace(demand, exists=exists)))
    assert one.given_up_s == pytest.approx(15.0, abs=2 * TICK_S)
    assert one.gap_s == one.given_up_s - one.left_s
    assert np.isnan(one.served_again_s)


def test_team_rewards_add_up_to_the_demand_that_went_away(flight: Flight) -> None:
    reward = metrics.rewards(flight)
    assert reward is not None
    weight = metrics.reward_weights(flight).g
    total_supply = sum(sum(drone.supply) for drone in flight.team.drones)
    met = reward.terms.g[:, 0].sum() * total_supply / weight
    rows = np.searchsorted(flight.demand.time_s, [1e-6, 24.0 - 1e-6]) - 1
    missing = flight.demand.remaining[rows].sum((1, 2))
    assert met == pytest.approx(missing[0] - missing[1], rel=0.02)


def test_the_parcel_is_paid_to_the_drone_that_brought_it(flight: Flight) -> None:
    reward = metrics.rewards(flight)
    assert reward is not None
    paid = np.flatnonzero(reward.terms.im.sum(0) > 0)
    assert [flight.names[i] for i in paid] == ["cf5"]
    assert reward.terms.im.sum() == pytest.approx(metrics.reward_weights(flight).im * 0.5 / 1.5, rel=0.02)
    assert {flight.names[i] for i in np.flatnonzero(reward.terms.rc.sum(0) > 0)} <= {"cf2", "cf5"}


def test_a_landed_drone_earns_nothing(flight: Flight) -> None:
    reward = metrics.rewards(flight)
    assert reward is not None
    assert not reward.alive[reward.time_s > 12.7, 2].any()
    assert not reward.total[reward.time_s > 12.7, 2].any()


def test_targets_of_eq_2_cover_every_place_and_change_only_with_the_team(flight: Flight) -> None:
    reward = metrics.rewards(flight)
    assert reward is not None
    for t in (5.0, 20.0):
        assert set(reward.target[np.searchsorted(reward.time_s, t)]) - {-1} == {0, 1, 2}
    changes = reward.time_s[1:][(np.diff(reward.target, axis=0) != 0).any(1)]
    assert np.all(np.abs(changes[changes < 23.9] - 12.6) < 2 * TICK_S)


def test_latencies_are_those_of_the_recorders_clock(flight: Flight) -> None:
    np.testing.assert_allclose(metrics.pose_to_command_s(flight), 0.003, atol=1e-6)
    np.testing.assert_allclose(metrics.pose_to_decision_s(flight), 0.002, atol=1e-6)
    median, p99, largest = metrics.quantiles_ms(metrics.pose_to_command_s(flight))
    assert median == pytest.approx(3.0, abs=1e-3)
    assert median <= p99 + 1e-9 <= largest + 2e-9


def test_the_real_time_factor_is_that_of_the_recorders_clock(flight: Flight) -> None:
    assert metrics.real_time_factors(flight) == pytest.approx(1.0)
    slow = np.where(flight.mission.time_s < 5.0, 1.0, 4.0)  # real seconds per second
    received_s = np.cumsum(np.diff(flight.mission.time_s, prepend=flight.mission.time_s[0]) * slow)
    factors = metrics.real_time_factors(replace(flight, mission=replace(flight.mission, received_s=received_s)))
    assert factors[0] == pytest.approx(1.0, abs=0.1)
    assert factors[1:] == pytest.approx(0.25)


def test_a_pose_without_an_answer_has_no_latency(flown: Flown, flight: Flight) -> None:
    paused = flown("wings stall")
    lost = len(metrics.pose_to_command_s(flight)) - len(metrics.pose_to_command_s(paused))
    assert lost == 6
    assert metrics.command_gaps_s(paused).max() == pytest.approx(0.7)
    assert metrics.longest_setpoint_gap(paused) == metrics.Gap("cf1", pytest.approx(4.9), pytest.approx(0.7))
    assert metrics.command_gaps_s(flight).max() == pytest.approx(0.1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 64))
def test_the_projection_of_a_bounded_liquid_state_is_bounded_and_ignores_the_rest(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    state = np.concatenate([rng.uniform(-1, 1, (5, width)), rng.normal(size=(5, 3)) * 1e6], 1)
    projection = metrics.liquid_projection(state, width)
    assert (np.abs(projection) <= 1.0).all()
    np.testing.assert_allclose(projection * width, state[:, :width] @ np.ones(width))


def test_weights_of_the_model_card_are_used(flight: Flight) -> None:
    assert metrics.reward_weights(flight) == rules.RewardWeights()
    flight.info.model_card["training"] = {"rewards": {"g": 7.5}}  # type: ignore[index]
    try:
        assert metrics.reward_weights(flight).g == 7.5
    finally:
        del flight.info.model_card["training"]  # type: ignore[attr-defined]
