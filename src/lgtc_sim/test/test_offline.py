"""Whole flights without ROS: from the ground to the ground, apart, deterministic, and true to the books."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgtc_core import topics, wire
from lgtc_core.demand.ledger import LedgerReader
from lgtc_core.errors import ContractError
from lgtc_core.fleet.team import Team
from lgtc_core.flight.phases import MissionPhase, Tier, VehiclePhase
from lgtc_core.mind import card
from lgtc_core.mind.card import Policy
from lgtc_sim.offline import FlightResult, fly

MakeTeam = Callable[..., Team]
AIRBORNE = [phase for phase in VehiclePhase if phase.airborne]


class Tape:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int, Mapping[str, Any]]] = []

    def write_values(self, topic: str, received_ns: int, values: wire.Wire) -> None:
        self.messages.append((topic, received_ns, values))

    def of(self, topic: str) -> list[Mapping[str, Any]]:
        """Messages of one topic."""
        return [values for name, _, values in self.messages if name == topic]


def same(a: Any, b: Any) -> bool:
    """Equal by value, arrays and NaN included."""
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, float)):
        return np.array_equal(a, b, equal_nan=True)
    return bool(a == b)


def distances_m(result: FlightResult) -> np.ndarray:
    """(T, N, N) distances between drones in the air; inf elsewhere."""
    up = np.isin(result.phase, AIRBORNE)
    apart_m = np.linalg.norm(result.position_m[:, :, None] - result.position_m[:, None], axis=-1)
    both = up[:, :, None] & up[:, None] & ~np.eye(len(result.drones), dtype=bool)
    return np.where(both, apart_m, np.inf)


def test_every_drone_flies_from_the_ground_to_the_ground_and_none_comes_too_close(
    make_team: MakeTeam, greedy_model: Path
) -> None:
    result = fly(make_team(), greedy_model)
    assert [phase for _, phase, _ in result.mission] == [
        MissionPhase.TAKE_OFF,
        MissionPhase.ACTIVE,
        MissionPhase.LAND,
        MissionPhase.DONE,
    ]
    assert (result.phase[0] == VehiclePhase.GROUNDED).all()
    assert (result.phase[-1] == VehiclePhase.LANDED).all()
    assert (result.phase == VehiclePhase.FLYING).any(axis=0).all()
    assert result.position_m[-1, :, 2].max() < 0.01
    assert distances_m(result).min() >= 0.25
    assert np.abs(result.position_m[..., :2]).max() <= 2.5


def test_equal_seeds_give_equal_flights_and_equal_recordings_to_the_last_bit(
    make_team: MakeTeam, greedy_model: Path
) -> None:
    team = make_team(duration_s=4.0)
    tapes = [Tape(), Tape()]
    flights = [fly(team, greedy_model, seed=3, recorder=tape) for tape in tapes]
    assert flights[0].position_m.tobytes() == flights[1].position_m.tobytes()
    timed = [[(topic, ns, {**values, "solve_time_s": 0.0}) for topic, ns, values in tape.messages] for tape in tapes]
    assert all(map(same, *timed))
    other = fly(team, greedy_model, seed=4)
    assert other.position_m.tobytes() != flights[0].position_m.tobytes()


def test_parcels_are_handed_over_once_and_none_is_lost(make_team: MakeTeam, greedy_model: Path) -> None:
    team = make_team()
    tape = Tape()
    fly(team, greedy_model, recorder=tape)
    parcel = team.kinds.index("parcel")
    carried = [
        sum(tape.of(topics.of_drone(name, topics.RESOURCES))[index]["supply"][parcel] for name in team.names)
        for index in (0, -1)
    ]
    demand = tape.of(topics.DEMAND)[-1]["consumers"]
    delivered = sum(consumer["demanded"][parcel] - consumer["remaining"][parcel] for consumer in demand)
    assert delivered > 0.3
    assert carried[0] == pytest.approx(0.9)
    assert carried[0] - carried[1] == pytest.approx(delivered)


def test_a_drone_emptied_by_an_event_lands_alone_and_the_others_fly_on(make_team: MakeTeam, greedy_model: Path) -> None:
    events = [{"at_s": 4.0, "set_supply": {"drone": "cf2", "kind": "battery", "amount": 0.0}}]
    result = fly(make_team(events=events), greedy_model)
    active_s = next(at_s for at_s, phase, _ in result.mission if phase is MissionPhase.ACTIVE)
    land_s = next(at_s for at_s, phase, _ in result.mission if phase is MissionPhase.LAND)
    assert [what for _, what in result.events] == ["battery of cf2 set to 0"]
    landing_s = [result.time_s[result.phase[:, n] == VehiclePhase.LANDING][0] for n in range(4)]
    assert active_s + 4.0 < landing_s[1] < active_s + 4.0 + 1.0
    assert all(at_s >= land_s for n, at_s in enumerate(landing_s) if n != 1)
    assert distances_m(result).min() >= 0.25


def test_a_scenario_that_settles_lands_when_all_demand_is_met(make_team: MakeTeam, greedy_model: Path) -> None:
    asked = {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}
    consumers = {"here": {"position_m": [0.4, 0.0], "demand": asked}}
    result = fly(make_team(consumers=consumers, settle_s=1.0, duration_s=60.0), greedy_model)
    met_s = result.time_s[result.share_met >= 1.0][0]
    land_s = next(at_s for at_s, phase, _ in result.mission if phase is MissionPhase.LAND)
    assert land_s == pytest.approx(met_s + 1.0, abs=0.15)


def test_consumers_that_come_and_go_are_seen_by_the_deciding_drones(make_team: MakeTeam, greedy_model: Path) -> None:
    asked = {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}
    events = [
        {"at_s": 2.0, "add_consumer": {"name": "north", "position_m": [0.0, 1.8], "demand": asked}},
        {"at_s": 3.0, "remove_consumer": "south"},
    ]
    tape = Tape()
    result = fly(make_team(events=events, duration_s=5.0), greedy_model, recorder=tape)
    assert [what for _, what in result.events] == ["add north", "remove south"]
    seen = [tuple(state["consumers"]) for state in tape.of(topics.of_drone("cf1", topics.POLICY_STATE))]
    assert list(dict.fromkeys(seen)) == [
        ("west", "east", "south"),
        ("west", "east", "south", "north"),
        ("west", "east", "north"),
    ]


def test_features_count_from_the_next_tick_on(make_team: MakeTeam, greedy_model: Path) -> None:
    tape = Tape()
    fly(make_team(duration_s=2.0), greedy_model, recorder=tape)
    states = tape.of(topics.of_drone("cf1", topics.POLICY_STATE))
    assert states[0]["neighbours_heard"] == 0
    assert states[1]["neighbours_heard"] > 0
    assert {round(state["oldest_message_age_s"], 6) for state in states[2:]} == {0.05}


def test_a_model_that_does_not_fit_the_team_does_not_fly(
    make_team: MakeTeam, greedy_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "policy.onnx").write_bytes((greedy_model / "policy.onnx").read_bytes())
    made = vars(card.load_card(greedy_model))
    kept = {name: made[name] for name in made if name not in ("weights_sha256", "contract")}
    card.write_card(tmp_path, **{**kept, "value_range": list(made["value_range"]), "communication_radius": 0.5})
    with pytest.raises(ContractError, match="communication radius"):
        fly(make_team(), tmp_path)


def test_the_yardsticks_fly_the_same_loop_and_the_expert_meets_as_much_as_any(
    make_team: MakeTeam, greedy_model: Path
) -> None:
    policies: list[Policy] = ["expert", "greedy", "model"]
    results = {policy: fly(make_team(), greedy_model, policy=policy) for policy in policies}
    for result in results.values():
        assert result.mission[-1][1] is MissionPhase.DONE
        assert distances_m(result).min() >= 0.25
    best = results["expert"].share_met.max()
    assert all(best >= result.share_met.max() - 1e-9 > 0.0 for result in results.values())


def test_a_drone_that_drains_hands_over_lands_outside_of_every_disc_is_charged_and_flies_again(
    make_team: MakeTeam, greedy_model: Path, tmp_path: Path
) -> None:
    # A cell of half a minute, exchanged within seconds: the greedy mind serves the one place with whoever is nearest.
    cell = {"capacity_mah": 20.0, "charge_current_a": 8.0, "arm_charge": 0.9, "warn_charge": 0.5, "land_charge": 0.3}
    place_m = np.array([-1.0, 0.9])
    asked = {"battery": {"amount": 0.3, "depletion": "zero_depletion"}}
    team = make_team(
        fleet={"types": {"crazyflie": {"safety_distance_m": 0.25, "battery": cell}}},
        consumers={"west": {"position_m": place_m.tolist(), "demand": asked}},
        supplies={"cf1": {"battery": 0.91}, "cf3": {"battery": 0.97}, "cf4": {"battery": 0.94}},
        rejoin=True,
        duration_s=40.0,
    )
    tape = Tape()
    result = fly(team, greedy_model, recorder=tape, ledger=tmp_path / "ledger.sqlite")
    active_s = dict((phase, at_s) for at_s, phase, _ in result.mission)
    rows = (result.time_s > active_s[MissionPhase.ACTIVE]) & (result.time_s < active_s[MissionPhase.LAND])
    again = 0
    for i in range(len(result.drones)):
        phase = result.phase[rows, i]
        downs = np.flatnonzero((phase[1:] == VehiclePhase.LANDED) & (phase[:-1] != VehiclePhase.LANDED))
        again += bool(((phase[1:] == VehiclePhase.TAKING_OFF) & (phase[:-1] == VehiclePhase.LANDED)).any())
        for down in downs:
            assert np.hypot(*(result.position_m[rows][down, i, :2] - place_m)) >= 0.55
    assert again >= 2
    assert (result.phase[-1] == VehiclePhase.LANDED).all()
    assert distances_m(result).min() >= 0.25
    tiers = {values["tier"] for name in result.drones for values in tape.of(topics.of_drone(name, topics.RESOURCES))}
    assert Tier.HAND_OVER in tiers
    with LedgerReader(tmp_path / "ledger.sqlite") as reader:
        assert reader.check() == []
