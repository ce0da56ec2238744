"""A stand-in, an owner that falls silent and may come back, and a vehicle with the firmware's deadlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import build_fleet
from lgtc_core.fleet.scenario import build_scenario
from lgtc_core.fleet.team import Team, resolve
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.flight.pilot import Action, Order
from lgtc_core.flight.reference import Setpoint
from lgtc_core.loop.flyer import Flyer
from lgtc_core.loop.stand_in import SIGNATURE, StandIn, StandInParams
from lgtc_core.wire import MissionReport, Pose, Resources
from lgtc_sim.vehicle import Control, Vehicles

DT_S = 0.01
TICK_S = 0.02
SPEED_MPS = 0.4


def make_team() -> Team:
    drones = {"cf1": {"start_m": [0.0, 0.0]}, "cf2": {"start_m": [1.5, 0.0]}}
    fleet = {
        "kinds": ["battery"],
        "arena": {"half_extent_m": [2.5, 2.5]},
        "all": {"max_speed_mps": 0.8},
        "types": {"crazyflie": {}},
        "drones": drones,
    }
    here = {"position_m": [0.0, 0.0], "demand": {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}}
    return resolve(
        build_fleet(fleet, "fleet"),
        build_scenario({"title": "one place", "consumers": {"here": here}, "duration_s": 100.0}, "scenario"),
    )


TEAM = make_team()


class Air:
    """One vehicle, its owner and its stand-in; the owner works only outside its silences."""

    def __init__(self, silences: Sequence[tuple[float, float]] = (), reports_lost: bool = False) -> None:
        self.vehicles = Vehicles(
            ("cf1",), [(0.0, 0.0, 0.0)], TEAM.drones[:1], [drone.battery for drone in TEAM.drones[:1]]
        )
        self.owner = Flyer(TEAM.arena)
        self.stand_in = StandIn("cf1", TEAM.drones[0], TEAM.arena, others={"cf2": TEAM.drones[1]})
        self.silences, self.reports_lost, self.hears = silences, reports_lost, True
        self.phase = MissionPhase.TAKE_OFF
        self.step_count = 0
        self.streams: list[tuple[float, str, Setpoint]] = []
        self.orders: list[tuple[float, str, Action]] = []
        self.heights_m: list[float] = []
        self.neighbour_m: np.ndarray | None = None

    @property
    def now_s(self) -> float:
        return self.step_count * DT_S

    @property
    def silent(self) -> bool:
        return any(begin_s <= self.now_s < end_s for begin_s, end_s in self.silences)

    def run(self, duration_s: float) -> None:
        end_s = self.now_s + duration_s
        while self.now_s < end_s - 1e-9:
            self.step()

    def until(self, true: Callable[[], bool], limit_s: float = 30.0) -> None:
        end_s = self.now_s + limit_s
        while not true():
            self.step()
            assert self.now_s < end_s

    def step(self) -> None:
        self.step_count += 1
        now_s = self.now_s
        self.vehicles.step(now_s, DT_S)
        self.heights_m.append(float(self.vehicles.position_m[0, 2]))
        if self.step_count % 2:
            return
        pose = Pose(now_s, self.vehicles.position_m[0].copy())
        mission = MissionReport(now_s, self.phase, now_s, "")
        self.stand_in.mission(mission)
        if not self.silent:
            self.owner_ticks(now_s, pose, mission)
        if self.stand_in.flying:
            self.stand_in.pose(pose)
            if self.neighbour_m is not None:
                self.stand_in.neighbour("cf2", Pose(now_s, self.neighbour_m))
        self.obey("stand-in", self.stand_in.tick(now_s))
        report = self.stand_in.report(now_s)
        if report is not None:
            self.stand_in.reported(report)

    def owner_ticks(self, now_s: float, pose: Pose, mission: MissionReport) -> None:
        nan, owner = math.nan, self.owner
        owner.pose(pose)
        owner.mission(mission)
        velocity = np.array([SPEED_MPS, 0.0, 0.0]) if pose.position_m[0] < 1.0 else np.zeros(3)
        owner.command(SafeCommand(now_s, velocity, SafetyMode.PASSED, "", nan, nan, 0.0, 0.0, 0, nan))
        kinds = ("battery",)
        owner.resources(Resources(now_s, kinds, np.ones(1), pose.position_m, False, 4.0, 1.0, nan, Tier.OK, ""))
        before = owner.pilot.phase
        order = owner.tick(now_s)
        if not self.reports_lost and (
            order.phase is not before or order.action is Action.NOTIFY_STOP or self.step_count % 10 == 0
        ):
            self.stand_in.reported(owner.report(now_s))
        if order.setpoint is not None and self.hears:
            self.stand_in.streamed(now_s, lambda setpoint=order.setpoint: setpoint)
        self.obey("owner", order)

    def obey(self, who: str, order: Order) -> None:
        if order.setpoint is not None:
            self.streams.append((self.now_s, who, order.setpoint))
            self.vehicles.setpoint("cf1", self.now_s, *order.setpoint)
            return
        if order.action is not Action.NONE:
            self.orders.append((self.now_s, who, order.action))
        if order.action is Action.ARM:
            self.vehicles.arm("cf1", True)
        elif order.action is Action.TAKE_OFF:
            self.vehicles.takeoff("cf1", TEAM.arena.flight_height_m)
        elif order.action is Action.NOTIFY_STOP:
            self.vehicles.notify_setpoints_stop("cf1")
        elif order.action is Action.LAND:
            self.vehicles.land("cf1")

    def by(self, who: str) -> list[tuple[float, Setpoint]]:
        return [(time_s, setpoint) for time_s, author, setpoint in self.streams if author == who]

    @property
    def locked(self) -> bool:
        return bool(self.vehicles.locked[0])

    @property
    def is_down(self) -> bool:
        return self.heights_m[-1] == 0.0 and bool(self.vehicles.control[0] == Control.OFF)

    def fly(self) -> None:
        """Up, and on its way."""
        self.until(lambda: self.owner.pilot.phase is VehiclePhase.HOLDING)
        self.phase = MissionPhase.ACTIVE
        self.run(1.0)

    def fall_silent(self, duration_s: float = math.inf) -> float:
        """From the next step on; the time of it."""
        self.silences = [*self.silences, (self.now_s, self.now_s + duration_s)]
        return self.now_s


def test_a_drone_whose_adapter_dies_holds_within_0_3_seconds_where_it_was_led_and_then_lands() -> None:
    air = Air()
    air.fly()
    died_s = air.fall_silent()
    last = air.by("owner")[-1][1]
    air.run(0.9)
    taken = air.by("stand-in")
    assert 0.2 <= taken[0][0] - died_s <= 0.3
    assert np.allclose(taken[0][1].position_m, last.position_m)
    assert all(np.linalg.norm(setpoint.position_m - last.position_m) < 0.02 for _, setpoint in taken)
    held = air.stand_in.report(air.now_s)
    assert held is not None
    assert held.phase is VehiclePhase.HOLDING
    assert held.reason.startswith(SIGNATURE)
    air.until(lambda: air.is_down)
    begun_s = next(time_s for time_s, who, action in air.orders if (who, action) == ("stand-in", Action.LAND))
    assert begun_s - died_s <= 2.0
    assert not air.locked
    air.run(0.5)
    down = air.stand_in.report(air.now_s)
    assert down is not None
    assert down.phase is VehiclePhase.LANDED


def test_an_owner_that_is_only_slow_gets_its_drone_back_with_its_next_setpoint() -> None:
    air = Air()
    air.fly()
    air.fall_silent(0.5)
    air.run(2.0)
    assert air.by("stand-in")
    returned_s = next(time_s for time_s, _ in air.by("owner") if time_s > air.by("stand-in")[0][0])
    assert not [time_s for time_s, _ in air.by("stand-in") if time_s > returned_s]
    assert air.owner.pilot.phase is VehiclePhase.FLYING
    assert not [order for order in air.orders if order[2] is Action.LAND]


def test_a_drone_that_was_taken_over_and_given_back_is_taken_over_again_without_landing() -> None:
    air = Air()
    air.fly()
    for _ in range(3):
        air.fall_silent(0.5)
        air.run(3.0)
    assert air.owner.pilot.phase is VehiclePhase.FLYING
    assert not [order for order in air.orders if order[2] in (Action.NOTIFY_STOP, Action.LAND)]


def test_an_owner_that_comes_back_in_mid_landing_goes_on_landing_and_never_lifts_it_again() -> None:
    air = Air()
    air.fly()
    air.fall_silent(2.2)
    air.run(2.2)
    sinking_m = air.heights_m[-1]
    assert 0.1 < sinking_m < 0.9
    streamed = len(air.by("owner"))
    air.until(lambda: air.is_down)
    air.run(3.0)
    assert len(air.by("owner")) == streamed
    assert air.is_down
    assert max(air.heights_m[-300:]) <= sinking_m
    assert not air.locked
    assert air.owner.pilot.phase is VehiclePhase.LANDED


def test_an_owner_that_comes_back_when_the_drone_is_down_does_not_take_off_again() -> None:
    air = Air()
    air.fly()
    air.fall_silent(8.0)
    air.run(8.0)
    assert air.is_down
    air.run(3.0)
    assert air.is_down
    assert max(air.heights_m[-300:]) == 0.0


def test_once_it_has_brought_a_drone_down_an_owner_that_still_talks_reports_alone() -> None:
    air = Air()
    air.fly()
    air.fall_silent(8.0)
    air.run(7.9)
    assert air.is_down
    assert air.stand_in.report(air.now_s) is not None
    air.run(0.5)
    assert air.owner.pilot.phase is VehiclePhase.LANDED
    assert air.stand_in.report(air.now_s) is None


@settings(deadline=None, max_examples=25)
@given(
    silences=st.lists(
        st.tuples(st.floats(0.05, 3.0), st.sampled_from([0.1, 0.25, 0.45, 0.7, 0.88, 0.9, 0.95, 1.0, 1.05, 1.5, 3.0])),
        max_size=4,
    ),
    dies=st.booleans(),
    reports_lost=st.booleans(),
)
def test_however_its_owner_falls_silent_and_returns_a_drone_never_drifts_never_falls_and_comes_down_once(
    silences: list[tuple[float, float]], dies: bool, reports_lost: bool
) -> None:
    air = Air()
    air.fly()
    air.reports_lost = reports_lost
    for work_s, silent_s in silences:
        air.run(work_s)
        air.fall_silent(silent_s)
        air.run(silent_s)
    if dies:
        air.fall_silent()
    air.run(1.5)
    air.phase = MissionPhase.LAND
    air.until(lambda: air.is_down)
    air.run(2.0)
    assert not air.locked
    assert air.is_down
    grounded = [height_m == 0.0 for height_m in air.heights_m]
    lifted = [i for i in range(1, len(grounded)) if grounded[i - 1] and not grounded[i]]
    assert len(lifted) == 1
    landing_s = min((time_s for time_s, _, action in air.orders if action is Action.NOTIFY_STOP), default=math.inf)
    times_s = [time_s for time_s, _, _ in air.streams if time_s < landing_s]
    assert np.diff(times_s).max() <= 0.25


def test_a_drone_on_the_ground_or_brought_down_by_its_owner_is_left_alone() -> None:
    air = Air()
    air.phase = MissionPhase.STANDBY
    air.run(1.0)
    air.fall_silent(2.0)
    air.run(2.0)
    air.phase = MissionPhase.TAKE_OFF
    air.fly()
    air.phase = MissionPhase.LAND
    air.until(lambda: air.is_down)
    air.run(1.0)
    air.fall_silent()
    air.run(5.0)
    assert not [order for order in air.orders if order[1] == "stand-in"]
    assert not air.by("stand-in")


@pytest.mark.parametrize("climbed_m", [0.2, 0.8])
def test_an_adapter_that_dies_in_the_take_off_leaves_no_drone_hovering(climbed_m: float) -> None:
    air = Air()
    air.until(lambda: air.vehicles.position_m[0, 2] > climbed_m)
    air.fall_silent()
    air.until(lambda: air.is_down, limit_s=10.0)
    assert not air.locked


def test_an_adapter_that_dies_between_the_two_orders_of_a_landing_leaves_no_drone_hovering() -> None:
    air = Air()
    air.fly()
    air.phase = MissionPhase.LAND
    air.until(lambda: bool(air.orders) and air.orders[-1][2] is Action.NOTIFY_STOP)
    air.fall_silent()
    air.until(lambda: air.is_down, limit_s=10.0)
    assert not air.locked


def test_an_owner_whose_reports_come_while_its_setpoints_do_not_is_not_interfered_with() -> None:
    air = Air()
    air.fly()
    air.hears = False
    air.run(3.0)
    assert not air.by("stand-in")


def test_while_it_holds_it_gives_way_to_a_drone_that_comes_too_close() -> None:
    air = Air()
    air.fly()
    air.fall_silent()
    air.neighbour_m = air.vehicles.position_m[0] + np.array([0.3, 0.0, 0.0])
    before_m = np.linalg.norm(air.vehicles.position_m[0] - air.neighbour_m)
    air.run(0.9)
    assert np.linalg.norm(air.vehicles.position_m[0] - air.neighbour_m) > before_m + 0.05


def test_it_does_not_descend_on_a_drone_below_it() -> None:
    air = Air()
    air.fly()
    air.fall_silent()
    air.neighbour_m = np.array([*air.vehicles.position_m[0, :2], 0.0])
    air.until(lambda: air.is_down)
    assert np.linalg.norm(air.vehicles.position_m[0, :2] - air.neighbour_m[:2]) > 0.35


def test_times_by_which_both_could_fly_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"take_over_s < flyer.pilot.stall_s < land_after_s"):
        StandInParams(land_after_s=0.8)
