"""What a drone carries and offers: only on mission, only where it is, and never twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lgtc_core.fleet.team import Team
from lgtc_core.flight.phases import MissionPhase, Tier, VehiclePhase
from lgtc_core.loop.carrier import Carrier


@pytest.fixture
def carrier(team: Team, words: Any) -> Carrier:
    """Serving at t = 0, inside the only disc."""
    carrier = Carrier(team.drone("cf1"), team.kinds, "test")
    carrier.pose(words.pose(0.0))
    carrier.battery(words.battery(0.0))
    carrier.demand(words.demand())
    carrier.mission(words.mission(0.0))
    carrier.vehicle(words.vehicle(0.0))
    return carrier


def test_on_mission_inside_a_disc_it_serves_and_offers_what_is_missing(carrier: Carrier) -> None:
    resources, offers = carrier.tick(0.0)
    assert resources.serving
    assert [(offer.consumer, offer.kind, offer.amount) for offer in offers] == [("here", "parcel", 0.5)]


@pytest.mark.parametrize("phase", [phase for phase in MissionPhase if phase is not MissionPhase.ACTIVE])
def test_it_serves_in_no_other_phase_of_the_mission(carrier: Carrier, words: Any, phase: MissionPhase) -> None:
    carrier.mission(words.mission(0.0, phase))
    resources, offers = carrier.tick(0.0)
    assert not resources.serving
    assert offers == []


@pytest.mark.parametrize("phase", set(VehiclePhase) - {VehiclePhase.HOLDING, VehiclePhase.FLYING})
def test_it_serves_in_no_other_phase_of_the_vehicle(carrier: Carrier, words: Any, phase: VehiclePhase) -> None:
    carrier.vehicle(words.vehicle(0.0, phase))
    assert not carrier.tick(0.0).resources.serving


def test_with_a_stale_pose_it_serves_nowhere_and_says_that_its_position_is_unknown(carrier: Carrier) -> None:
    resources, offers = carrier.tick(0.6)
    assert not resources.serving
    assert np.isnan(resources.position_m).all()
    assert offers == []


def test_an_offer_without_an_answer_is_repeated_unchanged_and_reduces_nothing(carrier: Carrier, words: Any) -> None:
    first = carrier.tick(0.0).offers
    assert carrier.tick(0.1).offers == []
    carrier.pose(words.pose(0.6))
    again = carrier.tick(0.6)
    assert again.offers == first
    assert again.resources.supply[1] == 0.5
    carrier.settle(first[0].request_id, 0.3)
    assert carrier.tick(0.7).resources.supply[1] == pytest.approx(0.2)


def test_an_empty_battery_asks_for_landing_also_when_it_was_emptied_by_hand(carrier: Carrier, words: Any) -> None:
    assert carrier.tick(0.0).resources.tier is Tier.OK
    assert carrier.set_supply("battery", 0.0).accepted
    tiers = []
    for now_s in np.arange(0.1, 4.0, 0.1):
        carrier.battery(words.battery(now_s))
        tiers.append(carrier.tick(now_s).resources.tier)
    assert tiers[0] is Tier.OK
    assert tiers[-1] >= Tier.LAND
    assert carrier.tick(4.0).resources.supply[0] == 0.0
    assert carrier.tick(4.0).resources.reason
