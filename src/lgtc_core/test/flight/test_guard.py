"""Each watchdog does what its table says, and drones under guard keep their distance whatever they are told."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError, InputError
from lgtc_core.fleet.fleet import DroneType
from lgtc_core.flight.barrier import walls
from lgtc_core.flight.guard import Guard, GuardParams, Guards
from lgtc_core.flight.phases import HASTE, SafetyMode, VehiclePhase
from lgtc_core.flight.pilot import PilotParams
from lgtc_core.flight.safety_filter import SafetyFilter, fence
from lgtc_core.schema import build
from lgtc_core.wire import VehicleReport
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]
ARENA = Arena(half_extent_m=(2.5, 2.5))
DRONE = DroneType(max_speed_mps=0.8, safety_distance_m=0.25, downwash_m=0.6)
PARAMS = GuardParams()


def guard(params: GuardParams = PARAMS) -> Guard:
    return Guard("cf1", DRONE, ARENA, params)


def settled(g: Guard, now_s: float, position_m: list[float], nominal_mps: list[float], ticks: int = 30):  # type: ignore[no-untyped-def]
    """The command after the acceleration limit has let the nominal velocity through."""
    for k in range(ticks):
        t = now_s + k / PARAMS.rate_hz
        g.pose(t, position_m)
        g.nominal(t, nominal_mps)
        command = g.command(t)
    return command


def test_a_safe_nominal_velocity_is_passed_at_full_speed() -> None:
    command = settled(guard(), 0.0, [0.0, 0.0, 1.0], [0.5, -0.3, 0.0])
    assert command.mode is SafetyMode.PASSED
    assert command.reason == ""
    np.testing.assert_allclose(command.velocity_mps, [0.5, -0.3, 0.0], atol=1e-9)
    assert math.isnan(command.distance_min_m)


@pytest.mark.parametrize("nominal_mps", [[5.0, 0.0, 0.0], [0.0, 0.0, 9.0], [3.0, 4.0, -2.0]])
def test_speed_and_climb_limits_hold_for_any_nominal_velocity(nominal_mps: list[float]) -> None:
    command = settled(guard(), 0.0, [0.0, 0.0, 1.0], nominal_mps)
    assert np.linalg.norm(command.velocity_mps) <= DRONE.max_speed_mps + 1e-9
    assert abs(command.velocity_mps[2]) <= DRONE.climb_speed_mps + 1e-9


def test_the_nominal_velocity_is_followed_no_faster_than_the_vehicle_accelerates() -> None:
    g = guard()
    last = np.zeros(3)
    for k in range(30):
        t = k / PARAMS.rate_hz
        g.pose(t, [0.0, 0.0, 1.0])
        g.nominal(t, [0.8 * (-1) ** (k // 10), 0.0, 0.0])
        velocity = g.command(t).velocity_mps
        assert np.linalg.norm(velocity - last) <= DRONE.max_acceleration_mps2 / PARAMS.rate_hz + 1e-9
        last = velocity


def test_the_flight_height_is_returned_to() -> None:
    low = settled(guard(), 0.0, [0.0, 0.0, 0.8], [0.0, 0.0, 0.0])
    high = settled(guard(), 0.0, [0.0, 0.0, 1.2], [0.0, 0.0, 0.0])
    assert low.velocity_mps[2] > 0.0 > high.velocity_mps[2]


def test_a_lone_drone_keeps_the_walls_and_the_height_band() -> None:
    rng = np.random.default_rng(0)
    params = GuardParams(height_gain_per_s=0.0)
    g, p = guard(params), np.array([0.0, 0.0, 1.0])
    wish = rng.normal(size=3)
    for k in range(3_000):
        if k % 100 == 0:
            wish = 2.0 * rng.normal(size=3)
        t = k / params.rate_hz
        g.pose(t, p)
        g.nominal(t, wish)
        p = p + g.command(t).velocity_mps / params.rate_hz
        assert ARENA.contains(p[:2])
        assert ARENA.height_min_m <= p[2] <= ARENA.height_max_m


def test_without_a_fresh_nominal_velocity_it_holds_within_0_3_seconds() -> None:
    g = guard()
    settled(g, 0.0, [0.0, 0.0, 1.0], [0.3, 0.0, 0.0])
    last_nominal_s = 29 / PARAMS.rate_hz
    held_s = None
    for k in range(30, 60):
        t = k / PARAMS.rate_hz
        g.pose(t, [0.0, 0.0, 1.0])
        command = g.command(t)
        if held_s is None and command.mode is SafetyMode.NOMINAL_LOST:
            held_s = t
    assert held_s is not None
    assert held_s - last_nominal_s <= 0.3
    np.testing.assert_allclose(command.velocity_mps, 0.0, atol=1e-9)
    assert "nominal velocity is" in command.reason


def test_holding_still_gives_way_to_a_drone_that_comes_too_close() -> None:
    g = guard()
    for k in range(10):
        t = k / PARAMS.rate_hz
        g.pose(t, [0.0, 0.0, 1.0])
        g.neighbour("cf2", t, [0.2, 0.0, 1.0])
        command = g.command(t)
    assert command.mode is SafetyMode.NOMINAL_LOST
    assert command.velocity_mps[0] < -0.1


def test_an_old_own_pose_first_stops_the_drone_and_then_lands_it() -> None:
    g = guard()
    settled(g, 0.0, [0.0, 0.0, 1.0], [0.5, 0.0, 0.0])
    last_s = 29 / PARAMS.rate_hz
    modes = {}
    for k in range(1, 110):
        age_s = k / 100.0
        g.nominal(last_s + age_s, [0.5, 0.0, 0.0])
        command = g.command(last_s + age_s)
        modes[age_s] = command.mode
        if age_s > PARAMS.pose_hold_s:
            np.testing.assert_array_equal(command.velocity_mps, 0.0)
    assert modes[0.1] is SafetyMode.PASSED
    assert modes[0.2] is SafetyMode.NOMINAL_LOST
    assert modes[0.99] is SafetyMode.NOMINAL_LOST
    assert modes[1.01] is SafetyMode.POSE_LOST
    assert "own pose is" in command.reason


def test_before_the_first_pose_the_pose_is_lost() -> None:
    command = guard().command(0.0)
    assert command.mode is SafetyMode.POSE_LOST
    assert math.isnan(command.stamp_s)
    np.testing.assert_array_equal(command.velocity_mps, 0.0)


def test_a_recovered_pose_is_flown_by_again() -> None:
    g = guard()
    settled(g, 0.0, [0.0, 0.0, 1.0], [0.5, 0.0, 0.0])
    assert g.command(5.0).mode is SafetyMode.POSE_LOST
    assert settled(g, 6.0, [0.0, 0.0, 1.0], [0.5, 0.0, 0.0]).mode is SafetyMode.PASSED


def test_a_silent_neighbour_grows_and_then_is_avoided_alone_and_at_last_forgotten() -> None:
    g = guard(GuardParams(keep_right_gain=0.0))
    g.neighbour("cf2", 0.0, [0.7, 0.0, 1.0])
    values, modes, count = {}, {}, {}
    for k in range(0, 1100):
        t = k / 100.0
        g.pose(t, [0.0, 0.0, 1.0])
        g.nominal(t, [0.8, 0.0, 0.0])
        command = g.command(t)
        values[t], modes[t], count[t] = command.barrier_min, command.mode, command.neighbours
    within = [values[k / 100.0] for k in range(30)]
    assert all(later < now for now, later in pairwise(within))
    assert len({round(values[k / 100.0], 9) for k in range(40, 1000)}) == 1  # the disc no longer grows
    assert modes[9.9] is SafetyMode.FILTERED
    assert count[10.0] == 1
    assert count[10.1] == 0
    assert modes[10.9] is SafetyMode.PASSED


@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [0.0, math.inf, 1.0], [0.0, 0.0], "here", [[0.0, 0.0, 1.0]]])
def test_an_unusable_value_is_refused_by_name_and_changes_nothing(bad: object) -> None:
    g, same = guard(), guard()
    for each in (g, same):
        each.pose(0.0, [0.0, 0.0, 1.0])
        each.nominal(0.0, [0.5, 0.0, 0.0])
        each.neighbour("cf2", 0.0, [1.0, 0.0, 1.0])
    for call in (g.pose, g.nominal, lambda stamp_s, value: g.neighbour("cf2", stamp_s, value)):
        with pytest.raises(InputError):
            call(0.01, bad)  # type: ignore[arg-type]
    np.testing.assert_array_equal(g.command(0.02).velocity_mps, same.command(0.02).velocity_mps)


def test_stamps_that_do_not_rise_are_ignored() -> None:
    g = guard()
    assert g.pose(1.0, [0.0, 0.0, 1.0])
    assert not g.pose(1.0, [9.0, 0.0, 1.0])
    assert not g.pose(0.5, [9.0, 0.0, 1.0])
    assert g.neighbour("cf2", 1.0, [1.0, 0.0, 1.0])
    assert not g.neighbour("cf2", 0.9, [0.1, 0.0, 1.0])
    assert g.command(1.0).distance_min_m == pytest.approx(1.0)


def test_a_stamp_from_the_future_does_not_keep_a_value_fresh_for_ever() -> None:
    g = guard()
    settled(g, 0.0, [0.0, 0.0, 1.0], [0.5, 0.0, 0.0])
    g.pose(100.0, [0.0, 0.0, 1.0])
    g.neighbour("cf2", 100.0, [2.0, 0.0, 1.0])
    assert g.command(1.0).mode is SafetyMode.POSE_LOST
    assert g.pose(1.02, [0.0, 0.0, 1.0])
    assert g.neighbour("cf2", 1.02, [1.0, 0.0, 1.0])
    assert g.command(1.02).distance_min_m == pytest.approx(1.0)


def test_a_drone_on_the_ground_below_is_flown_over_and_a_landing_one_is_not() -> None:
    def over(height_m: float) -> SafetyMode:
        g = guard()
        for k in range(30):
            t = k / PARAMS.rate_hz
            g.neighbour("cf2", t, [0.35, 0.0, height_m])
            g.pose(t, [0.0, 0.0, 1.0])
            g.nominal(t, [0.8, 0.0, 0.0])
            command = g.command(t)
        return command.mode

    assert over(0.02) is SafetyMode.PASSED
    assert over(0.6) is SafetyMode.FILTERED


def flown_above_one_that_stands(
    start_m: tuple[float, float],
    nominal_mps: Callable[[float, Array], tuple[float, float]],
    *,
    seconds: float = 6.0,
    others_m: Mapping[str, tuple[float, float]] | None = None,
) -> Array:
    """Distances [m] of a drone with a policy of (t, p) from cf2, which stands in the middle of the arena."""
    g, p, distances_m = guard(), np.array([*start_m, 1.0]), []
    for k in range(round(seconds * PARAMS.rate_hz)):
        t = k / PARAMS.rate_hz
        g.neighbour("cf2", t, [0.0, 0.0, 0.0])
        for name, at_m in (others_m or {}).items():
            g.neighbour(name, t, [*at_m, 1.0])
        g.pose(t, p)
        g.nominal(t, [*nominal_mps(t, p), 0.0])
        p = p + g.command(t).velocity_mps / PARAMS.rate_hz
        distances_m.append(math.hypot(p[0], p[1]))
    return np.array(distances_m)


LED_OUT_M = PARAMS.descent_clearance * DRONE.safety_distance_m
"""How far from one that stands a drone is led."""


@pytest.mark.parametrize(
    ("offset_m", "nominal_mps"),
    [((0.0, 0.0), (0.0, 0.0)), ((0.05, 0.1), (0.0, 0.0)), ((0.1, 0.0), (-0.1, 0.0)), ((0.1, 0.0), (-0.8, 0.0))],
    ids=["over its middle", "beside it", "though it is led back", "though it is led back with all there is"],
)
def test_who_hovers_above_one_that_stands_is_led_out(
    offset_m: tuple[float, float], nominal_mps: tuple[float, float]
) -> None:
    distance_m = flown_above_one_that_stands(offset_m, lambda t, p: nominal_mps)[-1]
    assert DRONE.safety_distance_m < distance_m < LED_OUT_M + 0.01


def test_a_policy_whose_goal_is_above_one_that_stands_does_not_get_there_to_stay() -> None:
    def to_the_middle(t: float, p: Array) -> tuple[float, float]:
        pull = min(2.0, 0.8 / math.hypot(p[0], p[1]))
        return -pull * p[0], -pull * p[1]

    distances_m = flown_above_one_that_stands((1.0, 0.3), to_the_middle, seconds=20.0)
    near_s = np.flatnonzero(distances_m < DRONE.safety_distance_m) / PARAMS.rate_hz
    assert not len(near_s) or near_s[-1] - near_s[0] < 5.0  # it may overshoot
    assert distances_m[-1] > DRONE.safety_distance_m


def test_who_circles_above_one_that_stands_stays_there_as_well_however_fast_and_is_led_out() -> None:
    distances_m = flown_above_one_that_stands(
        (0.1, -0.1), lambda t, p: (-0.6 * math.sin(4.0 * t), 0.6 * math.cos(4.0 * t)), seconds=15.0
    )
    assert distances_m[round(8.0 * PARAMS.rate_hz) :].min() > 0.8 * DRONE.safety_distance_m


def test_the_way_out_from_above_one_that_stands_is_one_that_others_leave_open() -> None:
    """cf3 hovers where the straight way leads to, and cf4 to the right of it."""
    start_m, others_m = (0.0, 0.1), {"cf3": (0.0, 0.62), "cf4": (0.5, 0.3)}
    distances_m = flown_above_one_that_stands(start_m, lambda t, p: (0.0, 0.3), others_m=others_m)
    assert distances_m[-1] > DRONE.safety_distance_m


def test_who_is_blocked_above_one_that_stands_is_led_out_and_who_flies_over_it_is_not() -> None:
    def sideways_mps(blocked: bool) -> float:
        g, p = guard(GuardParams(keep_right_gain=0.0)), np.array([0.0, 0.05, 1.0])
        for k in range(50):
            t = k / PARAMS.rate_hz
            g.neighbour("cf2", t, [0.0, 0.0, 0.0])
            if blocked:
                g.neighbour("cf3", t, [0.5, 0.05, 1.0])
            g.pose(t, p)
            g.nominal(t, [0.5, 0.0, 0.0])
            command = g.command(t)
        return float(command.velocity_mps[1])

    assert sideways_mps(blocked=True) > 0.1
    assert sideways_mps(blocked=False) == 0.0


def test_a_jump_of_a_neighbours_position_is_not_taken_for_its_velocity() -> None:
    g = guard()
    for k in range(20):
        t = k / PARAMS.rate_hz
        g.pose(t, [0.0, 0.0, 1.0])
        g.nominal(t, [0.0, 0.0, 0.0])
        g.neighbour("cf2", t, [1.4 if k < 10 else 1.2, 0.0, 1.0])
        command = g.command(t)
    np.testing.assert_allclose(command.velocity_mps, 0.0, atol=1e-9)


def test_a_drone_that_does_not_cooperate_is_fled_from() -> None:
    """cf2 charges at cf1 at half its speed, ignoring everything; cf1 alone keeps the distance."""
    g, own, other = guard(), np.array([0.0, 0.0, 1.0]), np.array([-1.5, 0.05, 1.0])
    closest_m = math.inf
    for k in range(300):
        t = k / PARAMS.rate_hz
        g.pose(t, own)
        g.nominal(t, [0.0, 0.0, 0.0])
        g.neighbour("cf2", t, other)
        own = own + g.command(t).velocity_mps / PARAMS.rate_hz
        other = other + np.array([0.4, 0.0, 0.0]) / PARAMS.rate_hz
        closest_m = min(closest_m, float(np.linalg.norm(own - other)))
    assert closest_m >= DRONE.safety_distance_m


def test_a_configuration_without_guarantee_does_not_start() -> None:
    with pytest.raises(ConfigError, match="communication_radius"):
        Guard("cf1", DRONE, Arena(half_extent_m=(2.5, 2.5), communication_radius=0.3), PARAMS)


def test_parameters_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"guard\.pose_timeout_s: got 0\.1 s; expected at least pose_hold_s"):
        build(GuardParams, {"pose_timeout_s": 0.1}, "guard.yaml", "guard")


class Vehicle:
    """A vehicle whose velocity follows the command with a delay and a first-order lag."""

    def __init__(self, position_m: Array, latency_s: float, lag_s: float) -> None:
        self.position_m, self.velocity_mps = position_m, np.zeros(3)
        self.latency_s, self.lag_s = latency_s, lag_s
        self.pending: deque[tuple[float, Array]] = deque()
        self.command_mps = np.zeros(3)

    def step(self, now_s: float, dt_s: float) -> None:
        while self.pending and self.pending[0][0] + self.latency_s <= now_s + 1e-9:
            self.command_mps = self.pending.popleft()[1]
        weight = 1.0 if self.lag_s == 0.0 else -math.expm1(-dt_s / self.lag_s)
        self.velocity_mps = self.velocity_mps + weight * (self.command_mps - self.velocity_mps)
        self.position_m = self.position_m + dt_s * self.velocity_mps


@pytest.mark.parametrize(
    ("seed", "latency_s", "lag_s", "delay_s", "loss"),
    [(0, 0.0, 0.0, 0.0, 0.0), (1, 0.02, 0.0, 0.1, 0.3), (2, 0.02, 0.1, 0.05, 0.0), (3, 0.02, 0.05, 0.1, 0.5)],
)
def test_eight_drones_told_to_meet_in_one_place_never_undercut_the_safety_distance(
    seed: int, latency_s: float, lag_s: float, delay_s: float, loss: float
) -> None:
    """Unsynchronised filters, latency, lag, messages late and lost: the claim of guarantee.py, by simulation."""
    rng = np.random.default_rng(seed)
    params = GuardParams(latency_s=max(latency_s, 0.001), velocity_lag_s=lag_s, velocity_error_mps=0.0)
    names = [f"cf{i}" for i in range(1, 9)]
    angles = np.arange(8) * 2.0 * np.pi / 8.0 + rng.uniform(-0.1, 0.1, size=8)
    vehicles = [Vehicle(np.array([1.8 * np.cos(a), 1.8 * np.sin(a), 1.0]), latency_s, lag_s) for a in angles]
    guards = [Guard(name, DRONE, ARENA, params) for name in names]
    offset = rng.integers(0, 20, size=8)  # each filter's own phase, in ms
    messages: deque[tuple[float, int, int, float, Array]] = deque()
    closest_m, dt_s = math.inf, 0.001
    target = np.zeros((8, 3))
    for step in range(6_000):
        now_s = step * dt_s
        if step % 1_500 == 0:
            target[:, :2] = rng.uniform(-0.2, 0.2, size=2)  # all the same place, sometimes another
        while messages and messages[0][0] <= now_s:
            _, to, sender, stamp_s, position_m = messages.popleft()
            guards[to].neighbour(names[sender], stamp_s, position_m)
        for i, (vehicle, g) in enumerate(zip(vehicles, guards, strict=True)):
            if (step + offset[i]) % 20 == 0:
                for to in range(8):
                    if to != i and rng.random() >= loss:
                        messages.append((now_s + delay_s, to, i, now_s, vehicle.position_m))
                g.pose(now_s, vehicle.position_m)
                g.nominal(now_s, 3.0 * (target[i] - vehicle.position_m) * [1.0, 1.0, 0.0])
                command = g.command(now_s)
                vehicle.pending.append((now_s, command.velocity_mps))
            vehicle.step(now_s, dt_s)
        closest_m = min(
            closest_m, min(float(np.linalg.norm(a.position_m - b.position_m)) for a, b in combinations(vehicles, 2))
        )
    assert closest_m >= DRONE.safety_distance_m
    assert closest_m <= 4.0 * DRONE.safety_distance_m  # they did meet: the test can fail


def test_a_drone_that_is_to_land_leaves_the_place_above_a_landed_one_and_then_stands_still() -> None:
    g, p = guard(), np.array([0.3, 0.2, 1.0])
    g.landing = True
    for k in range(200):
        t = k / PARAMS.rate_hz
        g.pose(t, p)
        g.nominal(t, [0.0, 0.0, 0.0])
        g.neighbour("cf2", t, [0.3, 0.2, 0.0])
        velocity_mps = g.command(t).velocity_mps
        p = p + velocity_mps / PARAMS.rate_hz
    assert np.hypot(*(p[:2] - [0.3, 0.2])) >= PARAMS.landing_clearance_m
    assert np.linalg.norm(velocity_mps) < 0.02


@pytest.mark.parametrize(
    ("other_m", "clear"),
    [
        ((1.15, 0.0, 0.0), False),
        ((0.0, 1.25, 0.0), True),
        ((0.1, 0.0, 0.6), False),
        ((0.1, 0.0, 1.5), True),
        ((1.15, 0.0, 1.0), True),
    ],
    ids=["stands near", "stands beside", "flies lower", "flies above", "flies level"],
)
def test_a_place_is_clear_below_unless_a_lower_drone_is_near(other_m: tuple[float, float, float], clear: bool) -> None:
    g, d_m = guard(), DRONE.safety_distance_m
    g.pose(0.0, [0.0, 0.0, 1.0])
    g.neighbour("cf2", 0.0, [d_m * other_m[0], d_m * other_m[1], other_m[2]])
    assert g.command(0.0).clear_below is clear


def test_in_haste_it_only_steps_aside_from_the_landed_one_and_may_come_down_where_others_serve() -> None:
    g, p = guard(), np.array([0.3, 0.2, 1.0])
    g.discs_m = np.array([[0.3, 0.2, 0.8]])
    for k in range(round(PilotParams().haste_s * PARAMS.rate_hz)):
        t = k / PARAMS.rate_hz
        g.vehicle(VehicleReport(t, VehiclePhase.LANDING, HASTE, np.full(3, np.nan), np.nan))
        g.pose(t, p)
        g.neighbour("cf2", t, [0.25, 0.2, 0.0])
        g.neighbour("cf3", t, [1.0, 0.2, 1.0])
        p = p + g.command(t).velocity_mps / PARAMS.rate_hz
    assert np.hypot(*(p[:2] - [0.25, 0.2])) >= DRONE.safety_distance_m
    assert p[0] > 0.3  # straight away from it, although one flies there
    assert abs(p[1] - 0.2) < 0.05


def test_a_drone_that_is_to_land_on_free_ground_stays_where_it_is() -> None:
    g = guard()
    g.landing = True
    g.neighbour("cf2", 0.0, [1.0, 0.0, 1.0])
    command = settled(g, 0.0, [0.0, 0.0, 1.0], [0.5, 0.0, 0.0])
    np.testing.assert_allclose(command.velocity_mps, 0.0, atol=1e-9)


def test_guards_that_share_a_memory_answer_as_each_alone() -> None:
    """Poses late and lost, silent policies, a wrong clock, a gust, a landing: every command, bit by bit."""
    rng = np.random.default_rng(5)
    names = ["cf1", "cf2", "cf3", "cf4"]
    fleet = {name: DRONE for name in names}
    together = Guards(fleet, ARENA, PARAMS, fleet)
    alone = [Guard(name, DRONE, ARENA, PARAMS, {other: DRONE for other in names if other != name}) for name in names]
    p, modes = np.array([[0.0, 0.3, 1.0], [0.5, 0.0, 1.0], [-0.5, 0.1, 1.0], [0.0, -0.6, 1.1]]), set()
    for k in range(400):
        now_s = k / PARAMS.rate_hz
        if k == 320:
            p[1] = p[2] + [0.1, 0.0, 0.0]  # a gust: the conditions cannot all hold
        fresh = rng.random(4) < (0.02 if 100 < k < 180 else 0.9)
        stamp_s = np.full(4, now_s) + (rng.random(4) < 0.01)
        heard = (rng.random((4, 4)) < 0.7) & ~np.eye(4, dtype=bool)
        heard[3] &= k < 200
        sent_s, (hearer, sender) = stamp_s - 0.01, np.nonzero(heard)
        together.poses(fresh, stamp_s, p)
        together.hear(hearer, sender, sent_s[sender], p[sender])
        for i, guard in enumerate(alone):
            if fresh[i]:
                guard.pose(stamp_s[i], p[i])
            for j in np.flatnonzero(heard[i]):
                guard.neighbour(names[j], sent_s[j], p[j])
            if rng.random() < (0.05 if 250 < k < 300 else 0.5):
                nominal_mps = [*(-1.5 * p[i, :2]), 0.0]
                together.nominal(i, now_s, np.array(nominal_mps))
                guard.nominal(now_s, nominal_mps)
            guard.landing = i == 0 and k > 350
            together.set_landing(i, guard.landing)
        commands = together.commands(now_s)
        for i, (guard, command) in enumerate(zip(alone, commands, strict=True)):
            own = guard.command(now_s)
            modes.add(own.mode)
            for ours, theirs in zip(own._replace(solve_time_s=0.0), command._replace(solve_time_s=0.0), strict=True):
                np.testing.assert_equal(ours, theirs)
            p[i] = p[i] + own.velocity_mps / PARAMS.rate_hz
    assert modes == set(SafetyMode)


def test_strangers_are_avoided_however_many_come() -> None:
    g = Guard("cf1", DRONE, ARENA, PARAMS, {"cf2": DRONE})
    for k in range(40):
        g.pose(k, [0.0, 0.0, 1.0])
        g.neighbour("cf2", k, [2.0, 0.0, 1.0])
        for new in range(3):
            g.neighbour(f"stranger{k}_{new}", k, [0.3 if new == 2 else -1.9, 0.1 * new, 1.0])
        command = g.command(k)
        assert command.neighbours == 1 + 3 * min(k + 1, 11)  # forgotten after ten seconds
        assert command.distance_min_m < 0.4
        assert f"stranger{k}_2" in command.reason or command.mode is not SafetyMode.FILTERED


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_positions_heard_together_are_refused_together_and_change_nothing(bad: float) -> None:
    guards = Guards({"cf1": DRONE}, ARENA, PARAMS, {"cf1": DRONE, "cf2": DRONE, "cf3": DRONE})
    guards.poses(np.array([True]), np.zeros(1), np.array([[0.0, 0.0, 1.0]]))
    p = np.array([[1.0, 0.0, 1.0], [bad, 0.0, 1.0]])
    with pytest.raises(InputError):
        guards.hear(np.zeros(2, int), np.array([1, 2]), np.zeros(2), p)
    with pytest.raises(InputError):
        guards.poses(np.array([True]), np.ones(1), p[1:])
    assert guards.command(0, 0.0).neighbours == 0
    for hearer, heard in ((1, 1), (0, 3), (-1, 1), (0, -1)):
        with pytest.raises(InputError):
            guards.hear(np.array([hearer]), np.array([heard]), np.zeros(1), p[:1])
    guards.hear(np.zeros(1, int), np.array([1]), np.zeros(1), p[:1])
    assert guards.command(0, 0.0).neighbours == 1


def test_neighbours_heard_together_count_as_heard_in_turn_and_one_that_is_not_finite_changes_nothing() -> None:
    said = [("cf2", 1.0, np.array([1.0, 0.0, 1.0])), ("stranger", 1.0, np.array([0.0, 1.5, 1.0])),
            ("another", 1.0, np.array([0.5, 1.5, 1.0])), ("cf2", 0.9, np.zeros(3))]  # fmt: skip
    together, in_turn = guard(), guard()
    for g in (together, in_turn):
        g.pose(1.0, [0.0, 0.0, 1.0])
        g.nominal(1.0, [0.3, 0.0, 0.0])
    together.neighbours(said)
    for one in said:
        in_turn.neighbour(*one)
    for now_s in (1.0, 1.1):
        a, b = (g.command(now_s)._replace(velocity_mps=None, solve_time_s=0.0) for g in (together, in_turn))
        assert a == b
        assert a.neighbours == 3
    for bad in (said[0][:2], "cf1"):
        with pytest.raises(InputError):
            together.neighbours([said[1], ("cf1", 2.0, np.ones(3)) if bad == "cf1" else (*bad, np.full(3, np.nan))])
    assert together.command(1.1).neighbour_age_max_s == pytest.approx(0.1)


def meet(starts_m: Array, goals_m: Array, params: GuardParams, duration_s: float) -> tuple[Array, float]:
    """Drones that fly straight to their goals as far as their guards let them: final positions and the closest pair."""
    names = [f"cf{i}" for i in range(len(starts_m))]
    guards = Guards(dict.fromkeys(names, DRONE), ARENA, params, dict.fromkeys(names, DRONE))
    p, n, closest_m = np.array(starts_m, float), len(names), np.inf
    hearer, heard = np.nonzero(~np.eye(n, dtype=bool))
    for k in range(round(duration_s * params.rate_hz)):
        t = k / params.rate_hz
        guards.poses(np.ones(n, dtype=bool), np.full(n, t), p)
        guards.hear(hearer, heard, np.full(len(heard), t), p[heard])
        for i in range(n):
            guards.nominal(i, t, np.append(2.0 * (goals_m[i] - p[i])[:2], 0.0))
        p = p + np.array([command.velocity_mps for command in guards.commands(t)]) / params.rate_hz
        apart_m = np.linalg.norm(p[:, None] - p[None], axis=-1)
        closest_m = min(closest_m, float(apart_m[hearer, heard].min()))
    return p, closest_m


RING = [np.array([math.cos(a), math.sin(a), 0.0]) for a in np.linspace(0.0, 2.0 * math.pi, 4, endpoint=False)]
CROSSINGS = {
    "two face to face": [(-1.2, 0.0, 1.0), (1.2, 0.0, 1.0)],
    "one waits where the other must pass": [(-1.2, 0.0, 1.0), (0.0, 0.0, 1.0)],
    "four through one point": [tuple(1.3 * at + [0.0, 0.0, 1.0]) for at in RING],
}


@pytest.mark.parametrize("case", CROSSINGS)
def test_drones_that_must_pass_each_other_do_by_the_right_hand_rule_and_without_it_stand_for_ever(case: str) -> None:
    starts_m = np.array(CROSSINGS[case])
    goals_m = starts_m * [-1.0, -1.0, 1.0]
    passed_m, closest_m = meet(starts_m, goals_m, PARAMS, 10.0)
    assert np.linalg.norm(passed_m - goals_m, axis=1).max() < 0.1
    assert closest_m >= DRONE.safety_distance_m
    stood_m, closest_m = meet(starts_m, goals_m, GuardParams(keep_right_gain=0.0), 10.0)
    assert np.linalg.norm(stood_m - goals_m, axis=1).max() > 0.5
    assert closest_m >= DRONE.safety_distance_m


def test_the_right_hand_rule_leaves_a_crowd_around_one_place_apart_and_at_the_place() -> None:
    angles = np.linspace(0.0, 2.0 * math.pi, 8, endpoint=False)
    starts_m = np.stack([1.5 * np.cos(angles), 1.5 * np.sin(angles), np.ones(8)], axis=1)
    at_m, closest_m = meet(starts_m, np.tile([0.0, 0.0, 1.0], (8, 1)), PARAMS, 8.0)
    assert closest_m >= DRONE.safety_distance_m
    assert np.linalg.norm(at_m[:, :2], axis=1).max() < 1.2


def test_who_finds_its_goal_taken_goes_a_quarter_round_it_and_waits_and_a_new_goal_sends_it_on() -> None:
    names = ["served", "spare"]
    guards = Guards(dict.fromkeys(names, DRONE), ARENA, PARAMS, dict.fromkeys(names, DRONE))
    p, there = np.array([[0.0, 0.0, 1.0], [-1.5, 0.1, 1.0]]), np.array([0, 1])

    def fly(goal_m: Array, from_s: float, to_s: float) -> Array:
        """Where the spare one was, at every command."""
        path_m = []
        for k in range(round(from_s * PARAMS.rate_hz), round(to_s * PARAMS.rate_hz)):
            t = k / PARAMS.rate_hz
            guards.poses(np.ones(2, dtype=bool), np.full(2, t), p)
            guards.hear(there, there[::-1], np.full(2, t), p[::-1])
            guards.nominal(0, t, np.append(-2.0 * p[0, :2], 0.0))
            guards.nominal(1, t, np.append(2.0 * (goal_m - p[1, :2]), 0.0))
            p[:] += np.array([command.velocity_mps for command in guards.commands(t)]) / PARAMS.rate_hz
            path_m.append(p[1].copy())
        return np.array(path_m)

    path_m = fly(np.zeros(2), 0.0, 30.0)
    bearing = np.unwrap(np.arctan2(path_m[:, 1], path_m[:, 0]))
    assert math.radians(60.0) < abs(bearing[-1] - bearing[0]) < math.radians(150.0)
    assert np.linalg.norm(path_m[-1] - path_m[-500], axis=-1) < 0.1  # 10 s earlier
    beyond_m = -1.2 * path_m[-1, :2] / np.linalg.norm(path_m[-1, :2])
    aside_m = np.array([0.9, 0.0])
    fly(beyond_m + aside_m, 30.0, 31.0)  # its goal jumps aside, and then behind the one that stands there
    assert np.linalg.norm(fly(beyond_m, 31.0, 41.0)[-1, :2] - beyond_m) < 0.1


@settings(deadline=None)
@given(
    position_m=st.tuples(st.floats(-2.5, 2.5), st.floats(-2.5, 2.5), st.floats(0.3, 2.0)),
    answer=st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 3),
)
def test_whatever_the_solver_answers_the_fence_keeps_the_drone_inside_and_cuts_nothing_that_is_certified(
    position_m: tuple[float, float, float], answer: tuple[float, float, float]
) -> None:
    lower_m, upper_m = np.array([-2.5, -2.5, ARENA.height_min_m]), np.array([2.5, 2.5, ARENA.height_max_m])
    at_m, inset_m = np.array(position_m), np.full(3, 0.05)
    rows = walls(at_m, lower_m + inset_m, upper_m - inset_m, 4.0, np.full(3, 0.4))
    velocity_mps = np.array(answer)
    fence(velocity_mps, rows.floor, 0)
    after_m = at_m + velocity_mps / PARAMS.rate_hz
    assert np.isfinite(velocity_mps).all()
    assert (after_m >= np.minimum(lower_m, at_m) - 1e-12).all()
    assert (after_m <= np.maximum(upper_m, at_m) + 1e-12).all()
    solved = SafetyFilter(3).solve(np.clip(np.nan_to_num(velocity_mps), -1.0, 1.0), rows, 0.8).velocity_mps
    fenced = solved.copy()
    assert not fence(fenced, rows.floor, 0)
    np.testing.assert_allclose(fenced, solved, atol=2e-9)
