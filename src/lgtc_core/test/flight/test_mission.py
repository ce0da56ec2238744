"""The mission waits for nobody for ever, makes every event happen once, and always ends with everybody down."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.fleet.team import Team, load_team
from lgtc_core.flight.mission import DueEvent, Mission, MissionOrder, MissionParams, Request
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.world import rules

CONFIG = Path(__file__).parents[4] / "config"
DT_S = 0.1
GROUNDED, HOLDING, FLYING = VehiclePhase.GROUNDED, VehiclePhase.HOLDING, VehiclePhase.FLYING
LANDED, FAILED = VehiclePhase.LANDED, VehiclePhase.FAILED
Vehicles = Mapping[str, VehiclePhase | None]


@pytest.fixture(scope="module")
def team() -> Team:
    return load_team(CONFIG / "fleet.yaml", CONFIG / "scenarios" / "battery_handover.yaml")


def demand(servers: tuple[str, ...] = (), remaining: float = 1.0) -> DemandView:
    one = np.ones(1)
    consumer = ConsumerView(
        "place", 0, np.zeros(2), 0.5, one, remaining * one, np.full(1, rules.ZERO_DEPLETION), servers
    )
    return DemandView(1, ("battery",), (consumer,))


class Flight:
    """A mission and the drones that obey it after a second or two."""

    def __init__(self, team: Team, params: MissionParams | None = None) -> None:
        self.mission = Mission(team, params or MissionParams())
        self.now_s = 0.0
        self.vehicles: dict[str, VehiclePhase | None] = dict.fromkeys(team.names, GROUNDED)
        self.stuck: set[str] = set()
        self.events: list[tuple[float, DueEvent]] = []
        self.phases: list[MissionPhase] = []
        self._since_s = 0.0

    def tick(self, view: DemandView | None = None, request: Request | None = None) -> MissionOrder:
        order = self.mission.update(self.now_s, self.vehicles, view, request)
        if not self.phases or order.phase is not self.phases[-1]:
            self.phases.append(order.phase)
            self._since_s = self.now_s
        self.events += [(order.elapsed_s, due) for due in order.events]
        self._obey(order.phase)
        self.now_s += DT_S
        return order

    def _obey(self, phase: MissionPhase) -> None:
        if self.now_s - self._since_s < 2.0:
            return
        for name, vehicle in self.vehicles.items():
            if name in self.stuck or vehicle in (None, LANDED, FAILED):
                continue
            if phase is MissionPhase.TAKE_OFF:
                self.vehicles[name] = HOLDING
            elif phase is MissionPhase.ACTIVE and vehicle is HOLDING:
                self.vehicles[name] = FLYING
            elif phase in (MissionPhase.LAND, MissionPhase.ABORT) and vehicle.airborne:
                self.vehicles[name] = LANDED

    def run(self, duration_s: float, view: DemandView | None = None) -> MissionOrder:
        for _ in range(round(duration_s / DT_S)):
            order = self.tick(view)
        return order

    def until(self, phase: MissionPhase, within_s: float, view: DemandView | None = None) -> MissionOrder:
        end_s = self.now_s + within_s
        while self.now_s < end_s:
            order = self.tick(view)
            if order.phase is phase:
                return order
        raise AssertionError(f"not {phase.name} within {within_s} s but {order}")


def test_a_mission_without_trouble_goes_through_its_phases_and_lasts_as_long_as_asked(team: Team) -> None:
    flight = Flight(team)
    flight.until(MissionPhase.ACTIVE, 10.0)
    order = flight.until(MissionPhase.DONE, 200.0, demand(("cf2",)))
    assert (
        flight.phases
        == [
            MissionPhase.STANDBY,
            MissionPhase.TAKE_OFF,
            MissionPhase.ACTIVE,
            MissionPhase.LAND,
            MissionPhase.DONE,
        ][1:]
    )
    assert order.elapsed_s == pytest.approx(team.duration_s, abs=5.0)


def test_it_waits_for_every_drone_and_says_for_whom(team: Team) -> None:
    flight = Flight(team)
    flight.vehicles["cf3"] = None
    order = flight.run(5.0)
    assert order.phase is MissionPhase.STANDBY
    assert order.reason == "waiting for cf3 (not heard)"
    flight.vehicles["cf3"] = GROUNDED
    assert flight.tick().phase is MissionPhase.TAKE_OFF


def test_a_drone_that_never_gets_ready_ends_the_mission_by_name(team: Team) -> None:
    flight = Flight(team)
    flight.vehicles["cf3"] = None
    order = flight.until(MissionPhase.DONE, 70.0)
    assert "not ready after 60 s: cf3 (not heard)" in order.reason


def test_a_drone_that_stays_behind_does_not_stop_the_others(team: Team) -> None:
    flight = Flight(team)
    flight.stuck = {"cf2"}
    order = flight.until(MissionPhase.ACTIVE, 40.0)
    assert "4 of 5" in order.reason
    assert "without cf2" in order.reason


def test_a_drone_that_fails_to_take_off_is_not_waited_for(team: Team) -> None:
    flight = Flight(team)
    flight.tick()
    flight.vehicles["cf2"] = FAILED
    flight.until(MissionPhase.ACTIVE, 4.0)


def test_a_take_off_in_which_nobody_rises_is_aborted(team: Team) -> None:
    flight = Flight(team)
    flight.stuck = set(team.names)
    order = flight.until(MissionPhase.DONE, 60.0)
    assert "no drone got into the air" in order.reason


@pytest.mark.parametrize("phase", [LANDED, FAILED, None])
def test_a_drone_that_lands_or_is_lost_in_mid_mission_does_not_stop_the_others(
    team: Team, phase: VehiclePhase | None
) -> None:
    flight = Flight(team)
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.run(10.0)
    flight.vehicles["cf1"] = phase
    assert flight.run(20.0).phase is MissionPhase.ACTIVE


def test_a_team_of_which_nobody_is_left_in_the_air_is_done(team: Team) -> None:
    flight = Flight(team)
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.vehicles = dict.fromkeys(team.names, LANDED)
    order = flight.until(MissionPhase.DONE, 1.0)
    assert "no drone is left in the air" in order.reason


def test_an_event_happens_once_at_its_time_to_the_drone_that_serves_then(team: Team) -> None:
    flight = Flight(team)
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.until(MissionPhase.LAND, 150.0, demand(("cf4",)))
    [(at_s, due)] = flight.events
    assert at_s == pytest.approx(team.events[0].at_s, abs=0.15)
    assert due.drone == "cf4"


def test_an_event_about_a_place_that_nobody_serves_waits_until_somebody_does(team: Team) -> None:
    flight = Flight(team)
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.run(60.0, demand())
    assert flight.events == []
    flight.run(1.0, demand(("cf5",)))
    assert [due.drone for _, due in flight.events] == ["cf5"]


def test_it_lands_early_only_after_all_demand_was_met_without_a_break_and_no_event_is_left(team: Team) -> None:
    quick = dataclasses.replace(team, settle_s=3.0, events=())
    flight = Flight(quick)
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.run(2.5, demand(remaining=0.0))
    flight.run(0.2, demand(remaining=0.5))
    assert flight.run(2.5, demand(remaining=0.0)).phase is MissionPhase.ACTIVE
    order = flight.until(MissionPhase.LAND, 1.0, demand(remaining=0.0))
    assert "all demand has been met for 3 s" in order.reason
    waiting = Flight(dataclasses.replace(team, settle_s=3.0))
    waiting.until(MissionPhase.ACTIVE, 10.0)
    assert waiting.run(20.0, demand(remaining=0.0)).phase is MissionPhase.ACTIVE


@pytest.mark.parametrize(
    ("request_", "phase"), [(Request.LAND, MissionPhase.LAND), (Request.ABORT, MissionPhase.ABORT)]
)
@pytest.mark.parametrize("at_s", [0.1, 1.0, 20.0])
def test_a_request_is_obeyed_in_every_phase(team: Team, request_: Request, phase: MissionPhase, at_s: float) -> None:
    flight = Flight(team)
    flight.run(at_s)
    order = flight.tick(request=request_)
    assert order.phase in (phase, MissionPhase.DONE)
    assert "requested" in order.reason
    flight.until(MissionPhase.DONE, 10.0)


def test_an_abort_overrides_a_landing_and_nothing_takes_an_abort_back(team: Team) -> None:
    flight = Flight(team)
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.stuck = {"cf1"}
    assert flight.tick(request=Request.LAND).phase is MissionPhase.LAND
    assert flight.tick(request=Request.ABORT).phase is MissionPhase.ABORT
    assert flight.tick(request=Request.LAND).phase is MissionPhase.ABORT


def test_it_waits_for_a_drone_that_is_slow_to_land_but_not_for_ever(team: Team) -> None:
    flight = Flight(team)
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.run(5.0)
    flight.stuck = {"cf1"}
    flight.tick(request=Request.LAND)
    assert flight.run(30.0).phase is MissionPhase.LAND
    assert "not known to be down: cf1" in flight.until(MissionPhase.DONE, 15.0).reason


def test_a_supervisor_that_starts_again_in_mid_flight_brings_the_team_down(team: Team) -> None:
    flight = Flight(team)
    flight.vehicles = dict.fromkeys(team.names, FLYING)
    order = flight.tick()
    assert order.phase is MissionPhase.ABORT
    assert "found in the air" in order.reason
    flight.until(MissionPhase.DONE, 10.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([None, *VehiclePhase]), st.integers(1, 300)),
        min_size=0,
        max_size=15,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_vehicles_report_the_mission_ends_in_time(
    story: list[tuple[int, VehiclePhase | None, int]],
) -> None:
    team = load_team(CONFIG / "fleet.yaml", CONFIG / "scenarios" / "battery_handover.yaml")
    flight = Flight(team)
    for which, phase, ticks in story:
        flight.vehicles[team.names[which]] = phase
        flight.run(ticks * DT_S)
    params = MissionParams()
    most_s = params.ready_timeout_s + params.take_off_timeout_s + team.duration_s + params.land_timeout_s + 2.0
    if flight.phases[-1:] != [MissionPhase.DONE]:
        flight.until(MissionPhase.DONE, most_s)
    order = [phase for phase in flight.phases if phase is not MissionPhase.ABORT]
    assert order == sorted(order)
    assert len(flight.events) <= len(team.events)


def test_the_take_off_waits_until_everybody_has_been_ready_for_a_while_without_a_break(team: Team) -> None:
    flight = Flight(team, MissionParams(settle_s=2.0))
    assert flight.run(1.8).reason == "waiting for everybody to have been ready for 2 s"
    flight.vehicles[team.names[0]] = None
    assert "not heard" in flight.run(0.2).reason
    flight.vehicles[team.names[0]] = GROUNDED
    assert flight.run(1.8).phase is MissionPhase.STANDBY
    assert flight.run(0.4).phase is MissionPhase.TAKE_OFF


def test_where_charged_drones_rejoin_the_mission_goes_on_while_all_are_down(team: Team) -> None:
    flight = Flight(dataclasses.replace(team, rejoin=True))
    flight.until(MissionPhase.ACTIVE, 10.0)
    flight.vehicles = dict.fromkeys(team.names, LANDED)
    assert flight.run(20.0).phase is MissionPhase.ACTIVE
    flight.vehicles = dict.fromkeys(team.names, FAILED)
    assert flight.until(MissionPhase.DONE, 1.0).reason.startswith("no drone is left")
