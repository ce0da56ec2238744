"""The pilot takes a drone up once, follows only what is fresh, never pauses the stream, and always lands it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.phases import HASTE, MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.flight.pilot import Action, Order, Pilot, PilotParams
from lgtc_core.flight.reference import Reference, acceleration_mps2
from lgtc_core.world.arena import Arena

ARENA = Arena(half_extent_m=(2.5, 2.5))
DT_S = 0.02


def command(
    stamp_s: float, velocity_mps: tuple[float, float, float] = (0.3, 0.0, 0.0), **changes: object
) -> SafeCommand:
    return SafeCommand(
        stamp_s, np.array(velocity_mps), SafetyMode.PASSED, "", 1.0, math.nan, 0.0, 0.0, 0, math.nan
    )._replace(**changes)  # type: ignore[arg-type]


class Drone:
    """A pilot and the least vehicle that obeys it: climbs and sinks at 0.5 m/s, follows setpoints exactly."""

    def __init__(self, params: PilotParams | None = None) -> None:
        self.pilot = Pilot(ARENA, params or PilotParams())
        self.now_s, self.position_m, self.climb_mps = 0.0, np.zeros(3), 0.0
        self.orders: list[tuple[float, Order]] = []
        self.deaf: set[Action] = set()
        self.blind = False

    def tick(
        self,
        mission: MissionPhase | None,
        tier: Tier = Tier.OK,
        newest: SafeCommand | None = None,
    ) -> Order:
        order = self.pilot.update(self.now_s, mission, tier, None if self.blind else self.position_m, newest)
        self.orders.append((self.now_s, order))
        if order.action not in self.deaf:
            if order.action is Action.TAKE_OFF:
                self.climb_mps = 0.5
            if order.action is Action.LAND:
                self.climb_mps = -0.5
            if order.setpoint is not None:
                self.position_m, self.climb_mps = order.setpoint.position_m.copy(), 0.0
        self.position_m[2] = min(max(0.0, self.position_m[2] + DT_S * self.climb_mps), 1.0)
        self.now_s += DT_S
        return order

    def run(
        self, duration_s: float, mission: MissionPhase | None, tier: Tier = Tier.OK, commanded: bool = True
    ) -> Order:
        for _ in range(round(duration_s / DT_S)):
            # the place below it is free, so the safe command of a drone that is to land stands still
            velocity_mps = (0.0, 0.0, 0.0) if self.pilot.phase is VehiclePhase.LANDING else (0.3, 0.0, 0.0)
            order = self.tick(mission, tier, command(self.now_s, velocity_mps) if commanded else None)
        return order

    @property
    def actions(self) -> list[Action]:
        return [order.action for _, order in self.orders if order.action not in (Action.NONE, Action.STREAM)]


def in_the_air(mission: MissionPhase = MissionPhase.ACTIVE) -> Drone:
    drone = Drone()
    drone.run(3.0, MissionPhase.TAKE_OFF)
    assert drone.pilot.phase is VehiclePhase.HOLDING
    drone.run(0.2, mission)
    return drone


def test_a_flight_goes_through_its_phases_in_order_and_orders_each_thing_once() -> None:
    drone = Drone()
    drone.run(1.0, MissionPhase.STANDBY)
    assert drone.pilot.phase is VehiclePhase.GROUNDED
    drone.run(3.0, MissionPhase.TAKE_OFF)
    drone.run(3.0, MissionPhase.ACTIVE)
    drone.run(5.0, MissionPhase.LAND)
    phases = [order.phase for _, order in drone.orders]
    assert phases == sorted(phases)
    assert set(phases) == set(VehiclePhase) - {VehiclePhase.FAILED}
    assert drone.actions == [Action.ARM, Action.TAKE_OFF, Action.NOTIFY_STOP, Action.LAND]


def test_setpoints_never_pause_from_the_end_of_the_take_off_to_notify_stop() -> None:
    drone = in_the_air()
    drone.run(1.0, MissionPhase.ACTIVE, commanded=False)
    drone.run(0.5, MissionPhase.ACTIVE)
    drone.run(0.5, MissionPhase.TAKE_OFF)
    drone.run(1.0, MissionPhase.LAND)
    orders = [order for _, order in drone.orders]
    up = [order.phase for order in orders].index(VehiclePhase.HOLDING)
    stop = [order.action for order in orders].index(Action.NOTIFY_STOP)
    assert all(order.action is Action.STREAM and order.setpoint is not None for order in orders[up:stop])
    assert orders[stop].phase is VehiclePhase.LANDING


def test_it_flies_the_safe_velocity_only_while_the_mission_is_active() -> None:
    drone = Drone()
    drone.run(3.0, MissionPhase.TAKE_OFF)
    assert drone.position_m[0] == 0.0
    drone.run(1.0, MissionPhase.ACTIVE)
    assert drone.pilot.phase is VehiclePhase.FLYING
    assert drone.position_m[0] == pytest.approx(0.3, abs=0.02)


def test_a_late_safe_command_makes_it_hold_within_0_3_seconds_and_a_fresh_one_fly_again() -> None:
    drone = in_the_air()
    last = command(drone.now_s)
    while drone.pilot.phase is VehiclePhase.FLYING:
        drone.tick(MissionPhase.ACTIVE, newest=last)
    assert drone.now_s - last.stamp_s <= 0.3
    order = drone.tick(MissionPhase.ACTIVE, newest=last)
    np.testing.assert_array_equal(order.setpoint.velocity_mps, 0.0)  # type: ignore[union-attr]
    assert order.reason == "the safe command is late"
    drone.run(0.1, MissionPhase.ACTIVE)
    assert drone.pilot.phase is VehiclePhase.FLYING


def test_a_safety_filter_that_stays_silent_lands_it() -> None:
    drone = in_the_air()
    begun_s = drone.now_s
    while drone.pilot.phase is not VehiclePhase.LANDING:
        drone.tick(MissionPhase.ACTIVE)
    assert drone.now_s - begun_s == pytest.approx(2.0, abs=0.1)
    assert "no safe command" in drone.pilot.reason


@pytest.mark.parametrize(
    ("mission", "tier", "reason"),
    [
        (None, Tier.OK, "supervisor is silent"),
        (MissionPhase.LAND, Tier.OK, ""),
        (MissionPhase.ABORT, Tier.OK, ""),
        (MissionPhase.DONE, Tier.OK, ""),
        (MissionPhase.ACTIVE, Tier.LAND, "battery: land"),
        (MissionPhase.ACTIVE, Tier.CRITICAL, "battery: critical"),
    ],
)
@pytest.mark.parametrize("during", [MissionPhase.TAKE_OFF, MissionPhase.ACTIVE])
def test_whatever_ends_a_flight_lands_it_at_once_and_says_why(
    mission: MissionPhase | None, tier: Tier, reason: str, during: MissionPhase
) -> None:
    drone = Drone()
    drone.run(1.5, MissionPhase.TAKE_OFF)
    if during is MissionPhase.ACTIVE:
        drone = in_the_air()
    order = drone.tick(mission, tier, command(drone.now_s))
    assert order.phase is VehiclePhase.LANDING
    assert reason in order.reason
    drone.run(4.0, mission, tier)
    assert drone.pilot.phase is VehiclePhase.LANDED
    assert drone.position_m[2] == 0.0


@pytest.mark.parametrize("mission", [MissionPhase.STANDBY, MissionPhase.TAKE_OFF])
def test_a_mission_that_is_not_active_only_makes_it_hold(mission: MissionPhase) -> None:
    drone = in_the_air()
    drone.run(3.0, mission)
    assert drone.pilot.phase is VehiclePhase.HOLDING


def landing(
    velocity_mps: tuple[float, float, float], tier: Tier = Tier.OK, duration_s: float = 1.0, clear_below: bool = True
) -> Drone:
    """A drone that was told to land, while its safe command says `velocity_mps`."""
    drone = in_the_air()
    for _ in range(round(duration_s / DT_S)):
        said = command(drone.now_s, velocity_mps)._replace(clear_below=clear_below)
        drone.tick(MissionPhase.LAND, tier, said)
    return drone


def test_a_drone_that_is_to_land_follows_the_safe_command_to_a_free_place_first() -> None:
    there = landing((0.5, 0.0, 0.0))
    assert there.actions[2:] == []
    assert there.position_m[0] == pytest.approx(in_the_air().position_m[0] + 0.5, abs=0.03)
    there.run(4.0, MissionPhase.LAND)
    assert there.pilot.phase is VehiclePhase.LANDED


@pytest.mark.parametrize(
    ("tier", "timeout_s"), [(Tier.OK, PilotParams().place_timeout_s), (Tier.CRITICAL, PilotParams().haste_s)]
)
def test_it_descends_after_the_timeout_anyway_and_sooner_without_battery(tier: Tier, timeout_s: float) -> None:
    assert landing((0.1, 0.0, 0.0), tier, timeout_s - 0.1).actions[2:] == []
    assert landing((0.1, 0.0, 0.0), tier, timeout_s + 0.1).actions[2:] == [Action.NOTIFY_STOP, Action.LAND]


@pytest.mark.parametrize("velocity_mps", [(0.1, 0.0, 0.0), (0.0, 0.0, 0.0)], ids=["moving", "standing still"])
@pytest.mark.parametrize(
    ("tier", "limit_s"), [(Tier.LAND, PilotParams().place_limit_s), (Tier.CRITICAL, PilotParams().haste_s)]
)
def test_it_does_not_descend_onto_another_as_long_as_it_has_time(
    tier: Tier, limit_s: float, velocity_mps: tuple[float, float, float]
) -> None:
    assert landing(velocity_mps, tier, limit_s - 0.1, clear_below=False).actions[2:] == []
    assert landing(velocity_mps, tier, limit_s + 0.1, clear_below=False).actions[2:] == [
        Action.NOTIFY_STOP,
        Action.LAND,
    ]


def test_a_battery_that_becomes_critical_during_the_search_for_a_place_ends_it_in_haste() -> None:
    drone = landing((0.1, 0.0, 0.0), Tier.LAND, 1.0)
    for _ in range(round((PilotParams().haste_s + 0.1) / DT_S)):
        drone.tick(MissionPhase.LAND, Tier.CRITICAL, command(drone.now_s, (0.1, 0.0, 0.0)))
    assert drone.actions[2:] == [Action.NOTIFY_STOP, Action.LAND]
    assert drone.pilot.reason.startswith(HASTE)


def test_battery_warning_lands_nobody() -> None:
    drone = in_the_air()
    drone.run(2.0, MissionPhase.ACTIVE, Tier.WARN)
    assert drone.pilot.phase is VehiclePhase.FLYING


def test_a_lost_pose_lands_it_and_it_counts_as_down_after_the_timeout() -> None:
    drone = in_the_air()
    drone.blind = True
    begun_s = drone.now_s
    while drone.pilot.phase is not VehiclePhase.LANDING:
        drone.tick(MissionPhase.ACTIVE, newest=command(drone.now_s))
    assert drone.now_s - begun_s <= 1.1
    drone.run(25.0, MissionPhase.ACTIVE)
    assert drone.pilot.phase is VehiclePhase.LANDED
    assert "without pose" in drone.pilot.reason


def test_a_pose_that_the_safety_filter_has_lost_lands_it() -> None:
    drone = in_the_air()
    order = drone.tick(MissionPhase.ACTIVE, newest=command(drone.now_s, mode=SafetyMode.POSE_LOST, reason="old"))
    assert order.phase is VehiclePhase.LANDING
    assert "pose lost" in order.reason


def test_a_landed_drone_never_takes_off_again() -> None:
    drone = in_the_air()
    drone.run(5.0, MissionPhase.LAND)
    before = len(drone.actions)
    for mission in (MissionPhase.STANDBY, MissionPhase.TAKE_OFF, MissionPhase.ACTIVE):
        drone.run(2.0, mission)
    assert drone.pilot.phase is VehiclePhase.LANDED
    assert len(drone.actions) == before


@pytest.mark.parametrize("mission", [None, *set(MissionPhase) - {MissionPhase.TAKE_OFF}])
def test_nothing_but_the_order_to_take_off_takes_a_drone_off(mission: MissionPhase | None) -> None:
    drone = Drone()
    drone.run(2.0, mission)
    assert drone.actions == []


def test_a_drone_whose_battery_is_low_or_whose_operator_objects_stays_on_the_ground() -> None:
    low, held = Drone(), Drone()
    low.run(2.0, MissionPhase.TAKE_OFF, Tier.LAND)
    held.pilot.land("an operator landed it")
    held.run(2.0, MissionPhase.TAKE_OFF)
    assert low.actions == held.actions == []
    assert "battery" in low.pilot.reason
    assert "operator" in held.pilot.reason


def test_an_operator_lands_one_drone() -> None:
    drone = in_the_air()
    drone.pilot.land("an operator landed it")
    drone.run(5.0, MissionPhase.ACTIVE)
    assert drone.pilot.phase is VehiclePhase.LANDED
    assert drone.pilot.reason == "an operator landed it"


def test_a_lost_take_off_order_is_given_again() -> None:
    drone = Drone()
    drone.deaf = {Action.TAKE_OFF}
    drone.run(1.0, MissionPhase.TAKE_OFF)
    drone.deaf = set()
    drone.run(5.0, MissionPhase.TAKE_OFF)
    assert drone.pilot.phase is VehiclePhase.HOLDING
    assert drone.actions.count(Action.TAKE_OFF) == 2


def test_a_vehicle_that_will_not_rise_is_given_up() -> None:
    drone = Drone()
    drone.deaf = {Action.TAKE_OFF}
    drone.run(30.0, MissionPhase.TAKE_OFF)
    assert drone.pilot.phase is VehiclePhase.LANDED
    assert "take-off" in drone.pilot.reason


def test_lost_landing_orders_are_given_again_both_of_them() -> None:
    drone = in_the_air()
    drone.deaf = {Action.LAND}
    drone.run(1.0, MissionPhase.LAND)
    drone.deaf = set()
    drone.run(5.0, MissionPhase.LAND)
    assert drone.pilot.phase is VehiclePhase.LANDED
    assert drone.actions[2:] == [Action.NOTIFY_STOP, Action.LAND, Action.NOTIFY_STOP, Action.LAND]


def test_a_vehicle_that_will_not_come_down_has_failed() -> None:
    drone = in_the_air()
    drone.deaf = {Action.LAND}
    drone.run(25.0, MissionPhase.LAND)
    assert drone.pilot.phase is VehiclePhase.FAILED
    assert "should have landed" in drone.pilot.reason


def test_a_drone_on_the_ground_without_an_order_has_failed_and_is_no_longer_streamed_to() -> None:
    drone = in_the_air()
    for _ in range(50):
        drone.position_m = np.array([0.0, 0.0, 0.02])
        order = drone.tick(MissionPhase.ACTIVE, newest=command(drone.now_s))
    assert order.phase is VehiclePhase.FAILED
    assert order.action is Action.NONE


inputs = st.tuples(
    st.sampled_from([None, *MissionPhase]),
    st.sampled_from(list(Tier)),
    st.booleans(),
    st.booleans(),
    st.integers(1, 150),
)


@given(st.lists(inputs, min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_whatever_happens_a_drone_flies_at_most_once_and_never_waits_half_a_second_for_a_setpoint(
    story: list[tuple[MissionPhase | None, Tier, bool, bool, int]],
) -> None:
    drone = Drone()
    for mission, tier, blind, commanded, ticks in [(MissionPhase.TAKE_OFF, Tier.OK, False, True, 150), *story]:
        drone.blind = blind
        drone.run(ticks * DT_S, mission, tier, commanded)
    assert drone.actions.count(Action.ARM) <= 2
    phases = [order.phase for _, order in drone.orders]
    if VehiclePhase.LANDING in phases:
        after = phases[phases.index(VehiclePhase.LANDING) :]
        assert set(after) <= {VehiclePhase.LANDING, VehiclePhase.LANDED, VehiclePhase.FAILED}
    streams = [when for when, order in drone.orders if order.action is Action.STREAM]
    assert all(later - now <= 0.5 for now, later in zip(streams, streams[1:]))  # noqa: B905, RUF007


@given(st.lists(st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3), min_size=1, max_size=50))
def test_the_reference_integrates_the_velocity_of_a_drone_that_follows(velocities: list[list[float]]) -> None:
    reference, position_m = Reference(0.3), np.array([1.0, 2.0, 3.0])
    reference.reset(position_m)
    for velocity_mps in velocities:
        setpoint = reference.advance(np.array(velocity_mps), DT_S, position_m)
        np.testing.assert_allclose(setpoint.position_m, position_m + DT_S * np.array(velocity_mps), atol=1e-12)
        position_m = setpoint.position_m


@given(st.lists(st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=3), min_size=1, max_size=50))
def test_the_reference_of_a_drone_that_is_held_stays_on_its_leash(velocities: list[list[float]]) -> None:
    reference = Reference(0.3)
    reference.reset(np.zeros(3))
    for velocity_mps in velocities:
        setpoint = reference.advance(np.array(velocity_mps), 0.1, np.zeros(3))
        assert np.linalg.norm(setpoint.position_m) <= 0.3 + 1e-12


def test_a_smoothed_reference_follows_a_step_as_a_first_order_lag_and_its_position_is_the_integral() -> None:
    reference, dt_s, place_m = Reference(10.0, lag_s=0.2), 0.01, np.zeros(3)
    for step in range(1, 101):
        setpoint = reference.advance(np.array([0.5, 0.0, 0.0]), dt_s, np.zeros(3))
        place_m = place_m + dt_s * setpoint.velocity_mps
        assert setpoint.velocity_mps[0] == pytest.approx(0.5 * (1.0 - math.exp(-step * dt_s / 0.2)))
        np.testing.assert_allclose(setpoint.position_m, place_m, atol=1e-12)
    reference.reset(np.zeros(3))
    np.testing.assert_array_equal(reference.advance(np.zeros(3), dt_s, None).velocity_mps, np.zeros(3))


def test_the_acceleration_between_setpoints_is_their_change_limited_and_zero_across_a_gap() -> None:
    before_mps, after_mps = np.zeros((4, 3)), np.tile([0.1, -0.4, 0.0], (4, 1))
    found = acceleration_mps2(before_mps, after_mps, np.array([0.1, 0.02, 0.0, 1.0]), np.full(4, 4.0))
    np.testing.assert_allclose(found, [[1.0, -4.0, 0.0], [4.0, -4.0, 0.0], [0, 0, 0], [0, 0, 0]], atol=1e-12)


def test_a_drone_below_its_arming_level_stays_on_the_ground_and_says_why() -> None:
    pilot = Pilot(ARENA, PilotParams())
    order = pilot.update(0.0, MissionPhase.TAKE_OFF, Tier.OK, np.zeros(3), command(0.0), may_take_off=False)
    assert order.action is Action.NONE
    assert "arming level" in order.reason
    assert pilot.update(0.1, MissionPhase.TAKE_OFF, Tier.OK, np.zeros(3), command(0.1)).action is Action.ARM


class Rejoining(Drone):
    """A drone that landed with an empty battery while the mission goes on."""

    def __init__(self, rejoins: bool = True) -> None:
        super().__init__()
        self.pilot.rejoins = rejoins
        self.may_take_off, self.clear_above = True, True
        self.run(3.0, MissionPhase.TAKE_OFF)
        self.may_take_off = False
        self.run(5.0, MissionPhase.ACTIVE, Tier.LAND)
        assert self.pilot.phase is VehiclePhase.LANDED

    def tick(self, mission: MissionPhase | None, tier: Tier = Tier.OK, newest: SafeCommand | None = None) -> Order:
        update = self.pilot.update
        newest = None if newest is None else newest._replace(clear_above=self.clear_above)
        self.pilot.update = lambda *words: update(*words, self.may_take_off)  # type: ignore[method-assign]
        try:
            return super().tick(mission, tier, newest)
        finally:
            del self.pilot.update


def test_a_charged_drone_rejoins_with_nobody_above_it_while_the_mission_goes_on() -> None:
    drone = Rejoining()
    drone.run(5.0, MissionPhase.ACTIVE)
    assert drone.pilot.phase is VehiclePhase.LANDED, "not charged"
    drone.may_take_off, drone.clear_above = True, False
    drone.run(5.0, MissionPhase.ACTIVE)
    assert drone.pilot.phase is VehiclePhase.LANDED, "somebody is above it"
    drone.clear_above = True
    drone.run(8.0, MissionPhase.ACTIVE)
    assert drone.pilot.phase is VehiclePhase.FLYING
    drone.run(5.0, MissionPhase.LAND)
    assert drone.pilot.phase is VehiclePhase.LANDED


@pytest.mark.parametrize("mission", [None, *set(MissionPhase) - {MissionPhase.ACTIVE, MissionPhase.TAKE_OFF}])
def test_a_charged_drone_rejoins_in_no_other_phase(mission: MissionPhase | None) -> None:
    drone = Rejoining()
    drone.may_take_off = True
    drone.run(5.0, mission)
    assert drone.pilot.phase is VehiclePhase.LANDED


def test_neither_where_drones_do_not_rejoin_nor_after_an_operator_landed_it_does_it_take_off_again() -> None:
    stays, held = Rejoining(rejoins=False), Rejoining()
    held.pilot.land("an operator landed it")
    for drone in (stays, held):
        drone.may_take_off = True
        drone.run(5.0, MissionPhase.ACTIVE)
        assert drone.pilot.phase is VehiclePhase.LANDED


def paused(duration_s: float) -> Drone:
    """A drone whose pilot got no processor for so long, in the air and on its way."""
    drone = in_the_air()
    drone.run(1.0, MissionPhase.ACTIVE)
    drone.now_s += duration_s
    return drone


def test_a_pilot_that_was_silent_looks_for_a_free_place_before_it_descends() -> None:
    drone = paused(1.0)
    since_s = drone.now_s
    drone.run(0.2, MissionPhase.ACTIVE, commanded=False)  # its stand-in has the drone: not a word
    for _ in range(50):
        drone.tick(MissionPhase.ACTIVE, newest=command(drone.now_s))
    drone.run(5.0, MissionPhase.ACTIVE)
    after = [(time_s, order) for time_s, order in drone.orders if time_s >= since_s]
    waited = [order.action for time_s, order in after if time_s < since_s + 0.2 - 1e-9]
    assert set(waited) == {Action.NONE}
    looked = [order for time_s, order in after if since_s + 0.2 <= time_s < since_s + 1.2 - 1e-9]
    assert {(order.action, order.phase) for order in looked} == {(Action.STREAM, VehiclePhase.LANDING)}
    assert drone.actions[-2:] == [Action.NOTIFY_STOP, Action.LAND]
    assert drone.pilot.phase is VehiclePhase.LANDED
    assert "silent" in drone.pilot.reason


def test_one_that_learns_nothing_descends_in_time_before_the_motors_stop() -> None:
    for blind, silent_s in ((True, 1.0), (False, 1.0), (True, 1.6)):
        drone = paused(silent_s)
        last_s = drone.now_s - silent_s - DT_S
        drone.blind = blind
        drone.run(1.0, MissionPhase.ACTIVE, commanded=blind)
        stopped_s = next(time_s for time_s, order in drone.orders if order.action is Action.NOTIFY_STOP)
        assert stopped_s - last_s == pytest.approx(max(PilotParams().blind_s, silent_s), abs=2.5 * DT_S)


def test_one_that_finds_its_drone_sinking_does_not_lift_it_again() -> None:
    drone = paused(1.0)
    drone.position_m[2] = 0.7
    drone.climb_mps = -0.5
    streamed = len([order for _, order in drone.orders if order.action is Action.STREAM])
    drone.run(3.0, MissionPhase.ACTIVE)
    assert len([order for _, order in drone.orders if order.action is Action.STREAM]) == streamed
    assert drone.pilot.phase is VehiclePhase.LANDED
