"""When a mind decides, and when it forgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgtc_core.fleet.team import Team
from lgtc_core.flight.phases import MissionPhase, Tier, VehiclePhase
from lgtc_core.loop.decider import Decider
from lgtc_core.mind.policy import Mind, PolicyModel


@pytest.fixture
def decider(team: Team, greedy_model: Path, words: Any) -> Decider:
    """Has all that it needs at t = 0."""
    decider = Decider(Mind(PolicyModel(greedy_model), team.arena, "cf1", 1.0))
    decider.pose(words.pose(0.0, x_m=1.0))
    decider.resources(words.resources(0.0))
    decider.demand(words.demand())
    decider.mission(words.mission(0.0))
    decider.vehicle(words.vehicle(0.0))
    return decider


def test_with_all_that_it_needs_it_decides_and_says_on_which_pose(decider: Decider) -> None:
    decision = decider.tick(0.05)
    assert decision is not None
    assert decision.consumers == ("here",)
    assert decision.velocity_mps[0] < 0.0, "the greedy model flies to the place, which is in the west"
    assert decider.pose_stamp_s == 0.0


@pytest.mark.parametrize("phase", [phase for phase in MissionPhase if phase is not MissionPhase.ACTIVE])
def test_it_is_silent_in_every_other_phase_of_the_mission(decider: Decider, words: Any, phase: MissionPhase) -> None:
    decider.mission(words.mission(0.0, phase))
    assert decider.tick(0.05) is None


@pytest.mark.parametrize("phase", set(VehiclePhase) - {VehiclePhase.HOLDING, VehiclePhase.FLYING})
def test_it_is_silent_unless_the_vehicle_flies(decider: Decider, words: Any, phase: VehiclePhase) -> None:
    decider.vehicle(words.vehicle(0.0, phase))
    assert decider.tick(0.05) is None


@pytest.mark.parametrize(("tier", "decides"), [(Tier.OK, 1), (Tier.WARN, 1), (Tier.LAND, 0), (Tier.CRITICAL, 0)])
def test_it_is_silent_when_the_battery_wants_to_land(decider: Decider, words: Any, tier: Tier, decides: int) -> None:
    decider.resources(words.resources(0.0, tier))
    assert (decider.tick(0.05) is not None) == bool(decides)


def test_a_late_pose_skips_ticks_and_keeps_the_state(decider: Decider, words: Any) -> None:
    first = decider.tick(0.05)
    assert decider.tick(0.3) is None
    decider.pose(words.pose(0.3, x_m=1.0))
    second = decider.tick(0.35)
    assert first is not None
    assert second is not None
    assert second.features.sequence == first.features.sequence + 1
    assert second.state[0] == pytest.approx(0.9 * first.state[0] + 0.1)


def test_switched_off_it_forgets_its_state_and_what_it_heard(decider: Decider, words: Any) -> None:
    other = Decider(Mind(decider.mind.model, decider.mind.arena, "cf2", 1.0))
    for part in (decider, other):
        part.pose(words.pose(0.0, x_m=1.0))
        part.resources(words.resources(0.0))
        part.demand(words.demand())
        part.mission(words.mission(0.0))
        part.vehicle(words.vehicle(0.0))
    said = other.tick(0.0)
    first = decider.tick(0.0)
    assert said is not None
    assert first is not None
    decider.features(said.features)
    heard = decider.tick(0.05)
    assert heard is not None
    assert heard.neighbours_heard == 1
    decider.mission(words.mission(0.1, MissionPhase.LAND))
    assert decider.tick(0.1) is None
    decider.mission(words.mission(0.15))
    again = decider.tick(0.15)
    assert again is not None
    assert again.neighbours_heard == 0
    np.testing.assert_allclose(again.state, first.state)


def test_handing_over_it_is_silent_and_stays_where_it_is(decider: Decider, words: Any) -> None:
    assert decider.tick(0.05) is not None
    assert decider.stay_velocity_mps is None
    decider.resources(words.resources(0.05, Tier.HAND_OVER))
    decider.pose(words.pose(0.05, x_m=0.5))
    assert decider.tick(0.1) is None
    np.testing.assert_allclose(decider.stay_velocity_mps, 0.0)
    for pushed_m in (0.1, 5.0):
        decider.pose(words.pose(0.1 + pushed_m, x_m=0.5 + pushed_m))
        np.testing.assert_allclose(decider.stay_velocity_mps, [-min(pushed_m, 0.3), 0.0, 0.0])
    decider.vehicle(words.vehicle(0.1, VehiclePhase.LANDING))
    assert decider.tick(0.15) is None
    assert decider.stay_velocity_mps is None
