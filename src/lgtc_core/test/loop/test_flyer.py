"""From the ground to the ground, and what each silence does: the rows of the table in flyer.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lgtc_core.fleet.team import Team
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.flight.pilot import Action
from lgtc_core.loop.flyer import Flyer

DT_S = 0.02


def safe(now_s: float, velocity_mps: tuple[float, float, float] = (0.2, 0.0, 0.0)) -> SafeCommand:
    nan = math.nan
    return SafeCommand(now_s, np.array(velocity_mps), SafetyMode.PASSED, "", nan, nan, 0.0, 0.0, 0, nan)


class Air:
    """A flyer with a vehicle that climbs and sinks as told, and senders that can fall silent."""

    def __init__(self, team: Team, words: Any) -> None:
        self.flyer, self.words, self.team = Flyer(team.arena), words, team
        self.now_s, self.height_m, self.climb_mps = 0.0, 0.0, 0.0
        self.mission = MissionPhase.STANDBY
        self.tier = Tier.OK
        self.silent: set[str] = set()
        self.actions: list[Action] = []
        self.gaps_s: list[float] = []
        self._streamed_s: float | None = None

    def run(self, until: Callable[[], bool], limit_s: float = 30.0) -> float:
        """Step until something is true; the time that it took."""
        begun_s = self.now_s
        while not until():
            assert self.now_s - begun_s < limit_s, f"still {self.flyer.pilot.phase.name}: {self.flyer.pilot.reason}"
            self.step()
        return self.now_s - begun_s

    def step(self) -> None:
        self.now_s += DT_S
        self.height_m = min(self.team.arena.flight_height_m, max(0.0, self.height_m + self.climb_mps * DT_S))
        said = {
            "pose": lambda: self.flyer.pose(self.words.pose(self.now_s, z_m=self.height_m)),
            "command": lambda: self.flyer.command(safe(self.now_s)),
            "resources": lambda: self.flyer.resources(self.words.resources(self.now_s, self.tier)),
            "mission": lambda: self.flyer.mission(self.words.mission(self.now_s, self.mission)),
        }
        for name, say in said.items():
            if name not in self.silent:
                say()
        order = self.flyer.tick(self.now_s)
        self.climb_mps = {Action.TAKE_OFF: 0.5, Action.LAND: -0.5}.get(order.action, self.climb_mps)
        if order.action is Action.STREAM:
            if self._streamed_s is not None:
                self.gaps_s.append(self.now_s - self._streamed_s)
            self._streamed_s = self.now_s
        elif order.action is not Action.NONE:
            self.actions.append(order.action)

    def phase_is(self, *phases: VehiclePhase) -> Callable[[], bool]:
        return lambda: self.flyer.pilot.phase in phases


@pytest.fixture
def air(team: Team, words: Any) -> Air:
    """In the air, following safe commands."""
    air = Air(team, words)
    air.run(lambda: air.flyer.ready(air.now_s))
    air.mission = MissionPhase.TAKE_OFF
    air.run(air.phase_is(VehiclePhase.HOLDING))
    air.mission = MissionPhase.ACTIVE
    air.run(air.phase_is(VehiclePhase.FLYING))
    return air


def test_a_flight_arms_takes_off_streams_without_a_gap_and_lands(air: Air) -> None:
    air.run(lambda: air.now_s > 8.0)
    air.mission = MissionPhase.LAND
    air.run(air.phase_is(VehiclePhase.LANDED))
    assert air.actions == [Action.ARM, Action.TAKE_OFF, Action.NOTIFY_STOP, Action.LAND]
    assert max(air.gaps_s) < 1.5 * DT_S
    assert not air.flyer.airborne
    assert air.flyer.report(air.now_s).phase is VehiclePhase.LANDED


@pytest.mark.parametrize(
    ("silent", "after_s", "words_of_it"),
    [
        ("mission", 2.0, "supervisor is silent"),
        ("resources", 1.8, "resource monitor is silent"),
        ("command", 2.0, "safe command"),
    ],
)
def test_what_falls_silent_lands_the_drone_after_its_time_and_not_before(
    air: Air, silent: str, after_s: float, words_of_it: str
) -> None:
    air.silent = {silent}
    took_s = air.run(air.phase_is(VehiclePhase.LANDING))
    assert after_s - DT_S < took_s < after_s + 0.5
    assert words_of_it in air.flyer.report(air.now_s).reason
    air.silent = set()
    air.run(air.phase_is(VehiclePhase.LANDED))


def test_without_pose_it_lands_by_the_vehicles_own_estimate(air: Air) -> None:
    air.silent = {"pose"}
    took_s = air.run(air.phase_is(VehiclePhase.LANDING))
    assert took_s < 2.0
    assert "pose" in air.flyer.report(air.now_s).reason


@pytest.mark.parametrize("tier", [Tier.LAND, Tier.CRITICAL])
def test_the_battery_lands_it_at_once(air: Air, tier: Tier) -> None:
    air.tier = tier
    assert air.run(air.phase_is(VehiclePhase.LANDING)) <= 2 * DT_S


def test_an_operator_lands_it_and_it_stays_down(air: Air) -> None:
    air.flyer.land("an operator landed it")
    air.run(air.phase_is(VehiclePhase.LANDED))
    air.mission = MissionPhase.TAKE_OFF
    air.run(lambda: air.now_s > 20.0)
    assert air.flyer.pilot.phase is VehiclePhase.LANDED


@pytest.mark.parametrize("missing", ["pose", "command", "resources"])
def test_it_is_ready_only_when_all_that_a_flight_needs_is_heard(team: Team, words: Any, missing: str) -> None:
    air = Air(team, words)
    air.silent = {missing}
    for _ in range(50):
        air.step()
        assert not air.flyer.ready(air.now_s)
    air.silent = set()
    air.run(lambda: air.flyer.ready(air.now_s), limit_s=0.1)


def test_the_report_tells_reference_and_setpoint_age_only_while_streaming(air: Air) -> None:
    flying = air.flyer.report(air.now_s + 0.01)
    assert np.isfinite(flying.reference_m).all()
    assert flying.setpoint_age_s == pytest.approx(0.01)
    air.mission = MissionPhase.ABORT
    air.run(air.phase_is(VehiclePhase.LANDED))
    down = air.flyer.report(air.now_s)
    assert np.isnan(down.reference_m).all()
    assert math.isnan(down.setpoint_age_s)
