"""What a drone carries and offers: only on mission, only where it is, and never twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lgtc_core.demand.view import ConsumerView, DemandView
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


def _run(carrier: Carrier, words: Any, span_s: tuple[float, float], view: DemandView, charge: float = 0.15) -> Tier:
    """The tier after a while at the hand-over level."""
    for now_s in np.arange(*span_s, 0.1):
        carrier.pose(words.pose(now_s))
        carrier.battery(words.battery(now_s, charge))
        carrier.demand(view)
        tier = carrier.tick(now_s).resources.tier
    return tier


def _place(servers: tuple[str, ...], leaving: tuple[str, ...], missing: float) -> DemandView:
    asked, kinds = np.array([0.5, 0.0]), np.array([1, 0])
    place = ConsumerView("here", 0, np.zeros(2), 0.55, asked, np.array([missing, 0.0]), kinds, servers, leaving)
    return DemandView(1, ("battery", "parcel"), (place,))


def test_about_to_leave_it_stays_until_it_is_relieved_and_then_lands(carrier: Carrier, words: Any) -> None:
    alone, both = _place(("cf1",), ("cf1",), 0.5), _place(("cf1", "cf2"), ("cf1",), 0.0)
    assert _run(carrier, words, (0.1, 10.0), alone) is Tier.HAND_OVER
    assert carrier.tick(10.0).resources.serving
    assert _run(carrier, words, (10.0, 10.9), both) is Tier.HAND_OVER
    assert _run(carrier, words, (10.9, 11.3), both) is Tier.LAND
    assert _run(carrier, words, (11.3, 13.0), alone) is Tier.LAND, "an order to land is not taken back"


def test_it_does_not_take_itself_for_relieved_before_its_announcement_was_heard(carrier: Carrier, words: Any) -> None:
    assert _run(carrier, words, (0.1, 10.0), _place(("cf1",), (), 0.0)) is Tier.HAND_OVER


def test_a_drone_that_serves_nobody_lands_at_its_hand_over_level(carrier: Carrier, words: Any) -> None:
    assert _run(carrier, words, (0.1, 3.0), _place(("cf2",), (), 0.0)) is Tier.LAND


def test_nobody_relieves_it_and_it_lands_at_the_landing_level_all_the_same(carrier: Carrier, words: Any) -> None:
    alone = _place(("cf1",), ("cf1",), 0.5)
    assert _run(carrier, words, (0.1, 10.0), alone) is Tier.HAND_OVER
    assert _run(carrier, words, (10.0, 14.0), alone, charge=0.11) is Tier.LAND
