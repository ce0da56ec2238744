"""Shipped scenarios can be done: the central expert, on the real book and accounts, meets what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lgtc_core.demand.account import SupplyAccount
from lgtc_core.demand.book import DemandBook
from lgtc_core.demand.view import DemandView
from lgtc_core.fleet.team import Edit, Team, load_team
from lgtc_core.world import rules
from lgtc_core.world.assignment import assign
from lgtc_core.world.expert import expert_action, slot_goals

CONFIG = Path(__file__).resolve().parents[4] / "config"
TICK_S = 0.1
REPLAN_S = 1.0
LAND_S = 3.5
"""An emptied drone has left this long after."""
DISCHARGE_PER_S = 1 / 400
"""A full battery hovers for a little under seven minutes."""


class Flown(NamedTuple):
    """How a flight went."""

    team: Team
    times_s: list[float]
    views: list[DemandView]
    chosen: list[str]
    """Drones whose supply an event changed."""
    ended_s: float
    left: float
    """What left the drones, of kinds that are handed over."""
    arrived: float


def _fly(name: str) -> Flown:
    """The expert at reduced speed through a shipped scenario, by the rules of the flight: book, accounts,
    events."""
    team = load_team(CONFIG / "fleet.yaml", CONFIG / "scenarios" / f"{name}.yaml")
    book = DemandBook.for_team(team)
    accounts = {drone.name: SupplyAccount(drone, team.kinds, "test") for drone in team.drones}
    edits = {Edit.ADD: book.add, Edit.CHANGE: book.change, Edit.REMOVE: lambda spec: book.remove(spec.name)}
    p_m = np.array([drone.start_m for drone in team.drones])
    left_s = dict.fromkeys(team.names, np.inf)
    step_m = TICK_S * np.array([[drone.max_speed_mps] for drone in team.drones])
    due, met_since_s, target = list(team.events), None, np.zeros(len(p_m), int)
    times_s, views, chosen = [], [], []
    now_s = 0.0
    while now_s <= team.duration_s:
        alive = np.array([now_s < left_s[name] for name in team.names])
        for drone, position_m, present in zip(team.drones, p_m, alive, strict=True):
            account = accounts[drone.name]
            account.battery(max(0.0, drone.supply[team.kinds.index("battery")] - DISCHARGE_PER_S * now_s))
            book.presence(drone.name, now_s, position_m, account.supply, bool(present))
            for offer in account.offers(now_s, position_m if present else None, book.view(now_s)):
                answer = book.deliver(offer.request_id, drone.name, offer.consumer, offer.kind, offer.amount)
                account.settle(offer.request_id, answer.amount)
        view = book.view(now_s)
        while due and due[0].at_s <= now_s:
            event = due.pop(0)
            if event.edit is not None:
                assert edits[event.edit.operation](event.edit.consumer).accepted
            else:
                assert event.set_supply is not None
                drone_name = event.set_supply.choose(view)
                assert drone_name is not None
                assert accounts[drone_name].set_supply(event.set_supply.kind, event.set_supply.amount).accepted
                chosen.append(drone_name)
                left_s[drone_name] = now_s + LAND_S
        times_s.append(now_s)
        views.append(view)
        met_since_s = (now_s if met_since_s is None else met_since_s) if view.met else None
        if team.settle_s is not None and not due and met_since_s is not None and now_s - met_since_s >= team.settle_s:
            break
        consumers = view.arrays(team.arena, len(team.kinds))
        exists = consumers.mask > 0
        p = team.arena.to_normalised(p_m)
        supply = np.array([accounts[name].supply for name in team.names])
        if len(times_s) % round(REPLAN_S / TICK_S) == 1:
            wanted = rules.outstanding(consumers.demanded, consumers.remaining, consumers.kind)
            index = np.flatnonzero(exists)
            target = np.full(len(p), -1)
            target[alive] = index[assign(p[alive], supply[alive], consumers.d[exists], wanted[exists]).target]
        goal = slot_goals(p[None], consumers.d[None], target[None])[0]
        p_m = p_m + step_m * np.asarray(expert_action(p, goal, alive))
        now_s = round(now_s + TICK_S, 9)
    handed = [k for k, kind in enumerate(team.kinds) if kind != "battery"]
    before = sum(drone.supply[k] for drone in team.drones for k in handed)
    after = sum(float(accounts[name].supply[k]) for name in team.names for k in handed)
    arrived = sum(float(book.delivered_by(name)[k]) for name in team.names for k in handed)
    return Flown(team, times_s, views, chosen, now_s, before - after, arrived)


@pytest.mark.parametrize("name", ["first_delivery", "ten_drones"])
def test_the_expert_meets_all_demand_and_the_flight_ends_early(name: str) -> None:
    flown = _fly(name)
    assert flown.views[-1].met
    assert flown.ended_s < flown.team.duration_s / 2
    assert flown.arrived == pytest.approx(flown.left, abs=1e-9)
    assert flown.arrived > 0


def test_the_expert_covers_the_emptied_drones_place_again() -> None:
    flown = _fly("battery_handover")
    (event,) = flown.team.events
    (emptied,) = flown.chosen
    share = np.array([view.share_met for view in flown.views])
    times_s = np.array(flown.times_s)
    before = share[(times_s > 10.0) & (times_s < event.at_s)]
    assert (before > 1 - 1e-6).all()
    lost = share[(times_s >= event.at_s + TICK_S) & (times_s < event.at_s + 2.0)]
    assert lost.min() < 0.7, "nobody else was there: the emptied drone was the only server"
    after = share[times_s > event.at_s + 10.0]
    assert (after > 1 - 1e-6).all()
    assert all(emptied not in consumer.servers for consumer in flown.views[-1].consumers)


def test_the_expert_follows_places_that_move_come_and_go() -> None:
    flown = _fly("many")
    share = np.array([view.share_met for view in flown.views])
    times_s = np.array(flown.times_s)
    for start_s, end_s in [(10.0, 20.0), (28.0, 35.0), (36.0, 40.0), (50.0, 60.0)]:
        assert (share[(times_s > start_s) & (times_s < end_s)] > 1 - 1e-6).all(), (start_s, end_s)
